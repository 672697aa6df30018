import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import Koa from 'koa'
import type { Browser } from '../../dev/cookie-jar-browser.js'
import { BrokerError, createHealthRoutes, hasRole, startSignIn } from '../../src/index.js'
import { answersOf, cookiesFor, deliver, isSession } from '../support/answers.js'
import {
	type Application,
	createApplication,
	createWorld,
	listen,
	type World,
} from '../support/application.js'
import { type RawAnswer, sendRaw } from '../support/raw-request.js'
import { createShopApplication, createShopWorld } from '../support/shop-application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** What every answer of this library says of itself. @param cached `/user/photo` may be kept, by the person's own browser */
function assertProtected(answer: RawAnswer, what: string, cached = false): void {
	const policy = answer.get('content-security-policy').split(/; */)
	assert.ok(policy.includes("default-src 'none'"), `${what}: default-src`)
	assert.ok(policy.includes("frame-ancestors 'none'"), `${what}: frame-ancestors`)
	assert.ok(policy.includes("base-uri 'none'"), `${what}: base-uri`)
	assert.doesNotMatch(
		policy.join(';'),
		/script|unsafe|\*|https?:/,
		`${what}: nothing is let in but one style`,
	)
	assert.equal(answer.get('x-content-type-options'), 'nosniff', what)
	assert.equal(answer.get('x-frame-options'), 'DENY', what)
	assert.equal(answer.get('referrer-policy'), 'no-referrer', what)
	assert.equal(answer.get('cache-control'), cached ? 'private, max-age=300' : 'no-store', what)
	assert.equal(answer.get('strict-transport-security'), '', `${what}: HSTS is the application’s`)
	for (const line of answer.lines.slice(1)) assert.match(line, /^[\w-]+: ?[\x20-\x7e]*$/, what)
}

/** `METHOD /path`, byte by byte. */
function ask(
	{ origin }: { readonly origin: string },
	line: string,
	{ cookie = '', accept = '*/*', headers = [] as readonly string[], body = '' } = {},
): Promise<RawAnswer> {
	const host = new URL(origin).host
	const lines = [`${line} HTTP/1.1`, `Host: ${host}`, `Accept: ${accept}`, 'Connection: close', ...headers]
	if (cookie) lines.push(`Cookie: ${cookie}`)
	if (body) lines.push(`Content-Length: ${body.length}`)
	return sendRaw(origin, [...lines, '', body].join('\r\n'))
}

function cookiesOf(browser: Browser, { origin }: { readonly origin: string }): string {
	return browser.jar.headerFor(new URL(origin), { method: 'GET', crossSite: false, topLevel: true })
}

const form = ['Content-Type: application/x-www-form-urlencoded']

/** What is asked, the status it gets as nobody, and the one as somebody who is signed in. */
const sweep: readonly (readonly [string, number, number?, (readonly string[])?, string?])[] = [
	['GET /user/login', 303],
	['HEAD /user/login', 303],
	['GET /user/login/orders?a=b', 303],
	['GET /user/login//evil.test', 303],
	['GET /user/login?prompt=select_account', 303],
	['GET /user/login', 303, 303, ['X-Forwarded-Host: evil.test']],
	['GET /user/authorized', 405],
	['GET /user/authorized/', 405],
	['PUT /user/authorized', 405],
	['OPTIONS /user/authorized', 405],
	['DELETE /user/authorized?state=x', 405],
	['POST /user/authorized', 415],
	['POST /user/authorized', 415, 415, form],
	['POST /user/authorized', 400, 400, form, 'state=x&code=y'],
	['POST /user/authorized', 400, 400, form, 'state=x&state=y'],
	['POST /user/authorized', 400, 400, form, 'a&'.repeat(40)],
	['POST /user/authorized', 413, 413, form, `state=${'x'.repeat(60_000)}`],
	['POST /user/authorized', 415, 415, ['Content-Type: application/json'], '{}'],
	['GET /user/info', 200],
	['HEAD /user/info', 200],
	['GET /USER/INFO/', 200],
	['GET /user/photo', 401, 200],
	['HEAD /user/photo', 401, 200],
	['GET /live', 200],
	['HEAD /ready', 200],
	['GET /ready', 200],
	['GET /user/logout', 303, 200, ['Sec-Fetch-Site: cross-site']],
	['POST /user/logout/goodbye', 303, 200, ['Sec-Fetch-Site: same-site'], 'a=b'],
]

