import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Koa, { type Context, type Middleware } from 'koa'
import createKoaSession from 'koa-session'
import { type Browser, createBrowser } from '../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { MapStore } from '../examples/existing-app/map-store.js'
import { BrokerError, createMsalRoutes, requireSignedIn, type SessionStore } from '../src/index.js'
import { answersOf, assertSignedIn, type Delivered, deliver } from './support/answers.js'
import { listen, type World } from './support/application.js'
import { freePort } from './support/redis.js'
import { gate } from './support/session-application.js'
import {
	createShopApplication,
	createShopWorld,
	type ShopApplication,
	type ShopOptions,
	type ShopParts,
} from './support/shop-application.js'
import { assertTook } from './support/took.js'

const ada = people.ada.upn
const html = { accept: 'text/html' }
const json = { accept: 'application/json' }

describe('an application that was there before', () => {
	let world: World
	let shop: ShopApplication
	/** The same, to which the provider answers by a redirect. */
	let query: ShopApplication
	before(async () => {
		world = await createShopWorld()
		const keepOnSignIn = ['basket']
		;[shop, query] = await Promise.all([
			createShopApplication(world, { settings: { keepOnSignIn } }),
			createShopApplication(world, { settings: { keepOnSignIn, auth: { responseMode: 'query' } } }),
		])
	})
	after(async () => {
		await Promise.all([shop.close(), query.close()])
		await world.close()
	})

	/** Runs with a shop of its own. */
	async function withShop(
		options: ShopOptions,
		work: (shop: ShopApplication) => Promise<void>,
	): Promise<void> {
		const own = await createShopApplication(world, options)
		try {
			await work(own)
		} finally {
			await own.close()
		}
	}

	const orders = async (browser: Browser, at = shop) =>
		(await browser.get(`${at.address}/orders`, json)).json<{
			customer?: string
			looked?: number
			error?: string
		}>()

	const basket = async (browser: Browser, at = shop) =>
		/In your basket: ([^<]*)</.exec((await browser.get(`${at.address}/`)).html)?.[1]

	const alan = () => ({ tenantId: world.standIn.tenantId, objectId: people.alan.oid })

	const sid = (browser: Browser) => browser.jar.cookies.find(({ name }) => name === 'shop.sid')?.value

	/** At the provider, this browser is nobody again. */
	const forgetPerson = (browser: Browser) => {
		for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
	}

	/** The example as it stands there, in a process of its own, and a browser. */
	async function withExample(
		work: (origin: string, child: ChildProcess, browser: Browser) => Promise<void>,
	): Promise<void> {
		const port = await freePort()
		const main = fileURLToPath(new URL('../examples/existing-app/main.js', import.meta.url))
		const child = spawn(process.execPath, [main], {
			stdio: ['ignore', 'pipe', 'inherit'],
			env: {
				PATH: process.env.PATH,
				PORT: String(port),
				AZURE_CLIENT_ID: clientIds.web,
				AZURE_CLIENT_SECRET: clientSecrets.web,
				AZURE_TENANT_ID: world.standIn.tenantId,
				AZURE_AUTHORITY_HOST: world.standIn.origin,
				MSAL_SECRETS: 'a test secret of more than 32 bytes: 0123456789',
				NODE_EXTRA_CA_CERTS: world.caFile,
			},
		})
		const browser = createBrowser()
		try {
			await once(createInterface({ input: child.stdout }), 'line')
			await work(`http://localhost:${port}`, child, browser)
		} finally {
			child.kill('SIGKILL')
			await browser.close()
			world.standIn.clearFaults()
		}
	}

	it('runs as the example stands there, with settings from the environment', () =>
		withExample(async (origin, child, browser) => {
			await browser.follow(`${origin}/orders`)
			const page = await browser.press('Ada Lovelace')
			assert.deepEqual([page.status, page.url], [200, `${origin}/orders`])
			assert.equal(page.json<{ customer: string }>().customer, ada)
			child.kill('SIGTERM')
			assert.deepEqual(await once(child, 'exit'), [0, null], 'it ends by itself after broker.close()')
		}))

	/** So many sign-ins of the example that wait for the provider. */
	async function signInsUnderWay(count: number, origin: string, fault: { hang: true } | { delayMs: number }) {
		const { standIn } = world
		const answers = answersOf(standIn)
		const answered = await Promise.all(
			Array.from({ length: count }, async () => {
				const browser = answers.browser()
				return [browser, await answers.answerOf(browser, { origin })] as const
			}),
		)
		standIn.clearLog()
		standIn.inject({ grant: 'authorization_code', times: count, ...fault })
		const underWay = answered.map(([browser, fields]) => deliver(browser, { origin }, fields))
		const results = Promise.allSettled(underWay)
		while (standIn.count('token', 'authorization_code') < count) await sleep(10)
		await answers.close()
		return { results }
	}

	it('G5: answers what is under way when it is told to end, and takes no more', () =>
		withExample(async (origin, child) => {
			const ended = once(child, 'exit')
			const { results } = await signInsUnderWay(10, origin, { delayMs: 500 })
			child.kill('SIGTERM')
			await sleep(100)
			await assert.rejects(fetch(origin), 'no new connection')
			for (const { reason, value } of (await results) as { reason?: Error; value?: Delivered }[]) {
				assert.ifError(reason)
				assertSignedIn(value as Delivered)
			}
			assert.deepEqual(await ended, [0, null])
		}))

	it('G5: ends at once when it is told a second time, though the provider hangs', () =>
		withExample(async (origin, child) => {
			const ended = once(child, 'exit')
			const { results } = await signInsUnderWay(1, origin, { hang: true })
			child.kill('SIGTERM')
			assert.equal(await Promise.race([ended, sleep(500)]), undefined, 'it waits for the provider')
			child.kill('SIGTERM')
			const asked = performance.now()
			assert.deepEqual(await ended, [null, 'SIGTERM'])
			assertTook(performance.now() - asked, 500)
			assert.deepEqual(
				(await results).map(({ status }) => status),
				['rejected'],
			)
		}))

	describe('with a body that is parsed already', () => {
		/** What a body parser says instead of what was posted. */
		let parsed: unknown
		const own: ShopParts = {
			before: [
				(ctx, next) => {
					;(ctx.request as { body?: unknown }).body = parsed
					return next()
				},
			],
		}

		it('signs in by it', async () => {
			const browser = shop.browser()
			await shop.signIn(browser)
			assert.equal((await orders(browser)).customer, ada)
		})

		it('is told by its parser of names that come twice, or in brackets', async () => {
			for (const [body, code] of [
				['state=x&state=x&code=y', 'ERR_BAD_REQUEST'],
				['state=x&code=y&code=z', 'ERR_BAD_REQUEST'],
				['state[a]=x&code=y', 'ERR_BAD_REQUEST'],
				['state=x&code=y', 'ERR_LOGIN_REJECTED'],
			] as const) {
				const response = await fetch(`${shop.address}/user/authorized`, {
					method: 'POST',
					headers: { ...json, 'content-type': 'application/x-www-form-urlencoded' },
					body,
				})
				const { error } = (await response.json()) as { error: string }
				assert.deepEqual([response.status, error], [400, code], body)
			}
		})

		/** Posts to the callback; what a parser has made of it is `body`. */
		async function answer(body: unknown): Promise<[number, string]> {
			parsed = body
			const response = await fetch(`${shop.address}/user/authorized`, {
				method: 'POST',
				headers: { ...json, 'content-type': 'application/x-www-form-urlencoded' },
				body: 'state=x&code=y',
			})
			return [response.status, ((await response.json()) as { error: string }).error]
		}

		it('signs in by the text, the bytes or the parameters of it as well', () =>
			shop.rebuilt(own, async () => {
				for (const make of [String, Buffer.from, (text: string) => new URLSearchParams(text)]) {
					const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
					await browser.follow(`${shop.address}/user/login`)
					const { form } = await browser.press('Ada Lovelace')
					parsed = make(new URLSearchParams(form?.fields).toString())
					const url = new URL(`${shop.address}/user/authorized`)
					const cookie = browser.jar.headerFor(url, { method: 'POST', crossSite: true, topLevel: true })
					const { status } = await fetch(url, {
						method: 'POST',
						redirect: 'manual',
						headers: { cookie, 'content-type': 'application/x-www-form-urlencoded' },
						body: 'state=x',
					})
					assert.equal(status, 303)
					await browser.close()
				}
			}))

		it('refuses what it would refuse in a body: repeated, odd, too many, too large', async () => {
			const refusals: [body: unknown, status: number, code: string][] = [
				[{ state: ['x', 'x'], code: 'y' }, 400, 'ERR_BAD_REQUEST'],
				[{ state: ['x'], code: 'y' }, 400, 'ERR_BAD_REQUEST'],
				[{ state: { toString: 'x' }, code: 'y' }, 400, 'ERR_BAD_REQUEST'],
				[{ state: 'x', code: ['y', 'z'] }, 400, 'ERR_BAD_REQUEST'],
				[{ state: 1 }, 400, 'ERR_BAD_REQUEST'],
				[{ state: null }, 400, 'ERR_BAD_REQUEST'],
				[{ state: true }, 400, 'ERR_BAD_REQUEST'],
				['state=x&state=x', 400, 'ERR_BAD_REQUEST'],
				[Buffer.from('state=x&state=x'), 400, 'ERR_BAD_REQUEST'],
				[{ state: 'x'.repeat(8193) }, 400, 'ERR_BAD_REQUEST'],
				[['state', 'x'], 400, 'ERR_BAD_REQUEST'],
				[7, 400, 'ERR_BAD_REQUEST'],
				[Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`f${i}`, ''])), 400, 'ERR_BAD_REQUEST'],
				[{ state: 'x', more: Array.from({ length: 33 }, () => '') }, 400, 'ERR_BAD_REQUEST'],
				[{ state: 'x', filler: 'é'.repeat(29 * 1024) }, 413, 'ERR_BAD_REQUEST'],
				['x'.repeat(57 * 1024), 413, 'ERR_BAD_REQUEST'],
				[{ state: 'x' }, 400, 'ERR_LOGIN_REJECTED'],
				[{ 'state[]': 'x' }, 400, 'ERR_LOGIN_REJECTED'],
				[JSON.parse('{"__proto__":{"state":"x"}}'), 400, 'ERR_LOGIN_REJECTED'],
				['', 400, 'ERR_LOGIN_REJECTED'],
			]
			await shop.rebuilt(own, async () => {
				for (const [body, status, code] of refusals)
					assert.deepEqual(await answer(body), [status, code], JSON.stringify(body)?.slice(0, 60))
			})
		})

		it('looks at the size of a body first', { timeout: 5000 }, () =>
			shop.rebuilt(own, async () => {
				assert.deepEqual(await answer(Buffer.alloc(32 * 1024 * 1024)), [413, 'ERR_BAD_REQUEST'])
			}),
		)

		it('says so when the body was read and is nowhere', () =>
			shop.rebuilt(own, async ({ errors }) => {
				parsed = undefined
				const response = await fetch(`${shop.address}/user/authorized`, {
					method: 'POST',
					headers: { 'content-type': 'application/x-www-form-urlencoded' },
					body: 'state=x&code=y',
				})
				assert.equal(response.status, 500)
				assert.match(errors[0]?.message ?? '', /left no ctx\.request\.body/)
			}))
	})

	describe('with paths of its own', () => {
		const paths = { login: '/sign-in', logout: '/bye', info: '/whoami', photo: '/me.jpg' }

		it('finds every route there, and nothing where it was', () =>
			withShop({ settings: { prefix: '/account', paths }, redirectPath: '/account/back' }, async (own) => {
				const browser = own.browser()
				const home = await own.signIn(browser, 'Ada Lovelace', '/sign-in/orders')
				assert.equal(home.url, `${own.address}/orders`)
				const get = (path: string, headers = html) => browser.get(`${own.address}${path}`, headers)
				assert.equal((await get('/whoami')).json<{ username: string }>().username, ada)
				assert.notEqual((await get('/me.jpg')).headers.get('cache-control'), null)
				for (const gone of ['/user/login', '/user/info', '/user/photo', '/user/logout', '/user/authorized'])
					assert.equal((await get(gone)).status, 404, gone)
				assert.equal((await get('/meXjpg')).status, 404, 'a path is no pattern')
				assert.equal((await get('/bye')).status, 303)
				const refused = await get('/orders', json)
				assert.deepEqual([refused.status, refused.json<{ login: string }>().login], [401, '/sign-in'])
			}))

		it('may move some of them, for one set of routes', () =>
			shop.rebuilt({ routes: { prefix: '/account', paths: { login: '/sign-in' } } }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser, 'Ada Lovelace', '/sign-in')
				const { username } = (await browser.get(`${own.address}/account/info`)).json<{ username: string }>()
				assert.equal(username, ada)
				assert.equal((await browser.get(`${own.address}/account/logout`)).status, 303)
			}))

		for (const responseMode of ['form_post', 'query'] as const)
			it(`and a front page that the provider answers at (${responseMode})`, () =>
				withShop({ settings: { auth: { responseMode } }, redirectPath: '/' }, async (own) => {
					const browser = own.browser()
					const page = await own.signIn(browser, 'Ada Lovelace', '/user/login/orders')
					assert.deepEqual([page.status, page.json<{ customer: string }>().customer], [200, ada])
					const home = await browser.get(`${own.address}/`)
					assert.match(home.html, /Hello ada@contoso\.example/)
					assert.equal(home.headers.get('content-security-policy'), null)
				}))

		it('is told when they get in each other’s way', () => {
			for (const bad of [
				{ login: '/a', logout: '/a' },
				{ login: '/a', logout: '/A' },
				{ login: '/a', info: '/a/info' },
				{ logout: '/user' },
				{ login: 'sign-in' },
				{ login: '/sign-in/' },
				{ photo: '/user/authorized' },
			])
				assert.throws(
					() => createMsalRoutes(shop.broker, { paths: bad }),
					isConfigError(/ paths /),
					JSON.stringify(bad),
				)
			assert.throws(
				() => createMsalRoutes(shop.broker, { paths: { signin: '/x' } as object }),
				isConfigError(/ paths\.signin is not a setting/),
			)
			assert.throws(
				() => createMsalRoutes(shop.broker, { basePath: '/elsewhere' }),
				isConfigError(/ basePath /),
			)
			assert.throws(
				() => createMsalRoutes(shop.broker, { onError: 'json' as 'page' }),
				isConfigError(/ onError /),
			)
		})
	})

	describe('behind an ingress that takes a path away', () => {
		let own: ShopApplication
		before(async () => {
			own = await createShopApplication(world, { basePath: '/tenant1/app' })
		})
		after(() => own.close())

		it('is signed in to, and left, in the browser’s view', async () => {
			const browser = own.browser()
			const page = await own.signIn(browser, 'Ada Lovelace', '/orders?page=2')
			assert.deepEqual([page.status, page.url], [200, `${own.address}/orders?page=2`])
			assert.match(own.address, /\/tenant1\/app$/)
			for (const path of ['/orders?page=2', '/tenant1/app/orders?page=2', '/%2Forders%3Fpage%3D2']) {
				const home = await own.signIn(browser, 'Ada Lovelace', `/user/login${path}`)
				assert.equal(home.url, `${own.address}/orders?page=2`, path)
			}
			const left = await browser.get(`${own.address}/user/logout`)
			const { searchParams } = new URL(left.headers.get('location') ?? '')
			assert.equal(searchParams.get('post_logout_redirect_uri'), `${own.address}/`)
			assert.equal((await browser.get(`${own.address}/orders`, json)).status, 401)
			assert.equal((await browser.get(`${own.address}/user/logout`)).headers.get('location'), '/tenant1/app/')
		})

		it('never leads out of that path', async () => {
			for (const path of [
				'/../../tenant2/',
				'/..%2f..%2ftenant2/',
				'/%2F..%2F..%2Ftenant2',
				'//evil.example',
			]) {
				const browser = own.browser()
				const home = await own.signIn(browser, 'Ada Lovelace', `/user/login${path}`)
				assert.ok(home.url.startsWith(`${own.address}/`), `${path} → ${home.url}`)
			}
		})

		it('sets cookies for that path only', async () => {
			const browser = own.browser()
			await own.signIn(browser)
			const set = browser.setCookies.filter(({ name }) => name.includes('msal-'))
			assert.ok(set.length > 0)
			for (const { name, attributes } of set) {
				assert.equal(attributes.path, '/tenant1/app', name)
				assert.match(name, /^__Secure-msal-tx-/)
			}
		})

		it('links from its pages to where the browser finds them', async () => {
			const browser = own.browser()
			const refused = await browser.get(`${own.address}/user/photo`, html)
			assert.match(refused.html, /href="\/tenant1\/app\/user\/login"/)
			assert.match(refused.html, /href="\/tenant1\/app\/"/)
			const client = await browser.get(`${own.address}/orders`, json)
			assert.equal(client.json<{ login: string }>().login, '/tenant1/app/user/login')
			await own.signIn(browser)
			const asked = await browser.get(`${own.address}/user/logout`, { 'sec-fetch-site': 'cross-site' })
			assert.match(asked.html, /action="\/tenant1\/app\/user\/logout\/tenant1\/app\/"/)
			const done = await browser.press('Sign out')
			assert.equal(done.url, `${own.address}/`)
			assert.equal((await orders(browser, own)).error, 'ERR_SIGNED_OUT')
		})

		it('sends a browser that came by another name to the same page of the right one', async () => {
			const { port } = new URL(own.address)
			const page = await own.browser().get(`http://127.0.0.1:${port}/tenant1/app/user/login/orders`)
			assert.equal(page.headers.get('location'), `${own.address}/user/login/orders`)
		})
	})

	describe('decides how failures are answered', () => {
		it('by default with a page of the routes, which its own error handling does not see', async () => {
			const page = await shop.browser().get(`${shop.address}/user/photo`, html)
			assert.equal(page.status, 401)
			assert.doesNotMatch(page.html, /The shop is sorry/)
		})

		it('with its own error page, for onError: throw', () =>
			shop.rebuilt({ routes: { onError: 'throw' } }, async (own) => {
				for (const [path, status, headers] of [
					['/user/photo', 401, html],
					['/user/authorized', 405, html],
					['/orders', 401, json],
				] as const) {
					const page = await own.browser().get(`${own.address}${path}`, headers)
					assert.equal(page.status, status, path)
					assert.match(page.html, new RegExp(`The shop is sorry \\(${status}\\)`), path)
					assert.equal(page.headers.get('content-security-policy'), null, 'it is no page of ours')
				}
				assert.match((await own.browser().get(`${own.address}/user/photo`)).html, /Nobody is signed in/)
				// A browser is sent to sign in all the same.
				assert.equal((await own.browser().get(`${own.address}/orders`, html)).status, 303)
			}))

		it('and what is its own fault, or the provider’s', () =>
			withShop({ settings: { onError: 'throw' } }, async (own) => {
				world.standIn.inject({ on: 'discovery', drop: true })
				try {
					const page = await own.browser().get(`${own.address}/user/login`)
					assert.equal(page.status, 503)
					assert.match(page.html, /It is our fault/)
					world.standIn.inject({ on: 'discovery', drop: true })
					const guarded = await own.browser().get(`${own.address}/orders`, html)
					assert.equal(guarded.status, 503)
					assert.match(guarded.html, /It is our fault/)
					await own.rebuilt({ routes: { onError: 'page' } }, async (paged) => {
						world.standIn.inject({ on: 'discovery', drop: true })
						const page = await paged.browser().get(`${own.address}/orders`, html)
						assert.equal(page.status, 503)
						assert.match(page.html, /The service is not available at the moment/)
					})
					assert.deepEqual(
						own.errors.map((error) => (error as BrokerError).code),
						['ERR_IDP_UNAVAILABLE', 'ERR_IDP_UNAVAILABLE'],
					)
				} finally {
					world.standIn.clearFaults()
				}
			}))

		it('itself, for a function', async () => {
			const seen: string[] = []
			const onError = (ctx: Context, error: BrokerError) => {
				seen.push(error.code)
				ctx.status = 418
				ctx.body = 'own answer'
			}
			await shop.rebuilt({ routes: { onError } }, async (own) => {
				for (const [path, headers] of [
					['/user/photo', html],
					['/orders', json],
				] as const) {
					const page = await own.browser().get(`${own.address}${path}`, headers)
					assert.deepEqual([page.status, page.html], [418, 'own answer'])
				}
				assert.deepEqual(seen, ['ERR_SIGNED_OUT', 'ERR_SIGNED_OUT'])
				assert.deepEqual(own.errors, [])
			})
		})

		for (const thrown of [null, undefined])
			it(`itself, and is told of ${thrown} that its function throws`, { timeout: 5000 }, () =>
				shop.rebuilt({ routes: { onError: () => Promise.reject(thrown) } }, async (own) => {
					const page = await own.browser().get(`${own.address}/user/photo`)
					assert.equal(page.status, 500)
					assert.match(own.errors[0]?.message ?? '', new RegExp(`non-error thrown: ${thrown}`))
				}),
			)
	})

	describe('keeps what belongs to whom', () => {
		it('of an anonymous visitor everything, under a new id', async () => {
			const browser = shop.browser()
			await browser.post(`${shop.address}/basket`, { article: 'lamp' })
			const planted = sid(browser)
			assert.ok(planted)
			await shop.signIn(browser)
			assert.equal(await basket(browser), 'lamp')
			assert.notEqual(sid(browser), planted)
			assert.equal(shop.store.entries.has(planted), false)
		})

		it('of the same person everything, at a sign-in or a consent', async () => {
			const browser = shop.browser()
			await shop.signIn(browser)
			assert.deepEqual(await orders(browser), { customer: ada, looked: 1, orders: [] })
			const old = sid(browser)
			await shop.signIn(browser)
			assert.notEqual(sid(browser), old)
			assert.deepEqual(await orders(browser), { customer: ada, looked: 2, orders: [] })
			assert.equal(shop.store.entries.has(old ?? ''), false)
		})

		it('of another person nothing but what keepOnSignIn names', async () => {
			const browser = shop.browser()
			await shop.signIn(browser)
			await browser.post(`${shop.address}/basket`, { article: 'chair' })
			await orders(browser)
			const old = sid(browser)
			forgetPerson(browser)
			await shop.signIn(browser, 'Charles Babbage')
			assert.deepEqual(await orders(browser), { customer: people.charles.upn, looked: 1, orders: [] })
			assert.equal(await basket(browser), 'chair')
			assert.equal(shop.store.entries.has(old ?? ''), false)
		})

		it('of another person nothing at all by default', () =>
			shop.rebuilt({ routes: { keepOnSignIn: [] } }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser)
				await browser.post(`${own.address}/basket`, { article: 'chair' })
				forgetPerson(browser)
				await own.signIn(browser, 'Charles Babbage')
				assert.equal(await basket(browser, own), 'nothing')
			}))

		it('the same in query mode, in which the answer brings the session', () =>
			query.rebuilt({}, async (own) => {
				const browser = own.browser()
				await browser.post(`${own.address}/basket`, { article: 'lamp' })
				const ids = [sid(browser)]
				await own.signIn(browser)
				await orders(browser, own)
				ids.push(sid(browser))
				await own.signIn(browser)
				assert.equal((await orders(browser, own)).looked, 2)
				ids.push(sid(browser))
				forgetPerson(browser)
				await own.signIn(browser, 'Charles Babbage')
				assert.deepEqual(await orders(browser, own), { customer: people.charles.upn, looked: 1, orders: [] })
				assert.equal(await basket(browser, own), 'lamp')
				ids.push(sid(browser))
				assert.equal(new Set(ids).size, 4)
				assert.deepEqual([...own.store.entries.keys()], [sid(browser)])
			}))

		for (const responseMode of ['form_post', 'query'] as const)
			it(`of a visitor who is not let in everything, under a new id (${responseMode})`, () => {
				const onSignedIn = () => Promise.reject(new Error('no'))
				return withShop({ settings: { onSignedIn, auth: { responseMode } } }, async (own) => {
					const browser = own.browser()
					await browser.post(`${own.address}/basket`, { article: 'lamp' })
					const planted = sid(browser)
					assert.equal((await own.signIn(browser, 'Alan Turing')).status, 403)
					assert.equal((await orders(browser, own)).error, 'ERR_SIGNED_OUT')
					assert.equal(await basket(browser, own), 'lamp')
					assert.ok(planted)
					assert.notEqual(sid(browser), planted)
					assert.deepEqual([...own.store.entries.keys()], [sid(browser)])
					assert.deepEqual(await own.broker.sessions.find(alan()), [])
				})
			})

		it('of somebody of whom nothing is known any more nothing, as of another person', async () => {
			const old: Middleware = (ctx, next) => {
				if (ctx.query.old) (ctx as Context).session.msal = { of: 'an older version' }
				return next()
			}
			await shop.rebuilt({ before: [old], routes: { keepOnSignIn: [] } }, async (own) => {
				const browser = own.browser()
				await browser.post(`${own.address}/basket`, { article: 'chair' })
				await browser.get(`${own.address}/?old=1`)
				await own.signIn(browser)
				assert.equal(await basket(browser, own), 'nothing')
			})
		})

		it('after a sign-out nothing, whoever signs in next', async () => {
			const browser = shop.browser()
			await shop.signIn(browser)
			await browser.post(`${shop.address}/basket`, { article: 'chair' })
			const old = sid(browser) ?? ''
			await browser.follow(`${shop.address}/user/logout`)
			assert.equal(shop.store.entries.has(old), false)
			assert.equal(await basket(browser), 'nothing')
			await shop.signIn(browser)
			assert.equal(await basket(browser), 'nothing')
		})
	})

	describe('with its own session store, sealed', () => {
		it('stores nothing that can be read', async () => {
			const browser = shop.browser()
			await browser.post(`${shop.address}/basket`, { article: 'table' })
			await shop.signIn(browser)
			const stored = JSON.stringify(shop.store.entries.get(sid(browser) ?? ''))
			assert.match(stored, /^\{"session":\{"sealed":"[\w-]+"\},"until":\d+\}$/)
			for (const text of ['basket', 'table', 'msal', ada, people.ada.oid])
				for (const shown of [stored, Buffer.from(stored, 'base64url').toString('latin1')])
					assert.ok(!shown.includes(text), text)
		})

		it('opens no session that was moved to another key, changed, or never sealed', async () => {
			const browser = shop.browser()
			await browser.post(`${shop.address}/basket`, { article: 'table' })
			const key = sid(browser) ?? ''
			const entry = shop.store.entries.get(key) as { session: { sealed: string }; until: number }
			const put = (session: object) => shop.store.entries.set(key, { ...entry, session })
			const { sealed } = entry.session
			const other = shop.browser()
			await other.post(`${shop.address}/basket`, { article: 'lamp' })
			put(shop.store.entries.get(sid(other) ?? '')?.session ?? {})
			assert.equal(await basket(browser), 'nothing')
			put({ sealed: `${sealed.slice(0, 100)}${sealed[100] === 'A' ? 'B' : 'A'}${sealed.slice(101)}` })
			assert.equal(await basket(browser), 'nothing')
			put({ basket: ['gold'] })
			assert.equal(await basket(browser), 'nothing')
			put({ sealed })
			assert.equal(await basket(browser), 'table')
		})

		it('gets nothing back from a slow request after a sign-out', async () => {
			const { started, release, behind } = slowly()
			await shop.rebuilt({ behind }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(own.address), typed)
				const slow = fetch(`${own.address}/orders`, { headers: { ...json, cookie } })
				await started
				const left = await browser.get(`${own.address}/user/logout`)
				assert.equal(left.status, 303)
				release()
				const answer = await slow
				assert.equal(answer.status, 200)
				assert.deepEqual(answer.headers.getSetCookie(), [])
				assert.equal(own.store.entries.size, 0)
				const replayed = await fetch(`${own.address}/orders`, { headers: { ...json, cookie } })
				assert.equal(replayed.status, 401)
			})
		})

		it('lets no slow request take the cookie of a sign-in that came meanwhile', async () => {
			const { started, release, behind } = slowly()
			await shop.rebuilt({ behind }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(own.address), typed)
				const slow = fetch(`${own.address}/orders`, { headers: { ...json, cookie } })
				await started
				await own.signIn(browser)
				release()
				assert.deepEqual((await slow).headers.getSetCookie(), [])
				assert.deepEqual([...own.store.entries.keys()], [sid(browser)])
			})
		})

		it('A13: two tabs leave one session, and what the first person had in theirs is not the second’s', () =>
			shop.rebuilt({}, async (own) => {
				const answers = answersOf(world.standIn)
				const browser = answers.browser()
				const at = { origin: own.address }
				const first = await answers.answerOf(browser, at)
				forgetPerson(browser)
				const second = await answers.answerOf(browser, at, { name: 'Grace Hopper' })
				assertSignedIn(await deliver(browser, at, first))
				await browser.post(`${own.address}/basket`, { article: 'chair' })
				assertSignedIn(await deliver(browser, at, second))
				assert.equal((await orders(browser, own)).customer, people.grace.upn)
				assert.deepEqual([...own.store.entries.keys()], [sid(browser)])
				await answers.close()
			}))

		it('ends with its tokens, wherever they were signed out', async () => {
			const browser = shop.browser()
			await shop.signIn(browser)
			await browser.post(`${shop.address}/basket`, { article: 'chair' })
			const { tenantId } = world.standIn
			assert.ok((await shop.broker.sessions.revoke({ tenantId, objectId: people.ada.oid })) > 0)
			assert.equal(await basket(browser), 'nothing')
		})
	})

	it('is warned once when its store is not sealed', async () => {
		const warnings: string[] = []
		const listener = (warning: Error) => warnings.push(warning.message)
		process.on('warning', listener)
		try {
			await shop.rebuilt({ unsealed: true }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser)
				assert.equal((await orders(browser, own)).customer, ada)
			})
			assert.equal(
				warnings.filter((warning) => warning.includes('sealedSessionStore(store, broker)')).length,
				1,
			)
		} finally {
			process.off('warning', listener)
		}
	})

	describe('selects its session', () => {
		it('wherever it keeps what koa-session made', () => {
			const keep: Middleware = (ctx, next) => {
				ctx.state.session = (ctx as Context).session
				return next()
			}
			return shop.rebuilt(
				{ before: [keep], routes: { session: (ctx) => ctx.state.session } },
				async (own) => {
					const browser = own.browser()
					await browser.post(`${own.address}/basket`, { article: 'lamp' })
					const before = sid(browser)
					await own.signIn(browser)
					assert.notEqual(sid(browser), before)
					assert.equal((await orders(browser, own)).customer, ada)
					assert.equal(await basket(browser, own), 'lamp')
					await browser.get(`${own.address}/user/logout`)
					assert.equal(own.store.entries.size, 0)
				},
			)
		})

		for (const replaces of [false, true])
			it(`of its own making, ${replaces ? 'which becomes another object' : 'the same object'} under a new id`, async () => {
				const sessions = new Map<string, object>()
				const own = ownSession(sessions, replaces)
				await query.rebuilt(
					{
						before: [own],
						routes: { session: (ctx) => ctx.state.session },
					},
					async (at) => {
						const browser = at.browser()
						await browser.get(`${at.address}/?put=basket`)
						const names = ['private', '_private', 'commit', 'length']
						for (const name of names) await browser.get(`${at.address}/?put=${name}`)
						const [anonymous] = sessions.keys()
						await at.signIn(browser)
						const [id, ...more] = sessions.keys()
						assert.deepEqual(more, [])
						assert.notEqual(id, anonymous)
						const held = () => Object.keys([...sessions.values()][0] ?? {}).sort()
						assert.deepEqual(held(), ['basket', 'id', 'msal', 'msalClaims', ...names].sort())
						forgetPerson(browser)
						await at.signIn(browser, 'Charles Babbage')
						assert.deepEqual(held(), ['basket', 'id', 'msal', 'msalClaims'])
						assert.equal((await orders(browser, at)).customer, people.charles.upn)
						await browser.get(`${at.address}/user/logout`)
						assert.equal(sessions.size, 0)
					},
				)
			})

		it('of its own making, and nobody is signed in to it when it gets no new id', async () => {
			const sessions = new Map<string, object>()
			let regenerate: ((ctx: Context) => unknown) | undefined
			const failing: Middleware = (ctx, next) => {
				if (regenerate) replaceMethod(ctx.state.session, 'regenerate', () => regenerate?.(ctx as Context))
				return next()
			}
			await query.rebuilt(
				{ before: [ownSession(sessions, false), failing], routes: { session: (ctx) => ctx.state.session } },
				async (at) => {
					for (const [fails, status] of [
						[() => Promise.reject(new Error('down')), 503],
						[
							(ctx: Context) => {
								ctx.state.session = undefined
							},
							500,
						],
					] as const) {
						regenerate = undefined
						const browser = at.browser()
						await browser.get(`${at.address}/?put=basket`)
						await browser.follow(`${at.address}/user/login`)
						regenerate = fails
						assert.equal((await browser.press('Alan Turing')).status, status)
						regenerate = undefined
						assert.equal((await orders(browser, at)).error, 'ERR_SIGNED_OUT')
						assert.ok(!JSON.stringify([...sessions.values()]).includes('msal'))
						assert.deepEqual(await query.broker.sessions.find(alan()), [], 'nor do tokens stay')
					}
				},
			)
		})

		it('and nobody is signed in to koa-session’s when it gets no new id', async () => {
			const store = new MapStore()
			let left = Number.POSITIVE_INFINITY
			const sessions: SessionStore = {
				get: (key) => store.get(key),
				set: (key, session, maxAge) => store.set(key, session, maxAge),
				destroy: async (key) => {
					if (left-- === 0) throw new Error('down')
					await store.destroy(key)
				},
			}
			await query.rebuilt({ sessions }, async (at) => {
				const browser = at.browser()
				await browser.post(`${at.address}/basket`, { article: 'lamp' })
				const planted = sid(browser)
				await browser.follow(`${at.address}/user/login`)
				// The session that it began in is ended, and then that one fails whose place the new one takes.
				left = 1
				assert.equal((await browser.press('Alan Turing')).status, 503)
				assert.ok(left < 0)
				assert.equal((await orders(browser, at)).error, 'ERR_SIGNED_OUT')
				assert.deepEqual(await query.broker.sessions.find(alan()), [], 'nor do tokens stay')
				assert.equal(await basket(browser, at), 'lamp', 'the visitor has what they had')
				assert.ok(planted)
				assert.notEqual(sid(browser), planted)
				assert.deepEqual([...store.entries.keys()], [sid(browser)])
			})
		})

		for (const method of ['get', 'destroy'] as const)
			it(`and a visitor keeps their basket when the store fails once, in ${method}`, async () => {
				const store = new MapStore()
				let fails = false
				const failing = async (name: string) => {
					if (name !== method || !fails) return
					fails = false
					throw new Error('down')
				}
				const sessions: SessionStore = {
					get: async (key) => {
						await failing('get')
						return store.get(key)
					},
					set: (key, session, maxAge) => store.set(key, session, maxAge),
					destroy: async (key) => {
						await failing('destroy')
						await store.destroy(key)
					},
				}
				await withShop({ sessions }, async (own) => {
					const browser = own.browser()
					await browser.post(`${own.address}/basket`, { article: 'lamp' })
					await browser.follow(`${own.address}/user/login`)
					const acquireByCode = own.broker.acquireByCode.bind(own.broker)
					own.broker.acquireByCode = async (...request) => {
						const signIn = await acquireByCode(...request)
						fails = true
						return signIn
					}
					const page = await browser.press('Alan Turing')
					assert.equal(page.status, 503, page.html)
					assert.ok(!fails)
					assert.equal(await basket(browser, own), 'lamp')
					assert.equal((await orders(browser, own)).error, 'ERR_SIGNED_OUT')
					assert.deepEqual(await own.broker.sessions.find(alan()), [], 'nor do tokens stay')
				})
			})

		it('and a sign-out that comes while onSignedIn is asked holds', async () => {
			let signOut = async (): Promise<unknown> => undefined
			await withShop({ settings: { onSignedIn: () => signOut() } }, async (own) => {
				const browser = own.browser()
				await own.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(own.address), {
					method: 'GET',
					crossSite: false,
					topLevel: true,
				})
				signOut = () => fetch(`${own.address}/user/logout`, { redirect: 'manual', headers: { cookie } })
				const page = await own.signIn(browser)
				assert.equal(page.status, 400, page.html)
				assert.match(page.html, /signed out meanwhile/)
				assert.equal((await orders(browser, own)).error, 'ERR_SIGNED_OUT')
			})
		})

		it('and somebody who is refused is not signed in to it, though it can’t be ended', async () => {
			const sessions = new Map<string, object>()
			const failing: Middleware = (ctx, next) => {
				replaceMethod(ctx.state.session, 'destroy', () => Promise.reject(new Error('down')))
				return next()
			}
			const settings = {
				auth: { responseMode: 'query' as const },
				onSignedIn: () => Promise.reject(new Error('no')),
			}
			await withShop({ settings }, (own) =>
				own.rebuilt(
					{ before: [ownSession(sessions, false), failing], routes: { session: (ctx) => ctx.state.session } },
					async (at) => {
						const browser = at.browser()
						assert.equal((await at.signIn(browser, 'Alan Turing')).status, 403)
						assert.equal((await orders(browser, at)).error, 'ERR_SIGNED_OUT')
						assert.deepEqual(await own.broker.sessions.find(alan()), [])
						const codes = at.errors.map((error) => (error as BrokerError).code)
						assert.deepEqual(codes.sort(), ['ERR_LOGIN_REJECTED', 'ERR_STORE_UNAVAILABLE'])
					},
				),
			)
		})

		it('and is told what to do when it can’t be given a new id', () =>
			shop.rebuilt(
				{
					before: [
						(ctx, next) => {
							ctx.state.session = {}
							return next()
						},
					],
					routes: { session: (ctx) => ctx.state.session },
				},
				async (own) => {
					const page = await own.browser().get(`${own.address}/user/login`)
					assert.equal(page.status, 500)
					assert.ok(isConfigError(/regenerate\(\).*destroy\(\)/)(own.errors[0]))
				},
			))

		it('and is told so when there is none', () =>
			shop.rebuilt({ routes: { session: (ctx) => ctx.state.nothing } }, async (own) => {
				assert.equal((await own.browser().get(`${own.address}/user/login`)).status, 500)
				assert.ok(isConfigError(/has to come before app\.use\(msalRoutes\)/)(own.errors[0]))
			}))

		it('and is told so when it is a promise, whose failure ends nothing', async () => {
			const session = () => Promise.reject(new Error('down'))
			const unhandled: unknown[] = []
			const listen = (error: unknown) => unhandled.push(error)
			process.on('unhandledRejection', listen)
			try {
				await shop.rebuilt({ routes: { session } }, async (own) => {
					for (const path of ['/user/login', '/orders'])
						assert.equal((await own.browser().get(`${own.address}${path}`)).status, 500, path)
					for (const error of own.errors) assert.ok(isConfigError(/regenerate\(\).*destroy\(\)/)(error))
				})
				assert.deepEqual(unhandled, [])
			} finally {
				process.off('unhandledRejection', listen)
			}
		})

		it('and is told so when koa-session keeps its data in the cookie', async () => {
			const app = new Koa()
			app.keys = ['a key']
			const errors: Error[] = []
			app.on('error', (error: Error) => errors.push(error))
			app.use(createKoaSession({}, app))
			app.use(createMsalRoutes(shop.broker))
			const server = createServer(app.callback())
			const response = await fetch(`${await listen(server)}/user/login`, { redirect: 'manual' })
			assert.equal(response.status, 500)
			assert.ok(isConfigError(/Give it a store/)(errors[0]))
			server.closeAllConnections()
			server.close()
		})

		it('which its guards look at, too, and koa-session may be told when to store', async () => {
			const store = new MapStore()
			const app = new Koa()
			app.keys = ['a key']
			app.use(createKoaSession({ key: 'manual', store, autoCommit: false }, app))
			const server = createServer((request, response) => app.callback()(request, response))
			const origin = await listen(server)
			const { broker, close } = await createShopApplication(world, {
				settings: { auth: { redirectUri: `${origin}/user/authorized` } },
			})
			app.use(createMsalRoutes(broker))
			app.use(requireSignedIn())
			app.use((ctx) => {
				ctx.body = 'in'
			})
			const browser = createBrowser()
			try {
				await browser.follow(`${origin}/`)
				assert.equal((await browser.press('Ada Lovelace')).html, 'in')
				assert.equal(store.entries.size, 1)
				await browser.get(`${origin}/user/logout`)
				assert.equal(store.entries.size, 0)
				assert.equal((await browser.get(`${origin}/`, json)).status, 401)
			} finally {
				await browser.close()
				server.closeAllConnections()
				server.close()
				await close()
			}
		})
	})
})

