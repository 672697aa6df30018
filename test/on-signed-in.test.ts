import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Browser, createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import { BrokerError, redisTokenStore, type SignedIn, type SignedInHook } from '../src/index.js'
import { resolveSettings } from '../src/settings.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { sessionOptions } from './support/session-application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const typed = { method: 'GET', crossSite: false, topLevel: true } as const
const canary = 'a detail of the application: <b>7f3a</b>'

describe('onSignedIn (login_callback)', () => {
	let world: World
	let redis: TestRedis
	let onRedis: Application
	let inMemory: Application
	let hooks: SignedInHook[] = []
	const browsers: Browser[] = []
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		// Whichever are set when somebody signs in: two, so that their order shows.
		const onSignedIn = [0, 1].map((i) => (signedIn: SignedIn) => hooks[i]?.(signedIn))
		;[onRedis, inMemory] = await Promise.all([
			createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }), onSignedIn }),
			createApplication(world, { secrets, onSignedIn }),
		])
	})
	after(async () => {
		await Promise.all([onRedis.close(), inMemory.close()])
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await Promise.all(browsers.splice(0).map((browser) => browser.close()))
		hooks = []
		for (const app of [onRedis, inMemory]) app.errors.length = 0
	})

	function openBrowser(): Browser {
		const browser = createBrowser()
		browsers.push(browser)
		return browser
	}

	const stored = async () => (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[sti]/.test(line))
	const sessionOf = (browser: Browser) =>
		browser.jar.cookies.filter(({ name }) => /^(__Host-)?msal-(?!tx)/.test(name))

	/** Nobody is signed in, and the page says so to a person. */
	async function assertRefused(app: Application, browser: Browser, page: Page): Promise<void> {
		assert.equal(page.status, 403, page.html)
		assert.equal(page.headers.get('location'), null)
		assert.match(page.html, /<h1>You are not signed in<\/h1>/)
		assert.match(page.html, /\?prompt=select_account">Use another account/)
		assert.deepEqual(sessionOf(browser), [])
		assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
	}

	it('is called in order, waited for, and told who it is, before the person is answered', async () => {
		const seen: unknown[] = []
		hooks = [
			async ({ ctx, session, account, handle }) => {
				const { outcome } = await handle.acquireSilent()
				seen.push(account.objectId, outcome, ctx.path)
				session.kept = 'from the first'
			},
			({ session }) => seen.push(session.kept),
		]
		const browser = openBrowser()
		const page = await onRedis.signIn(browser, 'Ada Lovelace', '/orders')
		assert.equal(page.url, `${onRedis.origin}/orders`)
		assert.deepEqual(seen, [people.ada.oid, 'hit', '/user/authorized', 'from the first'])
		const { kept } = (await browser.get(`${onRedis.origin}/kept`)).json<{ kept: string }>()
		assert.equal(kept, 'from the first')
	})

	for (const kind of ['Redis', 'memory'] as const)
		it(`leaves nothing of a sign-in that it refuses (${kind})`, async () => {
			const app = kind === 'Redis' ? onRedis : inMemory
			let ticket: object | undefined
			let second = 0
			hooks = [
				async ({ session }) => {
					ticket = { msal: session.msal }
					throw new TypeError(canary)
				},
				() => second++,
			]
			const before = await stored()
			const browser = openBrowser()
			const page = await app.signIn(browser)
			await assertRefused(app, browser, page)
			assert.equal(second, 0, 'the next one is not asked')
			assert.deepEqual(await stored(), before, 'no session, no tokens, no entry in the index')
			assert.ok(ticket)
			await assert.rejects(
				app.broker.acquireSilent(ticket),
				(error) => error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT',
			)
		})

	it('tells the details to the log alone, under the number on the page', async () => {
		hooks = [() => Promise.reject(new TypeError(canary))]
		const page = await inMemory.signIn(openBrowser())
		assert.ok(!page.html.includes('7f3a') && !page.html.includes('TypeError'))
		const [error, ...more] = inMemory.errors.splice(0) as BrokerError[]
		assert.deepEqual(more, [])
		assert.ok(error?.correlationId && page.html.includes(error.correlationId))
		assert.equal(error.expose, false, 'Koa prints it')
		assert.ok(error.stack?.includes(canary) && error.stack.includes(error.correlationId))
		assert.ok(error.cause instanceof TypeError)
	})

	it('says to the person what the application wants said, escaped', async () => {
		hooks = [
			() => {
				throw new BrokerError('ERR_FORBIDDEN', 'Ask <reception> for an account.')
			},
		]
		const browser = openBrowser()
		const page = await inMemory.signIn(browser)
		await assertRefused(inMemory, browser, page)
		assert.match(page.html, /Ask &#60;reception&#62; for an account\./)
	})

	it('does not call an outage a refusal, but signs nobody in either', async () => {
		hooks = [
			() => {
				throw new BrokerError('ERR_IDP_UNAVAILABLE', canary, { retryAfter: 9 })
			},
		]
		const browser = openBrowser()
		const page = await inMemory.signIn(browser)
		assert.deepEqual([page.status, page.headers.get('retry-after')], [503, '9'])
		assert.ok(!page.html.includes('7f3a'))
		assert.deepEqual(sessionOf(browser), [])
	})

	for (const thrown of [undefined, null, 'a text', { status: 200 }])
		it(`is refused by throwing ${JSON.stringify(thrown)}`, async () => {
			hooks = [() => Promise.reject(thrown)]
			const browser = openBrowser()
			await assertRefused(inMemory, browser, await inMemory.signIn(browser))
		})

	for (const kind of ['Redis', 'memory'] as const)
		it(`is not got round by posting the form again (${kind})`, async () => {
			const app = kind === 'Redis' ? onRedis : inMemory
			hooks = [() => Promise.reject(new Error('no'))]
			const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
			browsers.push(browser)
			await browser.follow(`${app.origin}/user/login/orders`)
			const { form } = await browser.press('Ada Lovelace')
			const cookies = browser.jar.headerFor(new URL(app.origin), {
				method: 'POST',
				crossSite: true,
				topLevel: true,
			})
			const post = (cookie: string) =>
				fetch(`${app.origin}/user/authorized`, {
					method: 'POST',
					redirect: 'manual',
					headers: { 'content-type': 'application/x-www-form-urlencoded', cookie },
					body: new URLSearchParams(form?.fields).toString(),
				})
			assert.equal((await post(cookies)).status, 403)
			hooks = []
			for (const cookie of [cookies, '']) assert.equal((await post(cookie)).status, 400, cookie)
		})

	for (const kind of ['Redis', 'memory'] as const)
		it(`leaves a visitor what they had, under a new id, and nothing of who was refused (${kind})`, async () => {
			const app = kind === 'Redis' ? onRedis : inMemory
			const browser = openBrowser()
			await browser.get(`${app.origin}/keep?value=a&value=basket`)
			const [planted] = sessionOf(browser)
			const old = browser.jar.headerFor(new URL(app.origin), typed)
			hooks = [
				({ session }) => {
					session.secret = 'of Ada'
					;(session.kept as string[]).push('of Ada')
					throw new Error('no')
				},
			]
			assert.equal((await app.signIn(browser)).status, 403)
			const [cookie, ...more] = sessionOf(browser)
			assert.deepEqual(more, [])
			assert.notEqual(cookie?.value, planted?.value)
			assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
			await browser.get(`${app.origin}/kept`)
			assert.deepEqual(app.seen.session, { kept: ['a', 'basket'] })
			const before = await fetch(`${app.origin}/kept`, { headers: { cookie: old } })
			assert.deepEqual(await before.json(), { kept: null }, 'the old one opens nothing')
			hooks = []
			await browser.follow(`${app.origin}/user/login`)
			assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
			const { kept } = (await browser.get(`${app.origin}/kept`)).json<{ kept: string[] }>()
			assert.deepEqual(kept, ['a', 'basket'])
		})

	for (const kind of ['Redis', 'memory'] as const)
		for (const who of ['somebody who is signed in', 'a visitor'])
			it(`a sign-out of ${who} that comes while it is asked holds (${kind})`, async () => {
				const app = kind === 'Redis' ? onRedis : inMemory
				const browser = openBrowser()
				if (who === 'a visitor') await browser.get(`${app.origin}/keep?value=basket`)
				else await app.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(app.origin), typed)
				hooks = [
					async () => {
						const left = await fetch(`${app.origin}/user/logout`, {
							redirect: 'manual',
							headers: { cookie },
						})
						assert.equal(left.status, 303)
						browser.jar.store(new URL(app.origin), left.headers.getSetCookie())
					},
				]
				let page = await browser.follow(`${app.origin}/user/login/orders`)
				if (who === 'a visitor') page = await browser.press('Ada Lovelace')
				assert.equal(page.status, 400, page.html)
				assert.match(page.html, /signed out meanwhile/)
				assert.deepEqual(sessionOf(browser), [])
				assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
				assert.deepEqual((await browser.get(`${app.origin}/kept`)).json(), { kept: null })
				hooks = []
				assert.equal((await browser.follow(`${app.origin}/user/login`)).status, 200, 'another sign-in is')
				assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
			})

	it('a sign-out while the person was with the provider does not undo what they do there', async () => {
		const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
		browsers.push(browser)
		await browser.get(`${inMemory.origin}/keep?value=basket`)
		await browser.follow(`${inMemory.origin}/user/login`)
		const cookie = browser.jar.headerFor(new URL(inMemory.origin), typed)
		await fetch(`${inMemory.origin}/user/logout`, { redirect: 'manual', headers: { cookie } })
		const { form } = await browser.press('Ada Lovelace')
		await browser.post(`${inMemory.origin}/user/authorized`, form?.fields ?? {})
		assert.equal((await browser.get(`${inMemory.origin}/token`)).status, 200)
	})

	it('ends the session of who was signed in before: they have just proved to be somebody else', async () => {
		const browser = openBrowser()
		await onRedis.signIn(browser)
		const before = (await stored()).length
		assert.ok(before > 0)
		for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
		hooks = [() => Promise.reject(new Error('no'))]
		await assertRefused(onRedis, browser, await onRedis.signIn(browser, 'Grace Hopper'))
		assert.ok((await stored()).length < before)
	})

	it('is a function or a list of functions', () => {
		const hook = () => {}
		assert.deepEqual(resolveSettings(sessionOptions()).onSignedIn, [])
		assert.deepEqual(resolveSettings(sessionOptions({ onSignedIn: hook })).onSignedIn, [hook])
		assert.deepEqual(resolveSettings(sessionOptions({ onSignedIn: [hook, hook] })).onSignedIn, [hook, hook])
		for (const onSignedIn of ['hook', [hook, 'hook'], [[hook]], null, {}])
			assert.throws(
				() => resolveSettings({ ...sessionOptions(), onSignedIn }),
				/onSignedIn is not valid: it should be a function/,
			)
	})
})
