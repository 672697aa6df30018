import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, afterEach, before, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, createBrowser } from '../dev/cookie-jar-browser.js'
import { API, clientIds, clientSecrets } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { BrokerError, createTokenBroker, redisTokenStore } from '../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	type Overrides,
	type World,
} from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { assertTook } from './support/took.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const minute = 60_000

/** The provider's answer to a sign-in, before it reaches the application. */
type Fields = Readonly<Record<string, string>>

describe('the callback, /user/authorized (acquire_token_by_auth_code_flow)', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let memory: Application
	const browsers: Browser[] = []
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		;[app, memory] = await Promise.all([createOnRedis(), createApplication(world, { secrets })])
	})
	after(async () => {
		await Promise.all([app.close(), memory.close()])
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await Promise.all(browsers.splice(0).map((browser) => browser.close()))
		world.standIn.clearFaults()
		mock.restoreAll()
		app.errors.length = 0
	})

	function createOnRedis(overrides: Overrides = {}): Promise<Application> {
		return createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }), ...overrides })
	}

	/** A browser that goes everywhere at the provider and stops in front of the application. */
	function openBrowser(): Browser {
		const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
		browsers.push(browser)
		return browser
	}

	/** Signs in at the provider and keeps its answer back. */
	async function answerOf(
		browser: Browser,
		{ at = app, name = 'Ada Lovelace', path = '' }: { at?: Application; name?: string; path?: string } = {},
	): Promise<Fields> {
		let page = await browser.follow(`${at.origin}/user/login${path}`)
		if (!page.form?.selfSubmitting) page = await browser.press(name)
		assert.ok(page.form?.fields.state, page.html)
		return page.form.fields
	}

	/** Posts an answer as the provider's page does: from another site, so without Lax cookies. */
	async function deliver(
		browser: Browser,
		fields: Fields | string | [string, string][],
		{ at = app, ...headers }: { at?: Application; [header: string]: string | Application } = {},
	) {
		const url = new URL(`${at.origin}/user/authorized`)
		const response = await fetch(url, {
			method: 'POST',
			redirect: 'manual',
			headers: {
				'content-type': 'application/x-www-form-urlencoded',
				accept: 'text/html',
				origin: world.standIn.pagesOrigin,
				cookie: browser.jar.headerFor(url, { method: 'POST', crossSite: true, topLevel: true }),
				...(headers as Record<string, string>),
			},
			body: typeof fields === 'string' ? fields : new URLSearchParams(fields as Fields).toString(),
		})
		const cookies = response.headers.getSetCookie()
		browser.jar.store(url, cookies)
		assertProtected(response.headers)
		return { status: response.status, headers: response.headers, text: await response.text(), cookies }
	}

	type Answer = Awaited<ReturnType<typeof deliver>>

	/** A19: always 303, so that no browser posts the code on. */
	function assertSignedIn(answer: Answer, location = '/'): void {
		assert.equal(answer.status, 303, answer.text)
		assert.equal(answer.headers.get('location'), location)
		assert.equal(answer.text, '')
	}

	function assertRefused(answer: Answer, status: number, code: string): void {
		assert.equal(answer.status, status, answer.text)
		assert.ok(answer.text.includes(`<small>${code}</small>`), answer.text)
		assert.match(answer.text, /href="\/user\/login"/, 'a way to try again')
		assert.ok(answer.text.length < 4096)
		assert.deepEqual(answer.cookies.filter(isSession), [], 'no session')
	}

	const held = () => heldIn(redis)

	for (const [when, whileSigningIn] of [
		['while the application’s own functions run', true],
		['when its session is to be stored', false],
	] as const)
		it(`leaves a visitor what they had when Redis goes away ${when}`, async () => {
			let stops = false
			const stop = () => stops && process.kill(redis.pid, 'SIGSTOP')
			const shop = await createOnRedis({ onSignedIn: [async () => void (whileSigningIn && stop())] })
			shop.app.middleware.splice(1, 0, async (ctx, next) => {
				await next()
				if (!whileSigningIn && ctx.path === '/user/authorized') stop()
			})
			try {
				const browser = openBrowser()
				await browser.get(`${shop.origin}/keep?value=lamp`)
				const fields = await answerOf(browser, { at: shop })
				const before = await held()
				stops = true
				const answer = await deliver(browser, fields, { at: shop })
				stops = false
				process.kill(redis.pid, 'SIGCONT')
				assert.deepEqual([answer.status, answer.headers.has('retry-after')], [503, true], answer.text)
				assert.match(await browser.get(`${shop.origin}/kept`).then(({ html }) => html), /lamp/)
				for (const end = performance.now() + 5000; (await held()).length !== before.length; await sleep(50))
					assert.ok(performance.now() < end, `neither tokens nor a session stay: ${await held()}`)
				assertSignedIn(await deliver(browser, await answerOf(browser, { at: shop }), { at: shop }))
				assert.match(await browser.get(`${shop.origin}/kept`).then(({ html }) => html), /lamp/)
			} finally {
				process.kill(redis.pid, 'SIGCONT')
				await shop.close()
			}
		})

	it('is seen to its end by a process that closes, what comes after the code included', async () => {
		const closing = await createOnRedis()
		const browser = openBrowser()
		await browser.get(`${closing.origin}/keep?value=lamp`)
		const fields = await answerOf(browser, { at: closing })
		world.standIn.clearLog()
		world.standIn.inject({ grant: 'authorization_code', delayMs: 500 })
		const delivered = deliver(browser, fields, { at: closing })
		while (world.standIn.count('token', 'authorization_code') < 1) await sleep(10)
		try {
			await closing.broker.close()
			assertSignedIn(await delivered)
			assert.deepEqual(closing.errors, [])
		} finally {
			await closing.close()
		}
	})

	it('is not waited for long by a process that closes while a function of the application hangs', async () => {
		let hangs = () => {}
		const hanging = new Promise<void>((resolve) => {
			hangs = resolve
		})
		const hook = () => {
			hangs()
			return new Promise<void>(() => {})
		}
		const closing = await createOnRedis({ onSignedIn: [hook] })
		const browser = openBrowser()
		const delivered = deliver(browser, await answerOf(browser, { at: closing }), { at: closing })
		await hanging
		const asked = performance.now()
		await Promise.all([closing.close(), assert.rejects(delivered)])
		assertTook(performance.now() - asked, 8000)
	})

	it('leaves a visitor what they had in their other tabs when it is refused in one', async () => {
		let refuses = true
		const refuse = () => {
			if (refuses) throw new BrokerError('ERR_FORBIDDEN', 'Not you.')
		}
		const shop = await createOnRedis({ onSignedIn: [refuse] })
		try {
			const browser = openBrowser()
			await browser.get(`${shop.origin}/keep?value=lamp`)
			const tabs = [await answerOf(browser, { at: shop }), await answerOf(browser, { at: shop })] as const
			const before = await held()
			assert.equal((await deliver(browser, tabs[0], { at: shop })).status, 403)
			refuses = false
			assertSignedIn(await deliver(browser, tabs[1], { at: shop }))
			assert.deepEqual((await browser.get(`${shop.origin}/kept`)).json(), { kept: 'lamp' })
			assert.equal((await held()).length, before.length + 1, 'a session, and its tokens')
		} finally {
			await shop.close()
		}
	})

	it('can be posted again to the next process when it came to one that was closing', async () => {
		const closing = await createOnRedis()
		const browser = openBrowser()
		const fields = await answerOf(browser, { at: closing })
		await closing.broker.close()
		const answer = await deliver(browser, fields, { at: closing })
		assertRefused(answer, 503, 'ERR_BROKER_CLOSED')
		assert.deepEqual(answer.cookies, [], 'the sign-in is still under way')
		const next = await createOnRedis({ auth: { redirectUri: `${closing.origin}/user/authorized` } })
		try {
			assertSignedIn(await deliver(browser, fields, { at: next }))
		} finally {
			await Promise.all([closing.close(), next.close()])
		}
	})

	async function keys(kind: 's' | 't'): Promise<number> {
		return (await held()).filter((line) => line.split(' ')[0]?.includes(`:${kind}:`)).length
	}

	async function whoIs(browser: Browser, at = app): Promise<string | undefined> {
		const page = await browser.get(`${at.origin}/token`)
		return page.status === 200 ? page.json<{ username: string }>().username : undefined
	}

	it('may be posted once more when the browser went away before it had posted all of it', async () => {
		const browser = openBrowser()
		const fields = await answerOf(browser)
		const url = new URL(`${app.origin}/user/authorized`)
		const body = new URLSearchParams(fields).toString()
		const half = request(url, {
			method: 'POST',
			headers: {
				'content-type': 'application/x-www-form-urlencoded',
				'content-length': body.length,
				cookie: browser.jar.headerFor(url, { method: 'POST', crossSite: true, topLevel: true }),
			},
		})
		half.on('error', () => {})
		half.write(body.slice(0, 20))
		await sleep(100)
		half.destroy()
		await sleep(200)
		assertSignedIn(await deliver(browser, fields))
	})

	/** Nothing was asked of the provider, nothing is signed in, and nothing that was is different. */
	async function changesNothing(work: () => Promise<void>): Promise<void> {
		const before = await held()
		world.standIn.clearLog()
		await work()
		assert.equal(world.standIn.count('token'), 0, 'no token call')
		assert.deepEqual(await held(), before)
	}

	describe('with an answer that belongs to no sign-in of this browser', () => {
		it('A1: refuses a form without its transaction cookie', async () => {
			const answer = await answerOf(openBrowser())
			await changesNothing(async () =>
				assertRefused(await deliver(openBrowser(), answer), 400, 'ERR_LOGIN_REJECTED'),
			)
		})

		it('A1: refuses a transaction cookie that was changed, renamed or is another application’s', async () => {
			const browser = openBrowser()
			const { state = '', code = '' } = await answerOf(browser)
			const [cookie] = browser.jar.cookies.filter(({ name }) => name.startsWith('__Host-msal-tx-'))
			assert.ok(cookie)
			const { name, value } = cookie
			const flipped = value.slice(0, 100) + (value[100] === 'A' ? 'B' : 'A') + value.slice(101)
			const other = await createApplication(world, { secrets, auth: { clientId: clientIds.certificate } })
			const foreign = openBrowser()
			await answerOf(foreign, { at: other })
			await other.close()
			const theirs = foreign.jar.cookies.find((one) => one.name.startsWith('__Host-msal-tx-'))?.value
			await changesNothing(async () => {
				for (const bad of [flipped, value.slice(0, -4), `${value}AAAA`, '', 'x', '%', `"${value}"`, theirs])
					assertRefused(
						await deliver(openBrowser(), { state, code }, { cookie: `${name}=${bad}` }),
						400,
						'ERR_LOGIN_REJECTED',
					)
			})
		})

		it('A2: refuses a wrong, empty, absent, repeated or endless state', async () => {
			const browser = openBrowser()
			const { state = '', code = '' } = await answerOf(browser)
			const cookie = browser.jar.headerFor(new URL(app.origin), {
				method: 'POST',
				crossSite: true,
				topLevel: true,
			})
			const wrong = `${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`
			const refusals: [[string, string][], number, string][] = [
				[[['state', wrong]], 400, 'ERR_LOGIN_REJECTED'],
				[[['state', '']], 400, 'ERR_LOGIN_REJECTED'],
				[[], 400, 'ERR_LOGIN_REJECTED'],
				[[['state[]', state]], 400, 'ERR_LOGIN_REJECTED'],
				[[['state', `${state} `]], 400, 'ERR_LOGIN_REJECTED'],
				[[['state', '<script>alert(1)</script>']], 400, 'ERR_LOGIN_REJECTED'],
				[[['state', '__proto__']], 400, 'ERR_LOGIN_REJECTED'],
				[[['state', 'x'.repeat(40_000)]], 400, 'ERR_BAD_REQUEST'],
				[
					[
						['state', state],
						['state', state],
					],
					400,
					'ERR_BAD_REQUEST',
				],
				[
					[
						['state', wrong],
						['state', state],
					],
					400,
					'ERR_BAD_REQUEST',
				],
				[[['state', 'x'.repeat(100_000)]], 413, 'ERR_BAD_REQUEST'],
			]
			await changesNothing(async () => {
				for (const [fields, status, error] of refusals) {
					const answer = await deliver(openBrowser(), [...fields, ['code', code]], { cookie })
					assertRefused(answer, status, error)
					for (const value of [state, wrong, 'xxxxxxxxxx', '<script>', code])
						assert.ok(!answer.text.includes(value), 'what came is not shown')
				}
			})
			assert.deepEqual(app.errors, [], 'and not logged')
		})

		it('A2: ends the one sign-in under way when an answer comes with another state', async () => {
			const browser = openBrowser()
			const answer = await answerOf(browser)
			await changesNothing(async () => {
				assertRefused(await deliver(browser, { ...answer, state: 'x' }), 400, 'ERR_LOGIN_REJECTED')
				assertRefused(await deliver(browser, answer), 400, 'ERR_LOGIN_REJECTED')
			})
		})

		it('A5: does not sign a victim in as the attacker, nor out', async () => {
			const victim = openBrowser()
			assertSignedIn(await deliver(victim, await answerOf(victim)))
			const attacker = openBrowser()
			const planted = await answerOf(attacker, { name: 'Grace Hopper' })
			await changesNothing(async () =>
				assertRefused(
					await deliver(victim, planted, { origin: 'https://evil.example' }),
					400,
					'ERR_LOGIN_REJECTED',
				),
			)
			assert.equal(await whoIs(victim), people.ada.upn)

			// The attacker's own sign-in is done now: its form leads to the page that it led to, and to nobody's session.
			assertSignedIn(await deliver(attacker, planted))
			await changesNothing(async () => {
				const again = await deliver(victim, planted, { origin: 'https://evil.example' })
				assert.deepEqual(again.cookies, [])
			})
			assert.equal(await whoIs(victim), people.ada.upn)
		})
	})

	describe('with an answer that comes again', () => {
		it('A3: leads to the same page, and changes nothing', async () => {
			const browser = openBrowser()
			const answer = await answerOf(browser, { path: '/orders?page=2' })
			world.standIn.clearLog()
			assertSignedIn(await deliver(browser, answer), '/orders?page=2')
			assert.equal(world.standIn.count('token'), 1)
			await changesNothing(async () => {
				const again = await deliver(browser, answer)
				assertSignedIn(again, '/orders?page=2')
				assert.deepEqual(again.cookies, [])
			})
			assert.equal(await whoIs(browser), people.ada.upn)
		})

		for (const kind of ['Redis', 'memory'] as const)
			it(`A3: redeems the code once when the form is posted twice at the same time (${kind})`, async () => {
				const at = kind === 'Redis' ? app : memory
				const browser = openBrowser()
				const answer = await answerOf(browser, { at, path: '/orders' })
				const before = [await keys('s'), await keys('t')]
				world.standIn.clearLog()
				world.standIn.inject({ delayMs: 50 })
				const both = await Promise.all([deliver(browser, answer, { at }), deliver(browser, answer, { at })])
				for (const one of both) assertSignedIn(one, '/orders')
				assert.equal(world.standIn.count('token'), 1)
				assert.equal(both.flatMap(({ cookies }) => cookies.filter(isSession)).length, 1)
				if (at === app)
					assert.deepEqual(
						[await keys('s'), await keys('t')],
						before.map((count) => count + 1),
					)
			})

		for (const kind of ['Redis', 'memory'] as const)
			it(`A3: does not look like a success when the first has failed (${kind})`, async () => {
				const at = kind === 'Redis' ? app : memory
				const browser = openBrowser()
				const answer = await answerOf(browser, { at })
				const cookie = browser.jar.headerFor(new URL(at.origin), {
					method: 'POST',
					crossSite: true,
					topLevel: true,
				})
				assertRefused(await deliver(browser, { ...answer, code: 'wrong' }, { at }), 400, 'ERR_LOGIN_REJECTED')
				await changesNothing(async () => {
					assertRefused(await deliver(browser, answer, { at }), 400, 'ERR_LOGIN_REJECTED')
					assertRefused(await deliver(browser, answer, { at, cookie }), 400, 'ERR_LOGIN_REJECTED')
				})
			})
	})

	it('A4: cannot be given the code of another sign-in', async () => {
		const victim = openBrowser()
		assertSignedIn(await deliver(victim, await answerOf(victim)))
		const answer = await answerOf(victim)
		const stolen = await answerOf(openBrowser(), { name: 'Grace Hopper' })
		const before = await held()
		world.standIn.clearLog()
		assertRefused(
			await deliver(victim, { ...answer, code: stolen.code as string }),
			400,
			'ERR_LOGIN_REJECTED',
		)
		assert.equal(world.standIn.count('token'), 1, 'the provider was asked, and refused')
		assert.deepEqual(await held(), before)
		assert.equal(await whoIs(victim), people.ada.upn)
	})

	it('asks nothing of the provider when the answer brings no code', async () => {
		const browser = openBrowser()
		const { state = '' } = await answerOf(browser)
		await changesNothing(async () =>
			assertRefused(await deliver(browser, { state }), 400, 'ERR_LOGIN_REJECTED'),
		)
	})

	describe('A8: checks who answers (RFC 9207)', () => {
		let strict: Application
		let lenient: Application
		before(async () => {
			const reader = createBrowser({ ca: world.standIn.ca })
			const page = await reader.get(`${world.standIn.authority}/v2.0/.well-known/openid-configuration`)
			await reader.close()
			const declaring = (supported: boolean) =>
				JSON.stringify({
					...page.json<object>(),
					authorization_response_iss_parameter_supported: supported,
				})
			;[strict, lenient] = await Promise.all([
				createOnRedis({ auth: { authorityMetadata: declaring(true) } }),
				createOnRedis({ auth: { authorityMetadata: declaring(false) } }),
			])
		})
		after(() => Promise.all([strict.close(), lenient.close()]))

		/** The answer to a sign-in at `at`, with another `iss` than the provider's. */
		async function withIssuer(at: Application, iss: readonly string[]) {
			const browser = openBrowser()
			const { iss: _, ...answer } = await answerOf(browser, { at })
			return deliver(
				browser,
				[...Object.entries(answer), ...iss.map((one): [string, string] => ['iss', one])],
				{ at },
			)
		}

		it('refuses another issuer', async () => {
			const { issuer, tenantId } = world.standIn
			const others = [
				'https://evil.example/v2.0',
				`${issuer}/`,
				issuer.toUpperCase(),
				issuer.replace(tenantId, '22222222-2222-4333-8444-555555555555'),
				'',
			]
			for (const at of [strict, lenient])
				for (const iss of others)
					await changesNothing(async () =>
						assertRefused(await withIssuer(at, [iss]), 400, 'ERR_LOGIN_REJECTED'),
					)
		})

		it('refuses an issuer that comes twice', async () => {
			const { issuer } = world.standIn
			for (const at of [strict, lenient])
				await changesNothing(async () =>
					assertRefused(await withIssuer(at, [issuer, issuer]), 400, 'ERR_BAD_REQUEST'),
				)
		})

		it('misses the issuer when the provider declares to send it, and only then', async () => {
			await changesNothing(async () => assertRefused(await withIssuer(strict, []), 400, 'ERR_LOGIN_REJECTED'))
			assertSignedIn(await withIssuer(lenient, []))
		})

		it('accepts the right one', async () => {
			for (const at of [strict, lenient]) assertSignedIn(await withIssuer(at, [world.standIn.issuer]))
		})
	})

	describe('A11: with an error of the provider', () => {
		it('tells a person who cancelled, and ends the sign-in', async () => {
			const browser = openBrowser()
			await browser.follow(`${app.origin}/user/login`)
			const page = await browser.press('Cancel')
			assert.equal(page.form?.fields.error, 'access_denied', page.html)
			const answer = page.form.fields
			await changesNothing(async () => {
				const refused = await deliver(browser, answer)
				assertRefused(refused, 403, 'ERR_IDP_DENIED')
				assert.ok(!refused.text.includes('AADSTS'))
				assertRefused(await deliver(browser, answer), 400, 'ERR_LOGIN_REJECTED')
			})
		})

		const errors: [string, number, string][] = [
			['interaction_required', 403, 'ERR_IDP_DENIED'],
			['login_required', 403, 'ERR_IDP_DENIED'],
			['consent_required', 403, 'ERR_IDP_DENIED'],
			['server_error', 503, 'ERR_IDP_UNAVAILABLE'],
			['temporarily_unavailable', 503, 'ERR_IDP_UNAVAILABLE'],
			['invalid_request', 400, 'ERR_LOGIN_REJECTED'],
			['nobody_knows_this', 400, 'ERR_LOGIN_REJECTED'],
			['"><script>alert(1)</script>', 400, 'ERR_LOGIN_REJECTED'],
			['', 400, 'ERR_LOGIN_REJECTED'],
		]
		for (const [error, status, code] of errors)
			it(`answers ${status} to ${JSON.stringify(error)}, shows none of it and ends the sign-in`, async () => {
				const browser = openBrowser()
				const answer = await answerOf(browser)
				const error_description = `<img src=x onerror=alert(1)>${'&'.repeat(5000)}`
				await changesNothing(async () => {
					const refused = await deliver(browser, {
						...answer,
						error,
						error_description,
						error_uri: 'javascript:alert(1)',
					})
					assertRefused(refused, status, code)
					for (const shown of ['<img', '<script', 'alert(1)', '&&&', answer.state as string])
						assert.ok(!refused.text.includes(shown), shown)
					if (status === 503) assert.ok(Number(refused.headers.get('retry-after')) > 0)
					assertRefused(await deliver(browser, answer), 400, 'ERR_LOGIN_REJECTED')
				})
			})

		it('refuses a description of 1 MB unread', async () => {
			const browser = openBrowser()
			const answer = await answerOf(browser)
			await changesNothing(async () => {
				const error_description = 'x'.repeat(1024 * 1024)
				const refused = await deliver(browser, { ...answer, error: 'access_denied', error_description })
				assertRefused(refused, 413, 'ERR_BAD_REQUEST')
			})
		})
	})

	describe('A13: with two tabs', () => {
		for (const order of ['the first', 'the second'] as const)
			it(`signs in with both, ${order} one first`, async () => {
				const browser = openBrowser()
				const tabs = [
					await answerOf(browser, { path: '/first' }),
					await answerOf(browser, { path: '/second' }),
				] as const
				const before = [await keys('s'), await keys('t')]
				const [winner, loser] = order === 'the first' ? tabs : [tabs[1], tabs[0]]
				const paths = order === 'the first' ? ['/first', '/second'] : ['/second', '/first']
				assertSignedIn(await deliver(browser, winner), paths[0])
				assert.equal(await whoIs(browser), people.ada.upn)
				assertSignedIn(await deliver(browser, loser), paths[1])
				assert.equal(await whoIs(browser), people.ada.upn)
				assert.equal(browser.jar.cookies.filter(({ name }) => name.includes('msal-tx')).length, 0)
				const afterwards = [await keys('s'), await keys('t')]
				assert.deepEqual(
					afterwards,
					before.map((count) => count + 1),
					'one session, with its tokens',
				)
			})

		for (const kind of ['redis', 'memory'] as const)
			it(`the later one takes the place of the earlier one, which is over, whoever that was (${kind}; A18, B6)`, async () => {
				const at = kind === 'redis' ? app : memory
				const browser = openBrowser()
				const tabs = [await answerOf(browser, { at, path: '/first' })]
				for (const name of ['Grace Hopper', 'Charles Babbage']) {
					for (const cookie of browser.jar.cookies)
						if (cookie.name.startsWith('idp_')) browser.jar.clear(cookie.name)
					tabs.push(await answerOf(browser, { at, name, path: `/${name.slice(0, 5)}` }))
				}
				const earlier: string[] = []
				for (const [nth, tab] of tabs.entries()) {
					const path = ['/first', '/Grace', '/Charl'][nth] as string
					assertSignedIn(await deliver(browser, tab, { at }), path)
					await browser.get(`${at.origin}/keep?value=${nth}`)
					earlier.push(
						browser.jar.headerFor(new URL(at.origin), { method: 'GET', crossSite: false, topLevel: true }),
					)
				}
				assert.equal(await whoIs(browser, at), people.charles.upn)
				for (const cookie of earlier.slice(0, -1)) {
					const kept = await fetch(`${at.origin}/kept`, { headers: { cookie } })
					assert.deepEqual(await kept.json(), { kept: null })
					assert.equal((await fetch(`${at.origin}/token`, { headers: { cookie } })).status, 401)
				}
			})

		it('leaves the winner alone when the other one fails', async () => {
			const browser = openBrowser()
			const first = await answerOf(browser)
			const second = await answerOf(browser)
			assertSignedIn(await deliver(browser, first))
			const before = await held()
			assertRefused(await deliver(browser, { ...second, code: 'wrong' }), 400, 'ERR_LOGIN_REJECTED')
			assert.deepEqual(await held(), before)
			assert.equal(await whoIs(browser), people.ada.upn)
		})

		it('leaves the other tab alone when one brings a state that nobody knows', async () => {
			const browser = openBrowser()
			const first = await answerOf(browser)
			const second = await answerOf(browser)
			assertRefused(await deliver(browser, { ...first, state: 'x' }), 400, 'ERR_LOGIN_REJECTED')
			assertSignedIn(await deliver(browser, second))
		})
	})

	describe('A15: after a while', () => {
		it('accepts an answer within 15 minutes, and none after, whatever the browser has kept', async () => {
			const browser = openBrowser()
			const [early, late] = [await answerOf(browser), await answerOf(browser)]
			const url = new URL(app.origin)
			const cookie = browser.jar.headerFor(url, { method: 'POST', crossSite: true, topLevel: true })
			const begun = Date.now()
			const clock = mock.method(Date, 'now', () => begun + 4 * minute)
			assertSignedIn(await deliver(openBrowser(), early, { cookie }))
			clock.mock.mockImplementation(() => begun + 15 * minute + 1000)
			await changesNothing(async () => {
				const refused = await deliver(openBrowser(), late, { cookie })
				assertRefused(refused, 400, 'ERR_LOGIN_REJECTED')
				assert.match(refused.text, /took too long/)
			})
		})
	})

	describe('when somebody is signed in already', () => {
		/** Makes the provider ask again who it is. */
		function forgetProvider(browser: Browser): void {
			for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
		}

		const sessionOf = (browser: Browser) =>
			browser.jar.cookies.filter(isSession).map(({ name, value }) => `${name}=${value}`)[0] as string

		it('A18: leaves nothing of user A when user B signs in over the session', async () => {
			const browser = openBrowser()
			assertSignedIn(await deliver(browser, await answerOf(browser)))
			await browser.get(`${app.origin}/keep?value=of-ada`)
			await whoIs(browser)
			const ada = app.seen.session as { msal: { partition: string } }
			const old = sessionOf(browser)
			const before = [await keys('s'), await keys('t')]

			forgetProvider(browser)
			assertSignedIn(await deliver(browser, await answerOf(browser, { name: 'Charles Babbage' })))
			assert.equal(await whoIs(browser), people.charles.upn)
			assert.deepEqual((await browser.get(`${app.origin}/kept`)).json(), { kept: null })
			assert.ok(!JSON.stringify(app.seen.session).includes('ada'), 'nothing of hers')
			assert.notEqual(sessionOf(browser), old)
			const replayed = await openBrowser().get(`${app.origin}/token`, { cookie: old })
			assert.equal(replayed.status, 401)
			await assert.rejects(
				app.broker.acquireSilent(ada),
				(error) => error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT',
			)
			assert.deepEqual([await keys('s'), await keys('t')], before, 'one session and one blob, not two')
		})

		it('A18: leaves nothing of user A when the session of user B could not be stored', async () => {
			let stops = false
			const other = await createOnRedis()
			other.app.middleware.splice(1, 0, async (ctx, next) => {
				await next()
				if (stops && ctx.path === '/user/authorized') process.kill(redis.pid, 'SIGSTOP')
			})
			try {
				const browser = openBrowser()
				assertSignedIn(await deliver(browser, await answerOf(browser, { at: other }), { at: other }))
				await browser.get(`${other.origin}/keep?value=of-ada`)
				const old = sessionOf(browser)
				forgetProvider(browser)
				const fields = await answerOf(browser, { at: other, name: 'Charles Babbage' })
				stops = true
				assert.equal((await deliver(browser, fields, { at: other })).status, 503)
				process.kill(redis.pid, 'SIGCONT')
				const replayed = await openBrowser().get(`${other.origin}/kept`, { cookie: old })
				assert.deepEqual(replayed.json(), { kept: null })
			} finally {
				process.kill(redis.pid, 'SIGCONT')
				await other.close()
			}
		})

		it('B1: gives the same user a new id, and keeps session data and tokens', async () => {
			const scope = encodeURIComponent(`${API}/access_as_user`)
			const browser = openBrowser()
			assertSignedIn(await deliver(browser, await answerOf(browser)))
			await browser.get(`${app.origin}/keep?value=of-ada`)
			assert.equal((await browser.get(`${app.origin}/token?scope=${scope}`)).status, 200)
			const old = sessionOf(browser)
			const before = [await keys('s'), await keys('t')]

			assertSignedIn(await deliver(browser, await answerOf(browser)))
			assert.notEqual(sessionOf(browser), old)
			assert.deepEqual((await browser.get(`${app.origin}/kept`)).json(), { kept: 'of-ada' })
			assert.equal((await openBrowser().get(`${app.origin}/token`, { cookie: old })).status, 401)
			world.standIn.clearLog()
			const token = (await browser.get(`${app.origin}/token?scope=${scope}`)).json<{ outcome: string }>()
			assert.equal(token.outcome, 'cached', 'the other resource’s token is still there')
			assert.equal(world.standIn.count('token'), 0)
			assert.deepEqual([await keys('s'), await keys('t')], before)
		})

		it('B1: does not sign in under an id that was there before', async () => {
			const browser = openBrowser()
			await browser.get(`${app.origin}/keep?value=basket`)
			const planted = sessionOf(browser)
			const answer = await answerOf(browser)
			assertSignedIn(await deliver(browser, answer))
			assert.notEqual(sessionOf(browser), planted)
			assert.deepEqual((await browser.get(`${app.origin}/kept`)).json(), { kept: 'basket' })
			const other = openBrowser()
			const anonymous = await other.get(`${app.origin}/kept`, { cookie: planted })
			assert.deepEqual(anonymous.json(), { kept: null })
		})
	})

	it('B3: sets the session cookie for this host, Lax, and deletes the transaction’s', async () => {
		const browser = openBrowser()
		const answer = await deliver(browser, await answerOf(browser))
		const [session, more] = answer.cookies.filter(isSession)
		assert.match(session ?? '', /^msal-[0-9a-f]{8}=[\w-]{43}\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/)
		assert.equal(more, undefined)
		const [deleted] = answer.cookies.filter((line) => line.includes('msal-tx'))
		assert.match(deleted ?? '', /^__Host-msal-tx-\S+=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=None$/)
	})

	describe('with another request than a form post', () => {
		it('answers 405 to other methods and says which one it takes', async () => {
			for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH']) {
				const response = await fetch(`${app.origin}/user/authorized?state=x&code=y`, { method })
				assert.equal(response.status, 405, method)
				assert.equal(response.headers.get('allow'), 'POST')
				assertProtected(response.headers)
			}
		})

		it('answers 415, 413 and 400 to what is no form, too large or too much', async () => {
			const browser = openBrowser()
			const { state = '', code = '' } = await answerOf(browser)
			await changesNothing(async () => {
				for (const type of [
					'application/json',
					'multipart/form-data; boundary=x',
					'text/plain',
					'nonsense',
				]) {
					const json = JSON.stringify({ state, code })
					assertRefused(await deliver(browser, json, { 'content-type': type }), 415, 'ERR_BAD_REQUEST')
				}
				const large = `state=${state}&code=${code}&filler=${'x'.repeat(57 * 1024)}`
				assertRefused(await deliver(browser, large), 413, 'ERR_BAD_REQUEST')
				const many = `state=${state}&code=${code}&${'a=1&'.repeat(1000)}`
				assertRefused(await deliver(browser, many), 400, 'ERR_BAD_REQUEST')
				assertRefused(await deliver(openBrowser(), ''), 400, 'ERR_LOGIN_REJECTED')
				for (const name of ['code', 'error', 'iss'])
					assertRefused(await deliver(browser, `state=${state}&${name}=a&${name}=b`), 400, 'ERR_BAD_REQUEST')
			})
			assertSignedIn(await deliver(browser, await answerOf(browser)))
		})

		it('answers an API client in JSON', async () => {
			const answer = await deliver(openBrowser(), { state: 'x' }, { accept: 'application/json' })
			assert.equal(answer.status, 400)
			assert.match(answer.headers.get('content-type') ?? '', /^application\/json/)
			const { error, message } = JSON.parse(answer.text) as Record<string, string>
			assert.equal(error, 'ERR_LOGIN_REJECTED')
			assert.match(message ?? '', /cannot be completed/)
		})
	})

	describe('in query mode', () => {
		let query: Application
		before(async () => {
			query = await createOnRedis({ auth: { responseMode: 'query' } })
		})
		after(() => query.close())

		it('signs in by a GET, with a Lax transaction cookie', async () => {
			const browser = query.browser()
			const home = await query.signIn(browser, 'Ada Lovelace', '/orders?page=2')
			assert.equal(home.url, `${query.origin}/orders?page=2`)
			assert.equal(await whoIs(browser, query), people.ada.upn)
			const [transaction] = browser.setCookies.filter(({ name }) => name.includes('msal-tx'))
			assert.equal(transaction?.attributes.samesite, 'Lax')
			assert.ok(!('secure' in transaction.attributes))
			const answered = browser.setCookies.filter(({ url }) => url.includes('/user/authorized?'))
			assert.ok(answered.length > 0)
		})

		it('B1: gives a new id to the same user and leaves nothing to another one', async () => {
			const browser = query.browser()
			await query.signIn(browser)
			await browser.get(`${query.origin}/keep?value=of-ada`)
			const before = [await keys('s'), await keys('t')]
			const ids = () => browser.setCookies.filter(isSession).map(({ value }) => value)
			await browser.follow(`${query.origin}/user/login`)
			assert.equal(new Set(ids()).size, 2)
			assert.deepEqual((await browser.get(`${query.origin}/kept`)).json(), { kept: 'of-ada' })
			assert.deepEqual([await keys('s'), await keys('t')], before)

			for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
			await query.signIn(browser, 'Charles Babbage')
			assert.equal(new Set(ids()).size, 3)
			assert.equal(await whoIs(browser, query), people.charles.upn)
			assert.deepEqual((await browser.get(`${query.origin}/kept`)).json(), { kept: null })
			assert.deepEqual([await keys('s'), await keys('t')], before)
		})

		it('A18: takes the place of a session that has begun after it in the same browser', async () => {
			const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
			browsers.push(browser)
			const before = [await keys('s'), await keys('t')]
			const answers: string[] = []
			for (const name of ['Ada Lovelace', 'Charles Babbage']) {
				await browser.follow(`${query.origin}/user/login`)
				answers.push((await browser.press(name)).left as string)
				for (const cookie of browser.jar.cookies)
					if (cookie.name.startsWith('idp_')) browser.jar.clear(cookie.name)
			}
			await browser.get(answers[1] as string)
			assert.equal(await whoIs(browser, query), people.charles.upn)
			await browser.get(answers[0] as string)
			assert.equal(await whoIs(browser, query), people.ada.upn)
			assert.deepEqual(
				[await keys('s'), await keys('t')],
				before.map((count) => count + 1),
			)
		})

		it('A3: leads to the same page when the address is loaded again', async () => {
			const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
			browsers.push(browser)
			await browser.follow(`${query.origin}/user/login/orders`)
			const { left = '' } = await browser.press('Ada Lovelace')
			assert.ok(left.startsWith(`${query.origin}/user/authorized?`), left)
			assert.equal((await browser.get(left)).headers.get('location'), '/orders')
			await changesNothing(async () => {
				const again = await browser.get(left)
				assert.deepEqual([again.status, again.headers.get('location')], [303, '/orders'])
			})
			const stranger = await openBrowser().get(left.replace(/state=[^&]*/, 'state=x'))
			assert.equal(stranger.status, 400)
			assert.equal(await whoIs(browser, query), people.ada.upn)
		})

		it('answers 405 to a form post', async () => {
			const answer = await deliver(openBrowser(), { state: 'x' }, { at: query })
			assert.equal(answer.status, 405)
			assert.equal(answer.headers.get('allow'), 'GET')
		})
	})

	describe('when the provider does not play along', () => {
		it('answers 503 without showing anything when the provider refuses this application', async () => {
			const clientSecret = 'not~the~secret~of~this~application'
			const wrong = await createOnRedis({ auth: { clientSecret } })
			try {
				const browser = openBrowser()
				const before = await held()
				const answer = await deliver(browser, await answerOf(browser, { at: wrong }), { at: wrong })
				assertRefused(answer, 503, 'ERR_CLIENT_REJECTED')
				assert.ok(Number(answer.headers.get('retry-after')) > 0)
				const [error] = wrong.errors as BrokerError[]
				assert.equal(error?.code, 'ERR_CLIENT_REJECTED')
				for (const text of [answer.text, error?.message, error?.stack])
					for (const secret of [clientSecret, clientIds.web, 'AADSTS7000215: '])
						assert.ok(!text?.includes(secret), secret)
				assert.ok(!answer.text.includes('AADSTS'))
				assert.deepEqual(await held(), before)
			} finally {
				await wrong.close()
			}
		})

		for (const [what, fault] of [
			['cuts the connection', { drop: true }],
			['answers 500', { status: 500 }],
			['answers half', { halfBody: true }],
			['has redeemed the code and loses half of its answer', { cutAfter: 0.5 }],
		] as const)
			it(`answers 503 with Retry-After when it ${what}, and signs in the next time`, async () => {
				const browser = openBrowser()
				const answer = await answerOf(browser)
				const before = await held()
				world.standIn.clearLog()
				world.standIn.inject({ ...fault, times: 5 })
				const refused = await deliver(browser, answer)
				assertRefused(refused, 503, 'ERR_IDP_UNAVAILABLE')
				assert.ok(Number(refused.headers.get('retry-after')) > 0)
				assert.equal(world.standIn.count('token'), 1, 'a code is sent once')
				assert.deepEqual(await held(), before)
				world.standIn.clearFaults()
				assertSignedIn(await deliver(browser, await answerOf(browser)))
			})

		it('passes on how long the provider wants to be left alone', async () => {
			const browser = openBrowser()
			const answer = await answerOf(browser)
			world.standIn.inject({ status: 429, headers: { 'retry-after': '17' } })
			const refused = await deliver(browser, answer)
			assertRefused(refused, 503, 'ERR_IDP_UNAVAILABLE')
			assert.equal(refused.headers.get('retry-after'), '17')
		})

		it('answers 502 when the token answer is not one', async () => {
			for (const body of [
				{},
				'<h1>hello</h1>',
				{ access_token: 'x', token_type: 'Bearer', expires_in: 'banana' },
			]) {
				const browser = openBrowser()
				const answer = await answerOf(browser)
				const before = await held()
				world.standIn.inject({ status: 200, body })
				assertRefused(await deliver(browser, answer), 502, 'ERR_IDP_PROTOCOL')
				assert.deepEqual(await held(), before)
			}
		})
	})

	describe('A16: with an OpenID configuration that cannot be believed', () => {
		it('answers 502 and sends nobody anywhere, until it can', async () => {
			const fresh = await createOnRedis()
			const reader = createBrowser({ ca: world.standIn.ca })
			try {
				const { origin, authority, issuer, tenantId } = world.standIn
				const page = await reader.get(`${authority}/v2.0/.well-known/openid-configuration`)
				const good = page.json<Record<string, unknown>>()
				const evil = (name: string) => String(good[name]).replace(/^https?:\/\/[^/]+/, 'https://evil.example')
				const plain = (name: string) => String(good[name]).replace('https:', 'http:')
				const bad: Record<string, object> = {
					'issuer of another host': { ...good, issuer: evil('issuer') },
					'issuer over http': { ...good, issuer: plain('issuer') },
					'issuer of another tenant': {
						...good,
						issuer: issuer.replace(tenantId, '22222222-2222-4333-8444-555555555555'),
					},
					'issuer of any tenant': { ...good, issuer: `${origin}/{tenantid}/v2.0` },
					'no issuer': { ...good, issuer: undefined },
					'keys of another host': { ...good, jwks_uri: evil('jwks_uri') },
					'keys over http': { ...good, jwks_uri: plain('jwks_uri') },
					'token endpoint of another host': { ...good, token_endpoint: evil('token_endpoint') },
					'token endpoint over http': { ...good, token_endpoint: plain('token_endpoint') },
					'pages over http': { ...good, authorization_endpoint: 'http://evil.example/authorize' },
					'pages of a script': { ...good, authorization_endpoint: 'javascript:alert(1)' },
					'a list': [good],
				}
				world.standIn.clearLog()
				for (const [what, body] of Object.entries(bad)) {
					world.standIn.inject({ on: 'discovery', status: 200, body })
					const refused = await fresh.browser().get(`${fresh.origin}/user/login`)
					assert.equal(refused.status, 502, what)
					assert.match(refused.html, /ERR_IDP_PROTOCOL/, what)
					assert.ok(!refused.html.includes('evil.example'))
					assert.equal(refused.headers.getSetCookie().length, 0)
				}
				for (const fault of [
					{ status: 302, headers: { location: 'https://evil.example/' } },
					{ status: 200, body: '<h1>hello</h1>' },
					{ status: 404, body: {} },
				]) {
					world.standIn.inject({ on: 'discovery', ...fault })
					assert.equal((await fresh.browser().get(`${fresh.origin}/user/login`)).status, 502)
				}
				assert.equal(world.standIn.count('token'), 0)
				assert.equal((await fresh.signIn(fresh.browser())).status, 200)
			} finally {
				await reader.close()
				await fresh.close()
			}
		})
	})

	describe('for an authority of many tenants', () => {
		const common = () => `${world.standIn.origin}/common`

		it('signs in people of the allowed tenants', async () => {
			const many = await createOnRedis({
				auth: { authority: common(), allowedTenants: [world.standIn.tenantId] },
			})
			try {
				const browser = many.browser()
				assert.equal((await many.signIn(browser)).status, 200)
				assert.equal(await whoIs(browser, many), people.ada.upn)
				assert.equal((await browser.get(`${many.origin}/token?force`)).status, 200)
			} finally {
				await many.close()
			}
		})

		it('turns the others away', async () => {
			const none = await createOnRedis({
				auth: { authority: common(), allowedTenants: ['22222222-2222-4333-8444-555555555555'] },
			})
			try {
				const browser = openBrowser()
				const before = await held()
				const answer = await deliver(browser, await answerOf(browser, { at: none }), { at: none })
				assertRefused(answer, 403, 'ERR_LOGIN_REJECTED')
				assert.deepEqual(await held(), before)
			} finally {
				await none.close()
			}
		})

		it('does not start without knowing which tenants', async () => {
			await assert.rejects(
				createTokenBroker({
					secrets,
					auth: {
						clientId: clientIds.web,
						clientSecret: clientSecrets.web,
						authority: common(),
						redirectUri: 'http://localhost/user/authorized',
					},
				}),
				(error) =>
					error instanceof BrokerError &&
					error.code === 'ERR_CONFIG' &&
					/auth\.allowedTenants/.test(error.message),
			)
		})
	})
})

/** What is stored of sessions and tokens; marks of used transactions come and go. */
async function heldIn(redis: TestRedis): Promise<string[]> {
	return (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[st]:/.test(line))
}

function isSession(cookie: string | { readonly name: string }): boolean {
	return /^(__Host-)?msal-(?!tx-)/.test(typeof cookie === 'string' ? cookie : cookie.name)
}

/** C10, B14: on every answer, whatever its status. */
function assertProtected(headers: Headers): void {
	assert.equal(headers.get('cache-control'), 'no-store')
	assert.equal(headers.get('x-content-type-options'), 'nosniff')
	assert.equal(headers.get('x-frame-options'), 'DENY')
	assert.equal(headers.get('referrer-policy'), 'no-referrer')
	assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none'.*frame-ancestors 'none'/)
}
