import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { clientIds } from '../dev/directory.js'
import { redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('GET /user/login[/to]', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
	})
	after(async () => {
		await app.close()
		await redis.stop()
		await world.close()
	})

	/** One request to sign in, not followed: the address of the provider and the cookie of the transaction. */
	async function begin(path = '', browser = app.browser()) {
		const before = browser.setCookies.length
		const page = await browser.get(`${app.origin}/user/login${path}`)
		assert.equal(page.status, 303, page.html)
		const [cookie, ...more] = browser.setCookies
			.slice(before)
			.filter(({ attributes }) => !isExpired(attributes))
		assert.ok(cookie)
		assert.equal(more.length, 0, 'one cookie')
		return { page, cookie, url: new URL(page.headers.get('location') as string), browser }
	}

	it('sends the browser to the provider with everything a sign-in needs', async () => {
		const { url, page } = await begin()
		assert.equal(url.origin, world.standIn.pagesOrigin)
		const { scope, state, nonce, code_challenge, claims, ...rest } = Object.fromEntries(url.searchParams)
		assert.deepEqual(rest, {
			client_id: clientIds.web,
			response_type: 'code',
			response_mode: 'form_post',
			redirect_uri: `${app.origin}/user/authorized`,
			code_challenge_method: 'S256',
			client_info: '1',
		})
		assert.deepEqual(scope?.split(' ').sort(), ['User.Read', 'offline_access', 'openid', 'profile'])
		assert.match(state ?? '', /^[\w-]{43}$/)
		assert.match(nonce ?? '', /^[\w-]{43}$/)
		assert.match(code_challenge ?? '', /^[\w-]{43}$/)
		assert.deepEqual(JSON.parse(claims ?? ''), {
			id_token: { login_hint: null },
			access_token: { xms_cc: { values: ['CP1'] } },
		})
		assertProtected(page)
	})

	it('A7: has its own S256 challenge, state and nonce in each of 1,000 sign-ins', async () => {
		const seen = { state: new Set(), nonce: new Set(), code_challenge: new Set() }
		for (let i = 0; i < 1000; i++) {
			const { url, transaction } = await app.broker.getAuthCodeUrl()
			const { searchParams } = new URL(url)
			for (const [name, values] of Object.entries(seen)) values.add(searchParams.get(name))
			assert.equal(searchParams.get('code_challenge_method'), 'S256')
			assert.ok((searchParams.get('code_challenge') ?? '').length >= 43)
			assert.ok(transaction.codeVerifier.length >= 43)
			assert.ok(!url.includes(transaction.codeVerifier))
		}
		for (const [name, values] of Object.entries(seen)) assert.equal(values.size, 1000, name)
	})

	it('A7: shows nothing of the transaction in its cookie, in whatever encoding', async () => {
		const { url, cookie } = await begin('/orders?page=2')
		const decoded = Buffer.from(cookie.value, 'base64url').toString('latin1')
		const state = url.searchParams.get('state') as string
		const nonce = url.searchParams.get('nonce') as string
		for (const secret of [state, nonce, 'codeVerifier', 'orders', 'returnTo'])
			for (const text of [cookie.value, cookie.name, decoded]) assert.ok(!text.includes(secret), secret)
	})

	it('B3: keeps the transaction in a short-lived cookie that only this host gets back', async () => {
		const { cookie } = await begin()
		assert.match(cookie.name, /^__Host-msal-tx-/)
		assert.deepEqual(cookie.attributes, {
			'max-age': '900',
			path: '/',
			httponly: '',
			secure: '',
			samesite: 'None',
		})
	})

	it('B13: costs the store nothing while the visitor is anonymous', async () => {
		const empty = await redis.dump()
		const monitor = await redis.monitor()
		await Promise.all(Array.from({ length: 100 }, () => begin('/orders')))
		assert.deepEqual(await monitor.commands(), [], 'not even a question')
		monitor.stop()
		assert.deepEqual(await redis.dump(), empty)
	})

	it('B4: leaves the five newest of 50 unfinished sign-ins', async () => {
		const browser = app.browser()
		const newest: string[] = []
		for (let i = 0; i < 50; i++) {
			const { cookie } = await begin(`/orders?page=${i}`, browser)
			assert.ok(cookie.raw.length <= 4096, `${cookie.raw.length} bytes`)
			newest.push(cookie.name)
		}
		assert.deepEqual(
			browser.jar.cookies.map(({ name }) => name),
			newest.slice(-5),
		)
	})

	it('B4: keeps the cookies of unfinished sign-ins under 8 kB, however long the paths are', async () => {
		const browser = app.browser()
		for (let i = 0; i < 12; i++) {
			const { cookie } = await begin(`/${'a'.repeat(1000)}?page=${i}`, browser)
			assert.ok(cookie.raw.length <= 4096, `${cookie.raw.length} bytes`)
		}
		const header = browser.jar.headerFor(new URL(app.origin), {
			method: 'GET',
			crossSite: false,
			topLevel: true,
		})
		assert.ok(header.length < 8192, `${header.length} bytes`)
		assert.ok(browser.jar.cookies.length >= 2, 'two tabs still work')
	})

	it('is not put off by transaction cookies that somebody made up', async () => {
		const { cookie } = await begin()
		const label = (i: number) => cookie.name.replace(/.{16}$/, String(i).padStart(16, '0'))
		const made = Array.from({ length: 40 }, (_, i) => `${label(i)}=forged${i}`).join('; ')
		const page = await app.browser().get(`${app.origin}/user/login`, { cookie: made })
		assert.equal(page.status, 303)
		const cleared = page.headers.getSetCookie().filter((line) => /Max-Age=0/.test(line))
		assert.ok(cleared.length >= 10, `${cleared.length} of them are gone`)
	})

	it('leads back to the path it was given (redirect), and to no other origin', async () => {
		const browser = app.browser()
		const home = async (path: string) => {
			browser.jar.clear()
			const page = await app.signIn(browser, 'Ada Lovelace', path)
			assert.equal(page.status, 200, page.html)
			assert.ok(page.url.startsWith(`${app.origin}/`), page.url)
			return page.url.slice(app.origin.length)
		}
		assert.equal(await home(''), '/')
		assert.equal(await home('/orders?page=2'), '/orders?page=2')
		assert.equal(await home('/%2Forders%3Fpage%3D2'), '/orders?page=2')
		assert.equal(await home('//evil.example/'), '/')
		assert.equal(await home('/%2F%2Fevil.example'), '/')
		assert.equal(await home('/%2F%5Cevil.example'), '/')
		assert.equal(await home('/%2F.%2F%2Fevil.example'), '/')
		assert.equal(await home('/%2F%09%2Fevil.example'), '/')
		assert.equal(await home(`/${'a'.repeat(1100)}`), '/')
	})

	it('C2: takes no target from a Referer or a parameter', async () => {
		const headers = { referer: 'https://evil.example/user/login/orders?localhost' }
		const browser = createBrowser({ headers })
		const page = await app.signIn(browser, 'Ada Lovelace', '?returnTo=//evil.example&next=/orders')
		assert.equal(page.url, `${app.origin}/`)
		await browser.close()
	})

	it('answers 503 with Retry-After while the provider has never been reached, and works once it is', async () => {
		const late = await createApplication(world, { secrets })
		try {
			world.standIn.inject({ on: 'discovery', drop: true })
			const page = await late.browser().get(`${late.origin}/user/login`)
			assert.equal(page.status, 503)
			assert.ok(Number(page.headers.get('retry-after')) > 0)
			assertProtected(page)
			assert.equal(page.headers.getSetCookie().length, 0)
			assert.equal((await late.browser().get(`${late.origin}/user/login`)).status, 303)
			assert.deepEqual(
				late.errors.map((error) => 'code' in error && error.code),
				['ERR_IDP_UNAVAILABLE'],
			)
		} finally {
			world.standIn.clearFaults()
			await late.close()
		}
	})

	it('leaves other methods to the application', async () => {
		const page = await app.browser().post(`${app.origin}/user/login`, {})
		assert.deepEqual(page.json(), { path: '/user/login', search: '' })
		assert.equal(page.headers.getSetCookie().length, 0)
	})

	it('C8: has no debug surface', async () => {
		const browser = app.browser()
		assert.deepEqual((await browser.get(`${app.origin}/user/debug`)).json(), {
			path: '/user/debug',
			search: '',
		})
		const { url } = await begin('?debug=1')
		assert.equal(url.searchParams.get('debug'), null)
	})
})

function isExpired(attributes: Readonly<Record<string, string>>): boolean {
	return attributes['max-age'] === '0'
}

function assertProtected(page: Page): void {
	const headers = Object.fromEntries(page.headers)
	assert.equal(headers['cache-control'], 'no-store')
	assert.equal(headers['x-content-type-options'], 'nosniff')
	assert.equal(headers['x-frame-options'], 'DENY')
	assert.equal(headers['referrer-policy'], 'no-referrer')
	assert.match(headers['content-security-policy'] ?? '', /^default-src 'none'.*frame-ancestors 'none'/)
}
