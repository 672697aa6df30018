import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Browser, createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { clientIds } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { BrokerError, redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('/user/logout[/to]', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let browser: Browser
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			logoutTargets: ['/', '/goodbye'],
		})
		browser = createBrowser()
	})
	after(async () => {
		await browser.close()
		await app.close()
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await browser.get(`${app.origin}/user/logout`)
		browser.jar.clear()
		world.standIn.clearFaults()
		app.errors.length = 0
	})

	const logout = (path = '', headers?: Record<string, string>) =>
		browser.get(`${app.origin}/user/logout${path}`, headers)

	const sessionCookies = () =>
		browser.jar.cookies
			.filter(({ name }) => /^msal-(?!tx)/.test(name))
			.map(({ name, value }) => `${name}=${value}`)

	const held = async () => (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[st]:/.test(line))

	const isSignedIn = async () => (await browser.get(`${app.origin}/token`)).status === 200

	/** Where an answer leads, at the provider. */
	function endOf(page: Page): { address: string; parameters: Record<string, string> } {
		assert.equal(page.status, 303, page.html)
		assertProtected(page)
		const url = new URL(page.headers.get('location') as string, app.origin)
		return { address: url.origin + url.pathname, parameters: Object.fromEntries(url.searchParams) }
	}

	it('B6: ends the session, its tokens and its cookie, and an old cookie is worth nothing', async () => {
		assert.deepEqual(await held(), [])
		await app.signIn(browser)
		assert.ok(await isSignedIn())
		const session = app.seen.session as { msal: object }
		const [cookie = ''] = sessionCookies()
		assert.equal((await held()).length, 2, 'a session and a blob')

		const page = await logout()
		assert.deepEqual(await held(), [])
		assert.deepEqual(sessionCookies(), [])
		const deleted = page.headers.getSetCookie()
		assert.equal(deleted.length, 1)
		assert.match(deleted[0] ?? '', /^msal-[0-9a-f]{8}=; Max-Age=0; Path=\/; HttpOnly; SameSite=Lax$/)

		const other = createBrowser()
		const replayed = await other.get(`${app.origin}/token`, { cookie })
		assert.equal(replayed.status, 401)
		assert.deepEqual((await other.get(`${app.origin}/user/info`, { cookie })).json(), {
			authenticated: false,
		})
		await other.close()
		await assert.rejects(
			app.broker.acquireSilent(session),
			(error) => error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT',
		)
		assert.deepEqual(await held(), [], 'nothing came back')
	})

	it('ends the provider’s session too, and tells it whose it is', async () => {
		await app.signIn(browser)
		const { address, parameters } = endOf(await logout())
		assert.equal(address, `${world.standIn.pagesOrigin}/${world.standIn.tenantId}/oauth2/v2.0/logout`)
		assert.deepEqual(parameters, {
			client_id: clientIds.web,
			post_logout_redirect_uri: `${app.origin}/`,
			logout_hint: `O.${people.ada.oid}`,
		})
	})

	it('takes a POST as well', async () => {
		await app.signIn(browser)
		const { parameters } = endOf(await browser.post(`${app.origin}/user/logout/goodbye`, {}))
		assert.equal(parameters.post_logout_redirect_uri, `${app.origin}/goodbye`)
		assert.ok(!(await isSignedIn()))
	})

	it('comes back to a target that the application has named', async () => {
		await app.signIn(browser)
		const home = await browser.follow(`${app.origin}/user/logout/goodbye`)
		assert.equal(home.url, `${app.origin}/goodbye`)
		assert.ok(!(await isSignedIn()))
	})

	const targets = [
		'/orders',
		'/goodbye/..//evil.example',
		'//evil.example',
		'/%2F%2Fevil.example',
		'/goodbye/',
	]
	for (const target of [
		...targets,
		'/goodbye?x=1&id_token_hint=y',
		'/%2Fgoodbye%3Fx=1',
		'/goodbye%26x=1',
		'/GOODBYE',
	])
		it(`C3: comes back to / instead of ${target}`, async () => {
			await app.signIn(browser)
			const { parameters } = endOf(await logout(target))
			assert.deepEqual(Object.keys(parameters), ['post_logout_redirect_uri', 'client_id', 'logout_hint'])
			assert.equal(parameters.post_logout_redirect_uri, `${app.origin}/`)
			assert.equal((await logout(target)).headers.get('location'), '/')
		})

	it('leads a visitor who is not signed in to the target, without the provider', async () => {
		const page = await logout('/goodbye')
		assert.deepEqual([page.status, page.headers.get('location')], [303, '/goodbye'])
		assertProtected(page)
		assert.equal((await logout()).headers.get('location'), '/')
	})

	describe('B9: from another site', () => {
		const origin = 'https://evil.example'
		const requests: Record<string, { method: 'GET' | 'POST'; headers: Record<string, string> }> = {
			'a link': { method: 'GET', headers: { 'sec-fetch-site': 'cross-site' } },
			'a link of a sibling host': { method: 'GET', headers: { 'sec-fetch-site': 'same-site' } },
			'a form': { method: 'POST', headers: { 'sec-fetch-site': 'cross-site', origin } },
			'a form, in an old browser': { method: 'POST', headers: { origin } },
			'a form in a sandbox, in an old browser': { method: 'POST', headers: { origin: 'null' } },
			'something nobody knows': { method: 'GET', headers: { 'sec-fetch-site': 'from-the-moon' } },
		}
		for (const [what, { method, headers }] of Object.entries(requests))
			it(`asks first when it comes by ${what}, and the page’s own form signs out`, async () => {
				await app.signIn(browser)
				const before = await held()
				// By hand, and with the session cookie: a browser that would not hold it back.
				const response = await fetch(`${app.origin}/user/logout/goodbye`, {
					method,
					redirect: 'manual',
					headers: { ...headers, cookie: sessionCookies().join('; ') },
				})
				const text = await response.text()
				assert.equal(response.status, 200, text)
				assert.deepEqual(response.headers.getSetCookie(), [])
				assert.match(text, /<form method="get" action="\/user\/logout\/goodbye">/)
				assert.match(response.headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/)
				assert.deepEqual(await held(), before)
				assert.ok(await isSignedIn())

				const asked = await browser.get(`${app.origin}/user/logout/goodbye`, {
					'sec-fetch-site': 'cross-site',
				})
				const home = await browser.submit(asked.form)
				assert.equal(home.url, `${app.origin}/goodbye`)
				assert.deepEqual(await held(), [])
			})

		it('signs out at once when the address was typed, or the link is the application’s own', async () => {
			for (const site of ['none', 'same-origin']) {
				browser.jar.clear()
				await app.signIn(browser)
				endOf(await logout('', { 'sec-fetch-site': site }))
				assert.ok(!(await isSignedIn()), site)
			}
		})

		it('asks nothing of a visitor who is not signed in', async () => {
			assert.equal((await logout('', { 'sec-fetch-site': 'cross-site' })).headers.get('location'), '/')
		})

		it('leaves what an anonymous visitor has', async () => {
			await browser.get(`${app.origin}/keep?value=basket`)
			await logout('', { 'sec-fetch-site': 'cross-site' })
			assert.deepEqual((await browser.get(`${app.origin}/kept`)).json(), { kept: 'basket' })
		})
	})

	it('signs out when the provider is down, at once and here', async () => {
		await app.signIn(browser)
		world.standIn.inject({ on: '*', drop: true, times: 100 })
		endOf(await logout())
		assert.deepEqual(await held(), [])
		assert.ok(!(await isSignedIn()))
	})

	for (const code of ['ERR_OVERLOADED', 'ERR_WORKER_FAILED'] as const)
		it(`tells who signs out what is done, not to try again, when it is ${code}`, async (t) => {
			await app.signIn(browser)
			const { session } = app.seen
			t.mock.method(app.broker, 'signOut', () =>
				Promise.reject(new BrokerError(code, 'No thread has time.', { retryAfter: 1 })),
			)
			const page = await logout()
			assert.equal(page.status, 503)
			assert.ok(page.headers.get('retry-after'))
			assert.match(page.html, /You are signed out in this browser/)
			assert.doesNotMatch(page.html, /Try again/)
			assert.deepEqual(sessionCookies(), [])
			t.mock.restoreAll()
			await app.broker.signOut(session)
		})

	it('ends only this session of a person who has two', async () => {
		const other = createBrowser()
		await app.signIn(browser)
		await app.signIn(other)
		await logout()
		assert.equal((await other.get(`${app.origin}/token`)).status, 200)
		assert.equal((await held()).length, 2)
		await other.get(`${app.origin}/user/logout`)
		await other.close()
	})
})

function assertProtected(page: Page): void {
	assert.equal(page.headers.get('cache-control'), 'no-store')
	assert.equal(page.headers.get('x-content-type-options'), 'nosniff')
	assert.equal(page.headers.get('referrer-policy'), 'no-referrer')
}
