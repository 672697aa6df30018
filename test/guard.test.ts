import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, beforeEach, describe, it } from 'node:test'
import Koa, { type Context } from 'koa'
import { people } from '../dev/people.js'
import { BrokerError, createMsalSession, requireSignedIn } from '../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	listen,
	type World,
} from './support/application.js'
import { request, sessionOptions } from './support/session-application.js'

const html = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }

describe('requireSignedIn() (msal_session, auth_ok)', () => {
	let world: World
	let app: Application
	let passed: number
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			configure: (koa, { broker }) =>
				koa.use(async (ctx, next) => {
					if (!ctx.path.startsWith('/guarded')) return next()
					await requireSignedIn()(ctx as Context, async () => {
						passed++
						if (ctx.path === '/guarded/forbidden') throw new BrokerError('ERR_FORBIDDEN', 'Not for you.')
						if (ctx.path === '/guarded/crash') throw new TypeError('a mistake of the application')
						if (ctx.path === '/guarded/never')
							throw new BrokerError('ERR_INTERACTION_REQUIRED', 'Never enough.', { scopes: ['Mail.Read'] })
						if (ctx.path === '/guarded/half') {
							ctx.status = 201
							ctx.body = { half: 'done' }
							ctx.attachment('report.csv')
							ctx.set({ ETag: '"1"', 'Last-Modified': new Date(0).toUTCString(), 'Content-Encoding': 'gzip' })
							throw new BrokerError('ERR_SIGNED_OUT', 'Signed out meanwhile.')
						}
						if (ctx.path.startsWith('/guarded/rows')) {
							if (ctx.path.endsWith('past-koa')) ctx.respond = false
							ctx.res.writeHead(200, { 'content-type': 'text/csv' })
							ctx.res.write('id,amount\n1,10\n')
							throw new BrokerError('ERR_SIGNED_OUT', 'Signed out meanwhile.')
						}
						if (ctx.path === '/guarded/token') {
							const { outcome } = await broker.acquireSilent(ctx.session, {
								scopes: ['Mail.Read'],
								forceRefresh: true,
							})
							ctx.body = { outcome }
						} else ctx.body = { path: ctx.path }
					})
				}),
		})
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	beforeEach(() => {
		passed = 0
		app.errors.length = 0
		world.standIn.clearFaults()
	})

	it('sends a browser to sign in, and it comes back to the same page with its query', async () => {
		const browser = app.browser()
		await browser.follow(`${app.origin}/guarded/orders?page=2&sort=a%2Fb`)
		assert.equal(passed, 0)
		const arrived = await browser.press('Ada Lovelace')
		assert.equal(arrived.url, `${app.origin}/guarded/orders?page=2&sort=a%2Fb`)
		assert.deepEqual([arrived.status, arrived.json()], [200, { path: '/guarded/orders' }])
		assert.equal(passed, 1)
	})

	it('sends it with 303, and lets nobody keep that answer', async () => {
		const { status, headers, text } = await request(`${app.origin}/guarded`, undefined, html)
		assert.equal(status, 303)
		assert.equal(headers.get('cache-control'), 'no-store')
		assert.equal(new URL(headers.get('location') ?? '').pathname.endsWith('/authorize'), true)
		assert.equal(text, '')
	})

	it('lets who is signed in through, browser or API client', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		for (const headers of [html, { accept: 'application/json' }]) {
			const page = await browser.get(`${app.origin}/guarded/page`, headers)
			assert.deepEqual([page.status, page.json()], [200, { path: '/guarded/page' }])
		}
		assert.equal(passed, 2)
	})

	it('answers an API client 401 with JSON that says where to sign in', async () => {
		for (const accept of ['application/json', '*/*', 'image/png']) {
			const { status, headers, text, lines } = await request(`${app.origin}/guarded`, undefined, { accept })
			assert.equal(status, 401)
			assert.equal(headers.get('www-authenticate'), 'Bearer')
			assert.match(headers.get('content-type') ?? '', /^application\/json/)
			assert.equal(headers.get('cache-control'), 'no-store')
			assert.equal(headers.get('x-content-type-options'), 'nosniff')
			assert.deepEqual(lines, [])
			const body = JSON.parse(text) as { error: string; login: string }
			assert.deepEqual([body.error, body.login], ['ERR_SIGNED_OUT', '/user/login'])
		}
		assert.equal(passed, 0)
	})

	it('answers any method but GET with 401: what was posted would be lost on the way', async () => {
		for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
			const { status, headers } = await fetch(`${app.origin}/guarded`, {
				method,
				headers: html,
				redirect: 'manual',
			})
			assert.equal(status, 401, method)
			assert.equal(headers.get('location'), null)
			assert.match(headers.get('content-type') ?? '', /^text\/html/)
		}
		const head = await fetch(`${app.origin}/guarded`, { method: 'HEAD', headers: html, redirect: 'manual' })
		assert.equal(head.status, 303)
		assert.equal(passed, 0)
	})

	it('has a person sign in again, with the scopes asked for, whose tokens were revoked (F7)', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		world.standIn.revokeUserTokens(people.ada.oid)
		const api = await browser.get(`${app.origin}/guarded/token`, { accept: 'application/json' })
		assert.deepEqual([api.status, api.json<{ error: string }>().error], [401, 'ERR_INTERACTION_REQUIRED'])
		const page = await browser.get(`${app.origin}/guarded/token?x=1`, html)
		assert.equal(page.status, 303)
		const query = new URL(page.headers.get('location') ?? '').searchParams
		assert.ok(query.get('scope')?.split(' ').includes('Mail.Read'), query.get('scope') ?? '')
		// And the way back leads to the page, which works now.
		const arrived = await browser.follow(`${app.origin}/guarded/token?x=1`)
		const back = arrived.forms.length > 0 ? await browser.press('Ada Lovelace') : arrived
		assert.equal(back.url, `${app.origin}/guarded/token?x=1`)
		assert.deepEqual([back.status, back.json()], [200, { outcome: 'refreshed' }])
	})

	for (const path of ['/guarded/rows', '/guarded/rows/past-koa'])
		for (const accept of ['application/json', html.accept])
			it(`leaves an answer that has begun broken, and tells the application (${path}, ${accept})`, async () => {
				const browser = app.browser()
				await app.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(app.origin), {
					method: 'GET',
					crossSite: false,
					topLevel: true,
				})
				const signal = AbortSignal.timeout(5000)
				await assert.rejects(
					fetch(`${app.origin}${path}`, { headers: { cookie, accept }, signal }).then((page) => page.text()),
					TypeError,
					'not a timeout, and not a whole answer',
				)
				const codes = app.errors.map((error) => (error as BrokerError).code)
				assert.deepEqual(codes, ['ERR_SIGNED_OUT'])
			})

	it('passes a claims challenge on to the provider (F7)', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
		world.standIn.inject({
			grant: 'refresh_token',
			error: { error: 'interaction_required', code: 50076, claims },
		})
		const page = await browser.get(`${app.origin}/guarded/token`, html)
		assert.equal(page.status, 303)
		const asked = JSON.parse(new URL(page.headers.get('location') ?? '').searchParams.get('claims') ?? '{}')
		assert.deepEqual(asked.access_token.acrs, { essential: true, value: 'c1' })
		assert.deepEqual(asked.access_token.xms_cc, { values: ['CP1'] })
	})

	it('leaves nothing of an answer that was begun before the session turned out to have ended', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const api = await browser.get(`${app.origin}/guarded/half`, { accept: 'application/json' })
		assert.deepEqual([api.status, api.json<{ error: string }>().error], [401, 'ERR_SIGNED_OUT'])
		const page = await browser.get(`${app.origin}/guarded/half`, html)
		assert.deepEqual([page.status, page.html], [303, ''])
		for (const { headers } of [api, page])
			for (const name of ['content-disposition', 'content-encoding', 'etag', 'last-modified'])
				assert.equal(headers.get(name), null, name)
	})

	it('does not send a browser round in circles that a sign-in does not help', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		world.standIn.clearLog()
		for (let i = 0; i < 2; i++) {
			const page = await browser.follow(`${app.origin}/guarded/never`)
			assert.deepEqual([page.status, page.url], [401, `${app.origin}/guarded/never`])
			assert.match(page.html, /Never enough\..*<a href="\/user\/login">Sign in<\/a>/s)
			assert.equal(world.standIn.count('token', 'authorization_code'), 5)
		}
		const [rounds] = browser.setCookies.filter(({ name }) => name.includes('msal-rounds-'))
		assert.match(rounds?.name ?? '', /^__Host-msal-rounds-[0-9a-f]{8}$/)
		assert.deepEqual(rounds?.attributes, {
			path: '/',
			httponly: '',
			secure: '',
			samesite: 'None',
			'max-age': '15',
		})
		const other = await browser.get(`${app.origin}/guarded/orders`, html)
		assert.equal(other.status, 200)
	})

	it('nor one that brings no session back', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const isSession = (name: string) => /^(__Host-)?msal-[0-9a-f]{8}$/.test(name)
		for (let i = 0; ; i++) {
			for (const { name } of browser.jar.cookies) if (isSession(name)) browser.jar.clear(name)
			const page = await browser.get(`${app.origin}/guarded/orders`, html)
			if (page.status === 401) break
			assert.ok(page.status === 303 && i < 5)
			await browser.follow(page.headers.get('location') ?? '')
		}
	})

	it('lets every other error through as it is', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		for (const [path, status, name] of [
			['/guarded/forbidden', 403, 'BrokerError'],
			['/guarded/crash', 500, 'TypeError'],
		] as const) {
			app.errors.length = 0
			const page = await browser.get(`${app.origin}${path}`, html)
			assert.equal(page.status, status)
			assert.deepEqual(
				app.errors.map((error) => error.name),
				[name],
			)
		}
		world.standIn.inject({ grant: 'refresh_token', status: 503, times: 5 })
		const page = await browser.get(`${app.origin}/guarded/token`, html)
		assert.deepEqual([page.status, page.headers.has('retry-after')], [503, true], 'an outage is no sign-out')
	})

	it('never sends anybody to another site, whatever the request line says (C4)', async () => {
		const browser = app.browser()
		for (const path of [
			'//evil.example/guarded',
			'/guarded/..//evil.example',
			'/guarded/%2e%2e//evil.example',
		]) {
			const page = await browser.get(`${app.origin}${path}`, html)
			const location = page.headers.get('location')
			if (location) assert.equal(new URL(location, app.origin).hostname, '127.0.0.1')
		}
	})

	for (const [what, middlewares] of Object.entries({
		'the routes': () => [createMsalSession(sessionOptions())],
		'session and routes': () => [],
	}))
		it(`is refused with ERR_CONFIG without ${what} before it`, async () => {
			const alone = new Koa()
			const errors: unknown[] = []
			alone.on('error', (error) => errors.push(error))
			for (const middleware of middlewares()) alone.use(middleware)
			alone.use(requireSignedIn())
			const server = createServer(alone.callback())
			try {
				const { status, text } = await request(await listen(server), undefined, html)
				assert.equal(status, 500)
				assert.equal(text, 'Internal Server Error')
				const [error] = errors
				assert.ok(error instanceof BrokerError)
				assert.equal(error.code, 'ERR_CONFIG')
				assert.match(error.message, /app\.use\(msalRoutes\)/)
			} finally {
				server.closeAllConnections()
				server.close()
			}
		})
})