/** What a handler may throw that is no Error of this realm, or one that lends its headers to nobody. */
const thrown: Readonly<Record<string, unknown>> = {
	text: 'a text',
	number: 7,
	object: { headers: { 'cache-control': 'public' } },
	null: null,
	foreign: runInNewContext("new Error('of another realm')"),
	fixed: Object.defineProperty(new Error('x'), 'headers', { value: { 'Cache-Control': 'public' } }),
}

describe('C10, B14: the headers of every route and status', () => {
	let world: World
	let app: Application
	let cookie: string
	let slow: Promise<RawAnswer>
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			secrets,
			trustedProxies: ['127.0.0.1', '::1'],
			configure: (koa, { broker }) => {
				// Probes are to be in front of the sessions.
				koa.middleware.unshift(createHealthRoutes(broker))
				koa.use(async (ctx, next) => {
					ctx.set('Content-Security-Policy', "default-src 'self'")
					if (ctx.path === '/connect') await startSignIn(ctx, { extraScopesToConsent: ['Mail.Read'] })
					else if (ctx.path === '/connect-badly') await startSignIn(ctx, { prompt: 'sometimes' })
					else if (ctx.path === '/role') await hasRole('Nobody')(ctx, next)
					else if (ctx.path.startsWith('/throws-odd/')) {
						if (ctx.query.set !== undefined) ctx.session.value = 'x'
						throw thrown[ctx.path.slice('/throws-odd/'.length)]
					} else if (ctx.path.startsWith('/throws/')) {
						ctx.set('Set-Cookie', 'theirs=1')
						throw new BrokerError(ctx.path.slice('/throws/'.length) as 'ERR_CONFIG', 'Thrown by a handler.')
					} else await next()
				})
			},
		})
		const browser = app.browser()
		await app.signIn(browser, 'Ada Lovelace')
		cookie = cookiesOf(browser, app)
		slow = sendRaw(
			app.origin,
			`POST /user/authorized HTTP/1.1\r\nHost: ${new URL(app.origin).host}\r\n${form}\r\nContent-Length: 9\r\n\r\nstate`,
		)
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	for (const [line, asNobody, asPerson = asNobody, headers = [], body = ''] of sweep)
		it(`are right for ${line} ${headers.join()} ${body.slice(0, 20)}`, async () => {
			for (const accept of ['*/*', 'text/html'])
				for (const who of ['', cookie]) {
					const answer = await ask(app, line, { accept, cookie: who, headers, body })
					const isPhoto = answer.status === 200 && line.endsWith('/photo')
					assert.equal(answer.status, who ? asPerson : asNobody, `${line} ${accept} ${answer.body}`)
					assertProtected(answer, `${line} ${accept}`, isPhoto)
					if (isPhoto) assert.match(answer.get('vary'), /cookie/i)
				}
		})

	it('are right for a photo that is known, and one that is not there', async () => {
		const known = await ask(app, 'GET /user/photo', { cookie })
		const headers = [`If-None-Match: ${known.get('etag')}`]
		const again = await ask(app, 'GET /user/photo', { cookie, headers })
		assert.equal(again.status, 304)
		assertProtected(again, '304', true)
		for (const [status, fault] of [
			[404, 404],
			[503, 500],
			[403, 403],
		] as const) {
			world.graph.inject({ path: '/v1.0/me/photo/$value', status: fault })
			const answer = await ask(app, 'GET /user/photo', { cookie })
			assert.equal(answer.status, status, answer.body)
			assertProtected(answer, `${status} of Graph's`)
		}
	})

	it('are right for an answer of the provider, the same again, a denied and a failed one', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		const fields = await answers.answerOf(browser, app)
		const said = await deliver(browser, app, fields)
		assert.equal(said.status, 303, said.text)
		const raw = async (body: Record<string, string>, status: number) => {
			const answer = await ask(app, 'POST /user/authorized', {
				cookie: cookiesFor(browser, app),
				headers: form,
				body: new URLSearchParams(body).toString(),
			})
			assert.equal(answer.status, status, answer.body)
			assertProtected(answer, `${status} of the callback`)
		}
		await raw(fields, 303)
		for (const [error, status] of [
			['access_denied', 403],
			['server_error', 503],
			['<b>', 400],
		] as const) {
			const { state = '', iss = '' } = await answers.answerOf(browser, app)
			await raw({ state, iss, error }, status)
		}
		const { state = '', iss = '', code = '' } = await answers.answerOf(browser, app)
		world.standIn.inject({ grant: 'authorization_code', error: { error: 'invalid_client', code: 7000215 } })
		await raw({ state, iss, code }, 503)
		await answers.close()
	})

	it('are right where a guard or startSignIn() answers', async () => {
		for (const [line, asNobody, asPerson] of [
			['GET /private', 303, undefined],
			['GET /connect', 303, 303],
			['GET /connect-badly', 400, 400],
			['GET /role', 303, 403],
		] as const)
			for (const who of ['', cookie]) {
				const status = who ? asPerson : asNobody
				if (status === undefined) continue
				const answer = await ask(app, line, { accept: 'text/html', cookie: who })
				assert.equal(answer.status, status, `${line} ${answer.body}`)
				assertProtected(answer, `${line} ${status}`)
			}
		for (const line of ['GET /private', 'POST /private', 'GET /role']) {
			const answer = await ask(app, line)
			assert.equal(answer.status, 401)
			assertProtected(answer, line)
		}
		const elsewhere = await ask(app, 'GET /private', {
			accept: 'text/html',
			headers: ['X-Forwarded-Host: other.test'],
		})
		assert.ok(elsewhere.get('location').startsWith(`${app.origin}/private`), 'the redirect URI’s origin')
		assertProtected(elsewhere, 'to the redirect URI’s origin')
	})

	it('are right where Koa answers an error of this library, of whatever code', async () => {
		const codes = [
			'ERR_LOGIN_REJECTED',
			'ERR_SIGNED_OUT',
			'ERR_FORBIDDEN',
			'ERR_NOT_FOUND',
			'ERR_AMBIGUOUS_USER',
		]
		const ours = ['ERR_CONFIG', 'ERR_IDP_PROTOCOL', 'ERR_STORE_UNAVAILABLE', 'ERR_OVERLOADED']
		for (const code of [...codes, ...ours])
			for (const who of ['', cookie]) {
				const answer = await ask(app, `GET /throws/${code}`, { cookie: who })
				assert.equal(answer.status, new BrokerError(code as 'ERR_CONFIG', '').status)
				assertProtected(answer, code)
				assert.ok(answer.all('set-cookie').includes('theirs=1'), 'cookies that were set stay set')
				if (answer.status === 503) assert.match(answer.get('retry-after'), /^\d+$/)
			}
	})

	it('keep an answer from shared caches where a handler throws what is no error, or another’s', async () => {
		for (const what of Object.keys(thrown))
			for (const [query, who] of [
				['', cookie],
				['?set', ''],
			] as const) {
				const answer = await ask(app, `GET /throws-odd/${what}${query}`, { cookie: who })
				assert.deepEqual([answer.status, answer.get('cache-control')], [500, 'no-store'], what)
				assert.equal(answer.all('set-cookie').some(isSession), query === '?set', what)
			}
	})

	it('are right for a request that is malformed', async () => {
		for (const head of [
			'GET /user/login HTTP/1.1\r\nHost: a\r\nHost: b',
			'GET http://]/ HTTP/1.1\r\nHost: a',
		])
			for (const who of ['', cookie]) {
				const answer = await sendRaw(app.origin, `${head}\r\nConnection: close\r\nCookie: ${who}\r\n\r\n`)
				assert.equal(answer.status, 400)
				assertProtected(answer, head)
			}
	})

	it('are right for a body that does not come', async () => {
		const answer = await slow
		assert.equal(answer.status, 408)
		assertProtected(answer, '408')
	})

	it('are right for what the application’s onError makes, which has its own policy', async () => {
		for (const onError of [
			'throw',
			(ctx: { body: unknown; status: number }) => {
				ctx.status = 400
				ctx.body = 'theirs'
			},
		] as const) {
			const own = await createApplication(world, { secrets, onError: onError as 'throw' })
			const answer = await ask(own, 'POST /user/authorized', { headers: form, body: 'state=x' })
			assert.equal(answer.status, 400)
			if (onError === 'throw') assertProtected(answer, 'onError: throw')
			else {
				assert.deepEqual([answer.body, answer.get('content-security-policy')], ['theirs', ''])
				assert.deepEqual(
					[answer.get('cache-control'), answer.get('x-content-type-options')],
					['no-store', 'nosniff'],
				)
			}
			await own.close()
		}
	})

	it('are right when the broker is closed, and the provider away', async (t) => {
		const closed = await createApplication(world, { secrets })
		t.after(() => closed.close())
		world.standIn.inject({ on: 'discovery', drop: true, times: 5 })
		const away = await ask(closed, 'GET /user/login', { accept: 'text/html' })
		world.standIn.clearFaults()
		assert.equal(away.status, 503)
		assertProtected(away, 'the provider is away')
		await closed.broker.close()
		closed.app.middleware.unshift(createHealthRoutes(closed.broker))
		assert.equal((await ask(closed, 'GET /ready')).status, 503)
		for (const line of [
			'GET /ready',
			'GET /user/login',
			'GET /user/info',
			'GET /user/logout',
			'GET /private',
		]) {
			const answer = await ask(closed, line, { cookie, accept: 'text/html' })
			assertProtected(answer, `${line}, closed: ${answer.status}`)
		}
	})

	it('are right for a sign-out, and its repetition', async () => {
		const browser = app.browser()
		await app.signIn(browser, 'Grace Hopper')
		const who = cookiesOf(browser, app)
		for (const line of ['GET /user/logout/goodbye', 'POST /user/logout']) {
			const answer = await ask(app, line, { cookie: who })
			assert.equal(answer.status, 303)
			assertProtected(answer, line)
		}
	})

	it('are right where Koa answers that there is no session', async () => {
		const bare = new Koa({ env: 'test' }).use(app.msalRoutes)
		bare.silent = true
		const server = createServer(bare.callback())
		const origin = await listen(server)
		for (const line of ['GET /user/login', 'GET /user/info', 'GET /elsewhere']) {
			const answer = await ask({ origin }, line)
			assert.equal(answer.status, 500, answer.body)
			assertProtected(answer, `${line}: ERR_CONFIG`)
		}
		server.closeAllConnections()
		server.close()
	})

	it('are right for the application’s own session too', async () => {
		const shops = await createShopWorld()
		const shop = await createShopApplication(shops)
		try {
			const at = new URL(shop.address)
			for (const [line, status] of [
				['GET /user/login', 303],
				['GET /user/info', 200],
				['GET /user/photo', 401],
				['GET /orders', 303],
				['POST /user/authorized', 415],
			] as const) {
				const answer = await ask(at, line, { accept: 'text/html' })
				assert.equal(answer.status, status, answer.body)
				assertProtected(answer, line)
			}
		} finally {
			await shop.close()
			await shops.close()
		}
	})
})

describe('C8, C10: the headers of what is for developers', () => {
	it('are right where it is switched on', async () => {
		const world = await createWorld()
		const before = process.env.NODE_ENV
		process.env.NODE_ENV = 'development'
		const app = await createApplication(world, { secrets, debug: true })
		try {
			const browser = app.browser()
			await app.signIn(browser, 'Ada Lovelace')
			const answer = await ask(app, 'GET /user/debug', { cookie: cookiesOf(browser, app) })
			assert.equal(answer.status, 200)
			assertProtected(answer, 'debug')
		} finally {
			if (before === undefined) delete process.env.NODE_ENV
			else process.env.NODE_ENV = before
			await app.close()
			await world.close()
		}
	})
})