const typed = { method: 'GET', crossSite: false, topLevel: true } as const

/** Where a loop over the session's own properties does not see it. */
function replaceMethod(session: object, name: string, value: () => unknown): void {
	Object.defineProperty(session, name, { value, configurable: true })
}

/** Middleware that holds the first request until it is let go. */
function slowly() {
	const [entered, released] = [gate(), gate()]
	let first = true
	const behind: Middleware = async (_, next) => {
		if (first) {
			first = false
			entered.open()
			await released.opened
		}
		await next()
	}
	return { started: entered.opened, release: released.open, behind }
}

function isConfigError(message: RegExp) {
	return (error: unknown) => {
		assert.ok(error instanceof BrokerError, String(error))
		assert.equal(error.code, 'ERR_CONFIG')
		assert.match(error.message, message)
		return true
	}
}

/** A session that an application has made itself, with a Lax cookie. */
function ownSession(sessions: Map<string, object>, replaces: boolean): Middleware {
	let last = 0
	return async (ctx, next) => {
		const create = (data: object): object => {
			const id = `id${++last}`
			const session = Object.assign(Object.create(methods), data, { id })
			return session
		}
		const methods = {
			async regenerate(this: { id: string }) {
				sessions.delete(this.id)
				if (replaces) ctx.state.session = create({})
				else this.id = `id${++last}`
			},
			async destroy(this: { id: string }) {
				sessions.delete(this.id)
				ctx.state.session = create({})
			},
		}
		const held = sessions.get(ctx.cookies.get('own') ?? '')
		ctx.state.session = held ? Object.assign(Object.create(methods), held) : create({})
		const name = ctx.query.put
		if (typeof name === 'string') ctx.state.session[name] = 'something'
		await next()
		if (!ctx.state.session) return
		const { id, ...data } = ctx.state.session as { id: string }
		if (Object.keys(data).length === 0) return
		sessions.set(id, { id, ...data })
		ctx.cookies.set('own', id, { sameSite: 'lax' })
	}
}
