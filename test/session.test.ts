import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { isNativeError } from 'node:util/types'
import { runInNewContext } from 'node:vm'
import Koa, { type Context } from 'koa'
import createKoaSession from 'koa-session'
import { BrokerError, createMsalSession, memoryTokenStore, redisTokenStore } from '../src/index.js'
import { createSealer } from '../src/sealing.js'
import {
	type Application,
	createApplication,
	createWorld,
	listen,
	type World,
} from './support/application.js'
import { startRedis } from './support/redis.js'
import {
	createSessionApplication,
	gate,
	request,
	type SessionApplication,
	sessionClientId,
	sessionOptions,
} from './support/session-application.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const attributes = (line: string | undefined) =>
	(line ?? '')
		.split('; ')
		.slice(1)
		.filter((attribute) => !/^(Max-Age|Expires)=/i.test(attribute))
		.sort()

let redis: Awaited<ReturnType<typeof startRedis>>
before(async () => {
	redis = await startRedis()
})
after(() => redis.stop())

/** What may be thrown, and is not an Error like any other. */
const odd: Readonly<Record<string, unknown>> = {
	text: 'a text',
	number: 42,
	object: { status: 404, expose: true },
	null: null,
	undefined: undefined,
	'another realm’s error': runInNewContext("Object.assign(new Error('x'), { status: 404, expose: true })"),
	'an error with fixed headers': Object.defineProperty(new Error('x'), 'headers', {
		value: { 'Cache-Control': 'public', 'set-cookie': 'theirs=1' },
	}),
}

describe('ctx.session', () => {
	for (const kind of ['memory', 'Redis'] as const)
		describe(`in ${kind}`, () => {
			let app: SessionApplication
			let gates: Map<string, ReturnType<typeof gate>>
			before(async () => {
				gates = new Map()
				app = await createSessionApplication(
					{ store: kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore() },
					(ctx) => answer(ctx, gates),
				)
			})
			after(() => app.close())

			it('is kept for the browser that brings its cookie, and for no other', async () => {
				const first = await app.get('/set?value=one')
				const second = await app.get('/set?value=two')
				assert.ok(first.cookie && second.cookie)
				assert.notEqual(first.cookie, second.cookie)
				assert.equal((await app.get('/get', first.cookie)).text, '{"body":{"value":"one"}}')
				assert.equal((await app.get('/get', second.cookie)).text, '{"body":{"value":"two"}}')
				assert.equal((await app.get('/get')).text, '{"body":{}}')
			})

			it('sets its cookie HttpOnly, Lax, for all paths, for this host, until the browser closes', async () => {
				const { lines } = await app.get('/set?value=x')
				assert.equal(lines.length, 1)
				assert.deepEqual((lines[0] ?? '').split('; ').slice(1).sort(), ['HttpOnly', 'Path=/', 'SameSite=Lax'])
				assert.match(lines[0] ?? '', /^msal-[0-9a-f]{8}=[\w-]{43}\.[\w-]{43};/)
			})

			it('costs an anonymous visitor who stores nothing neither a key nor a cookie (B13)', async () => {
				const before = kind === 'Redis' ? await redis.dump() : []
				const { lines, headers } = await app.get('/get')
				assert.deepEqual(lines, [])
				assert.equal(headers.get('cache-control'), null)
				if (kind === 'Redis') assert.deepEqual(await redis.dump(), before)
			})

			it('ends with ctx.session = null, and its cookie is deleted with the attributes it was set with (B6)', async () => {
				const set = await app.get('/set?value=x')
				const ended = await app.get('/end', set.cookie)
				assert.equal(ended.cleared, true)
				assert.equal(ended.lines.length, 1, ended.lines.join('\n'))
				assert.match(ended.lines[0] ?? '', /; Max-Age=0/)
				assert.deepEqual(attributes(ended.lines[0]), attributes(set.lines[0]))
				assert.equal((await app.get('/get', set.cookie)).text, '{"body":{}}')
			})

			it('lets no shared cache keep an answer that sets or reads it, whatever its status (B14)', async () => {
				const set = await app.get('/set?value=x')
				for (const [path, status] of [
					['/get', 200],
					['/set?value=y', 200],
					['/nothing', 404],
					['/throw?status=404', 404],
					['/throw?status=500', 500],
					['/crash', 500],
					['/redirect', 302],
					['/end', 200],
				] as const) {
					const answered = await app.get(path, set.cookie)
					assert.equal(answered.status, status, path)
					assert.equal(answered.headers.get('cache-control'), 'no-store', path)
				}
				assert.equal(set.headers.get('cache-control'), 'no-store')
				assert.equal((await app.get('/set-and-throw')).headers.get('cache-control'), 'no-store')
			})

			it('leaves the caching of an answer alone where the application has decided it', async () => {
				const { cookie } = await app.get('/set?value=x')
				const { headers } = await app.get('/cached', cookie)
				assert.equal(headers.get('cache-control'), 'private, max-age=60')
			})

			it('keeps what was stored, and the cookie, when ctx.throw() follows', async () => {
				const thrown = await app.get('/set-and-throw')
				assert.equal(thrown.status, 418)
				assert.ok(thrown.cookie)
				assert.equal((await app.get('/get', thrown.cookie)).text, '{"body":{"value":"thrown"}}')
			})

			it('deletes the cookie when ctx.throw() follows its end', async () => {
				const { cookie } = await app.get('/set?value=x')
				const thrown = await app.get('/end-and-throw', cookie)
				assert.deepEqual([thrown.status, thrown.cleared], [418, true])
				assert.equal((await app.get('/get', cookie)).text, '{"body":{}}')
			})

			for (const [what, thrown] of Object.entries(odd))
				it(`does the same when ${what} is thrown (B14)`, async () => {
					const { cookie } = await app.get('/set?value=x')
					app.errors.length = 0
					const read = await app.get(`/odd?what=${what}`, cookie)
					assert.deepEqual([read.cookie, read.headers.get('cache-control')], [undefined, 'no-store'])
					const set = await app.get(`/odd?what=${what}&value=y`)
					assert.deepEqual([set.status, set.headers.get('cache-control')], [read.status, 'no-store'])
					assert.equal((await app.get('/get', set.cookie)).text, '{"body":{"value":"y"}}')
					const ended = await app.get(`/odd?what=${what}&end`, cookie)
					assert.deepEqual([ended.cleared, ended.headers.get('cache-control')], [true, 'no-store'])
					// Koa tells of it in its own way.
					assert.equal(app.errors.length, 3)
					if (isNativeError(thrown)) assert.ok(app.errors.every((error) => error === thrown))
					else assert.ok(app.errors.every(({ message }) => message.startsWith('non-error thrown: ')))
				})

			it('keeps the headers that an error brings along', async () => {
				const { headers, cookie } = await app.get('/throw-headers')
				assert.deepEqual([headers.get('x-why'), headers.get('retry-after')], ['because', '7'])
				assert.ok(cookie)
			})

			it('never gives one person the cookie of another by an error that their requests share', async () => {
				const shared = gate()
				gates.set('shared', shared)
				waiting.delete('shared')
				const answers = [
					app.get('/shared?value=1'),
					app.get('/shared?value=2'),
					app.get('/shared'),
					app.get('/shared?value=3'),
					app.get('/shared'),
				]
				await waitUntil(() => waiting.get('shared') === 5)
				shared.open()
				const [one, two, none, three, nobody] = await Promise.all(answers)
				assert.equal(new Set([one?.cookie, two?.cookie, three?.cookie]).size, 3)
				assert.deepEqual([none?.lines, nobody?.lines], [[], []])
				assert.equal((await app.get('/get', two?.cookie)).text, '{"body":{"value":"2"}}')
				// The same error again, much later.
				assert.deepEqual((await app.get('/shared')).lines, [])
				assert.ok(!JSON.stringify(sharedError.headers ?? {}).includes('msal-'))
			})

			it('holds everything JSON can say, also more than a cookie could', async () => {
				const value = 'x'.repeat(300_000)
				const { cookie } = await app.get('/set-large?length=300000')
				assert.equal((await app.get('/get', cookie)).text, JSON.stringify({ body: { value } }))
			})

			it('is not mixed up by parallel requests', async () => {
				const cookies = await Promise.all(
					Array.from({ length: 30 }, async (_, i) => (await app.get(`/set?value=${i}`)).cookie),
				)
				const read = await Promise.all(
					cookies.flatMap((cookie, i) =>
						Array.from({ length: 5 }, async () => [i, (await app.get('/get', cookie)).text] as const),
					),
				)
				for (const [i, text] of read) assert.equal(text, `{"body":{"value":"${i}"}}`)
			})

			for (const how of ['change', 'save', 'regenerate', 'replace'] as const)
				it(`is not brought back, nor its cookie, by a slow request that ends after sign-out (${how})`, async () => {
					const { cookie } = await app.get('/set?value=before')
					const slow = gate()
					gates.set(how, slow)
					waiting.delete(how)
					const late = app.get(`/slow?how=${how}`, cookie)
					await waitUntil(() => waiting.get(how) === 1)
					assert.equal((await app.get('/end', cookie)).cleared, true)
					const keys = kind === 'Redis' && (await redis.client().keys('*'))
					slow.open()
					const ended = await late
					assert.equal(ended.status, 200)
					assert.equal((await app.get('/get', cookie)).text, '{"body":{}}')
					assert.deepEqual(ended.lines, [])
					if (keys) assert.deepEqual(await redis.client().keys('*'), keys)
				})

			it('gets a new id by regenerate(); the old one opens nothing', async () => {
				const { cookie } = await app.get('/set?value=x')
				const renewed = await app.get('/regenerate', cookie)
				assert.ok(renewed.cookie && renewed.cookie !== cookie)
				assert.equal((await app.get('/get', cookie)).text, '{"body":{}}')
				assert.equal((await app.get('/get', renewed.cookie)).text, '{"body":{"value":"x"}}')
			})

			it('is anonymous for an unknown, unsigned or wrongly signed id, and for any odd one (B2)', async () => {
				const { cookie = '' } = await app.get('/set?value=mine')
				const [name = '', value = ''] = cookie.split('=')
				const [id = '', signature = ''] = value.split('.')
				const flipped = (text: string) => `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`
				const random = randomBytes(32).toString('base64url')
				for (const odd of [
					'',
					id,
					`${id}.`,
					`.${signature}`,
					`${id}.${flipped(signature)}`,
					`${flipped(id)}.${signature}`,
					`${random}.${random}`,
					`${id}.${signature}x`,
					`${id}.${signature.slice(0, -1)}`,
					`"${value}"`,
					encodeURIComponent(`${value}\r\nSET x y`),
					'*',
					'*.*',
					'../../etc/passwd',
					'%00',
					'koa-msal:*',
					`${'a'.repeat(4096)}.${signature}`,
					'__proto__',
					'constructor',
					'[object Object]',
				]) {
					const { status, text, lines } = await app.get('/get', `${name}=${odd}`)
					assert.deepEqual([status, text, lines], [200, '{"body":{}}', []], odd)
				}
				assert.equal((await app.get('/get', cookie)).text, '{"body":{"value":"mine"}}')
			})

			it('takes, of several cookies of its name, the one that is signed (I4)', async () => {
				const { cookie = '' } = await app.get('/set?value=mine')
				const { cookie: other = '' } = await app.get('/set?value=other')
				const name = cookie.split('=')[0]
				const junk = `${name}=${'x'.repeat(43)}.${'y'.repeat(43)}`
				for (const header of [
					`${cookie}; ${junk}`,
					`${junk}; ${cookie}`,
					`${name}=; ${cookie}`,
					`a=b; ${junk}; ${junk}; ${cookie}; ${junk}`,
				])
					assert.equal((await app.get('/get', header)).text, '{"body":{"value":"mine"}}', header)
				// Both are good: the first is the more specific one (RFC 6265, 5.4).
				assert.equal((await app.get('/get', `${cookie}; ${other}`)).text, '{"body":{"value":"mine"}}')
			})

			it('stores what is changed after the answer has begun, and does not fail', async () => {
				const { cookie } = await app.get('/set?value=x')
				app.errors.length = 0
				const streamed = await app.get('/streamed', cookie)
				assert.equal(streamed.text, 'streamed')
				assert.equal((await app.get('/get', cookie)).text, '{"body":{"value":"after"}}')
				await app.get('/streamed')
				assert.deepEqual(app.errors, [])
			})
		})
})

describe('the session middleware (app_init_redis_session)', () => {
	it('works without app.keys and never sets them, where koa-session alone fails', async () => {
		const app = await createSessionApplication({}, (ctx) => {
			ctx.session.value = 'x'
			return 'set'
		})
		const plain = new Koa()
		plain.silent = true
		plain.use(createKoaSession({ key: 'plain' }, plain))
		plain.use((ctx) => {
			;(ctx as Context).session.value = 'x'
			ctx.body = 'set'
		})
		const server = createServer(plain.callback())
		try {
			assert.equal((await app.get('/')).status, 200)
			assert.equal(app.app.keys, undefined)
			assert.equal((await request(await listen(server))).status, 500)
		} finally {
			server.closeAllConnections()
			server.close()
			await app.close()
		}
	})

	it('leaves the keys of an application that has some to that application', async () => {
		const app = await createSessionApplication({}, (ctx) => {
			ctx.cookies.set('own', 'value', { signed: true })
			ctx.session.value = 'x'
			return 'set'
		})
		try {
			app.app.keys = ['the application’s own key']
			const { lines } = await app.get('/')
			assert.deepEqual(lines.map((line) => line.split('=')[0]?.replace(/-\w+$/, '')).sort(), [
				'msal',
				'own',
				'own.sig',
			])
			assert.deepEqual(app.app.keys, ['the application’s own key'])
		} finally {
			await app.close()
		}
	})

	it('can be made before the application and used by two', async () => {
		const session = createMsalSession(sessionOptions())
		const handle = (name: string) => (ctx: Context) => {
			if (ctx.path === '/set') ctx.session.by = name
			ctx.body = ctx.session
		}
		const servers = ['one', 'two'].map((name) => {
			const app = new Koa()
			app.use(session)
			app.use(handle(name))
			return createServer(app.callback())
		})
		try {
			const [one, two] = await Promise.all(servers.map(listen))
			const { cookie } = await request(`${one}/set`)
			assert.equal((await request(`${one}/`, cookie)).text, '{"by":"one"}')
			assert.equal((await request(`${two}/`, cookie)).text, '{"by":"one"}')
			assert.equal((await request(`${two}/`)).text, '{}')
			await request(`${two}/set`, cookie)
			assert.equal((await request(`${one}/`, cookie)).text, '{"by":"two"}')
		} finally {
			for (const server of servers) {
				server.closeAllConnections()
				server.close()
			}
			await session.close()
		}
	})

	it('sets a __Host- and Secure cookie for an https redirect URI, also behind a proxy that ends TLS (B3)', async () => {
		const { auth } = sessionOptions()
		const app = await createSessionApplication(
			{ auth: { ...auth, redirectUri: 'https://app.example/user/authorized' } },
			(ctx) => {
				if (ctx.path === '/set') ctx.session.value = 'x'
				if (ctx.path === '/end') ctx.session = null
				return ctx.session
			},
		)
		try {
			const set = await app.get('/set')
			assert.match(set.lines[0] ?? '', /^__Host-msal-[0-9a-f]{8}=/)
			assert.deepEqual(attributes(set.lines[0]), ['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure'])
			assert.equal((await app.get('/', set.cookie)).text, '{"body":{"value":"x"}}')
			// The same value without the prefix is somebody else's cookie.
			assert.equal((await app.get('/', set.cookie?.replace('__Host-', ''))).text, '{"body":{}}')
			const ended = await app.get('/end', set.cookie)
			assert.deepEqual(attributes(ended.lines[0]), attributes(set.lines[0]))
		} finally {
			await app.close()
		}
	})

	it('sets its cookie for the base path only, which the prefix __Host- would not allow', async () => {
		const { auth } = sessionOptions()
		const redirectUri = 'https://app.example/tenant1/app/user/authorized'
		const app = await createSessionApplication(
			{ basePath: '/tenant1/app', auth: { ...auth, redirectUri } },
			(ctx) => {
				if (ctx.path === '/set') ctx.session.value = 'x'
				if (ctx.path === '/end') ctx.session = null
				return ctx.session
			},
		)
		try {
			const [line = ''] = (await app.get('/set')).lines
			assert.match(line, /^__Secure-msal-[0-9a-f]{8}=/)
			assert.deepEqual(attributes(line), ['HttpOnly', 'Path=/tenant1/app', 'SameSite=Lax', 'Secure'])
			const cookie = line.split(';')[0]
			assert.equal((await app.get('/', cookie)).text, '{"body":{"value":"x"}}')
			assert.deepEqual(attributes((await app.get('/end', cookie)).lines[0]), attributes(line))
		} finally {
			await app.close()
		}
	})

	it('is empty for what reads ctx.session in front of it and ends there', async () => {
		const store = memoryTokenStore()
		const session = createMsalSession(sessionOptions({ store }))
		const app = new Koa()
		const errors: unknown[] = []
		app.on('error', (error) => errors.push(error))
		app.use(async (ctx, next) => {
			await next()
			if (ctx.path === '/commit') {
				ctx.session.value = 'x'
				await ctx.session.manuallyCommit()
			}
			ctx.set('X-Read', JSON.stringify(ctx.session ?? 'none'))
		})
		app.use(async (ctx, next) => {
			ctx.body = 'alive'
			if (ctx.path === '/') await next()
		})
		app.use(session)
		app.use((ctx) => {
			;(ctx as Context).session.value ??= 'mine'
		})
		const server = createServer(app.callback())
		try {
			const origin = await listen(server)
			const read = async (path: string, cookie?: string) => {
				const { status, headers, lines } = await request(`${origin}${path}`, cookie)
				return [status, headers.get('x-read'), lines]
			}
			assert.deepEqual(await read('/live'), [200, '"none"', []])
			const { cookie } = await request(`${origin}/`)
			assert.deepEqual(await read('/live'), [200, '{}', []])
			assert.deepEqual(await read('/live', cookie), [200, '{}', []])
			assert.deepEqual(await read('/', cookie), [200, '{"value":"mine"}', []])
			assert.equal(errors.length, 0)
			assert.deepEqual(await read('/commit', cookie), [500, null, []])
			assert.ok(errors[0] instanceof BrokerError && errors[0].code === 'ERR_CONFIG')
			assert.equal(store.sessions.size, 1)
		} finally {
			server.closeAllConnections()
			server.close()
			await session.close()
		}
	})

	it('tells of a session that begins too late for its cookie, once', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		let count = 0
		const app = await createSessionApplication({}, async (ctx) => {
			if (ctx.path === '/late') ctx.res.write('written past Koa')
			ctx.session.value = ++count
			if (ctx.path === '/in-time') await ctx.session.manuallyCommit()
			ctx.respond = false
			ctx.res.end()
		})
		try {
			const { cookie } = await app.get('/in-time')
			assert.ok(cookie, 'one that is committed has its cookie')
			assert.equal(warnings.mock.callCount(), 0)
			assert.equal((await app.get('/late', cookie)).cookie, undefined)
			assert.equal(warnings.mock.callCount(), 0, 'the browser has the cookie')
			for (let i = 0; i < 2; i++) assert.equal((await app.get('/late')).cookie, undefined)
			assert.equal(warnings.mock.callCount(), 1)
			assert.match(String(warnings.mock.calls[0]?.arguments[0]), /manuallyCommit/)
		} finally {
			await app.close()
		}
	})

	it('refuses an application whose ctx.session is another koa-session’s, and stores nothing there', async () => {
		const session = createMsalSession(sessionOptions())
		const app = new Koa()
		app.keys = ['k']
		const errors: unknown[] = []
		app.on('error', (error) => errors.push(error))
		app.use(createKoaSession({ key: 'plain' }, app))
		app.use(session)
		app.use((ctx) => {
			;(ctx as Context).session.msal = 'a ticket'
			ctx.body = 'set'
		})
		const server = createServer(app.callback())
		try {
			const { status, lines } = await request(await listen(server))
			assert.deepEqual([status, lines], [500, []])
			assert.ok(errors[0] instanceof BrokerError && errors[0].code === 'ERR_CONFIG')
		} finally {
			server.closeAllConnections()
			server.close()
			await session.close()
		}
	})
})

describe('a stored session', () => {
	let app: SessionApplication
	let client: ReturnType<typeof redis.client>
	before(async () => {
		client = redis.client()
		app = await createSessionApplication({ store: redisTokenStore({ path: redis.path }) }, (ctx) => {
			if (ctx.path === '/set') Object.assign(ctx.session, ctx.query)
			if (ctx.path === '/large') ctx.session.value = 'x'.repeat(Number(ctx.query.length))
			return JSON.parse(JSON.stringify(ctx.session))
		})
	})
	after(() => app.close())

	/** A session and the key it is stored under. */
	async function stored(value: string): Promise<{ readonly cookie: string; readonly key: string }> {
		await client.flushall()
		const { cookie = '' } = await app.get(`/set?value=${value}`)
		const [key = '', ...others] = await client.keys('*')
		assert.deepEqual(others, [])
		return { cookie, key }
	}

	it('is asked for under a well-formed key only, whatever the cookie says (B2)', async () => {
		const { cookie, key } = await stored('x')
		const name = cookie.split('=')[0]
		const monitor = await redis.monitor()
		for (const odd of [
			'*',
			key,
			`${key}.${'x'.repeat(43)}`,
			'%0d%0aFLUSHALL%0d%0a',
			'../',
			'a'.repeat(4096),
			`${'a'.repeat(43)}.${'b'.repeat(43)}`,
			'{}',
			'koa-msal:*',
		])
			assert.equal((await app.get('/', `${name}=${odd}`)).text, '{"body":{}}')
		assert.equal((await app.get('/', cookie)).text, '{"body":{"value":"x"}}')
		const commands = await monitor.commands()
		monitor.stop()
		assert.deepEqual(new Set(commands.map(([, named]) => named)), new Set([key]))
		assert.match(key, /^koa-msal:[0-9a-f]{16}:s:[\w-]{43}$/)
	})

	it('does not open under another one’s key: two that are swapped are both anonymous, and gone', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		await client.flushall()
		const [ada, bob] = [await app.get('/set?name=ada'), await app.get('/set?name=bob')]
		const keys = await client.keys('*')
		const [one = '', two = ''] = keys
		const [first, second] = await client.mget(one, two)
		await client.mset(one, second ?? '', two, first ?? '')
		assert.equal((await app.get('/', ada.cookie)).text, '{"body":{}}')
		assert.equal((await app.get('/', bob.cookie)).text, '{"body":{}}')
		assert.deepEqual(await client.keys('*'), [])
		assert.equal(warnings.mock.callCount(), 2)
	})

	it('is anonymous and removed when it was tampered with, and never an error (D2)', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const { cookie, key } = await stored('x')
		const sealed = (await client.get(key)) ?? ''
		const bytes = Buffer.from(sealed, 'base64url')
		// Version and key id (the first nine bytes) decide whose it is; what follows is ours and must be whole.
		const flipped = Array.from({ length: bytes.length - 9 }, (_, i) => {
			const copy = Buffer.from(bytes)
			copy[9 + i] = (copy[9 + i] ?? 0) ^ 1
			return copy.toString('base64url')
		})
		const others = [
			'',
			'x',
			sealed.slice(0, -4),
			`${sealed}AAAA`,
			`${sealed} `,
			`${sealed}=`,
			'A'.repeat(4000),
		]
		for (const value of [...flipped, ...others]) {
			await client.set(key, value)
			const { status, text, lines } = await app.get('/', cookie)
			assert.deepEqual([status, text, lines], [200, '{"body":{}}', []], value)
			if (value !== 'A'.repeat(4000)) assert.equal(await client.exists(key), value === '' ? 1 : 0, value)
		}
		assert.equal(warnings.mock.callCount(), flipped.length + others.length - 1)
		assert.ok(!JSON.stringify(warnings.mock.calls.map((call) => call.arguments)).includes(key))
		await client.set(key, sealed)
		assert.equal((await app.get('/', cookie)).text, '{"body":{"value":"x"}}')
	})

	it('is anonymous and left alone under an unknown key or a newer format (B5)', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const { cookie, key } = await stored('x')
		const foreign = createSealer([createSecretKey(randomBytes(32))], sessionClientId)
		const newer = Buffer.from((await client.get(key)) ?? '', 'base64url')
		newer[0] = 2
		for (const value of [foreign.seal('session', key, '{}'), newer.toString('base64url')]) {
			await client.set(key, value)
			assert.equal((await app.get('/', cookie)).text, '{"body":{}}')
			assert.equal(await client.get(key), value)
		}
		assert.equal(warnings.mock.callCount(), 2)
	})

	it('is dropped when it is not sealed: JSON written by hand is nobody (B15)', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const deep = `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`
		const { cookie, key } = await stored('x')
		for (const value of [
			'{"value":"forged"}',
			'{"msal":{"partition":"x","account":{}},"_expire":9999999999999}',
			'{"__proto__":{"x":1}}',
			'{"constructor":{"prototype":{"x":1}}}',
			'{"toJSON":1,"regenerate":1,"save":1,"externalKey":"k","isNew":true}',
			'{"0":1,"1":2}',
			'{"deadline":9999999999999,"data":{"value":"forged"}}',
			deep,
			'null',
			'[]',
			'"text"',
			'not json',
		]) {
			await client.set(key, value)
			const { status, text } = await app.get('/', cookie)
			assert.deepEqual([status, text], [200, '{"body":{}}'], value.slice(0, 80))
			assert.equal(await client.exists(key), 0)
		}
		assert.equal(warnings.mock.callCount(), 12)
		assert.equal(({} as { x?: unknown }).x, undefined)
	})

	it('never replaces the methods of the session object, even when it is sealed with our secret (B15)', async () => {
		const { cookie, key } = await stored('x')
		const sealer = createSealer([createSecretKey(Buffer.from(secret))], sessionClientId)
		const deadline = Date.now() + 60_000
		for (const data of [
			'{"__proto__":{"x":1},"value":"y"}',
			'{"constructor":{"prototype":{"x":1}},"value":"y"}',
			'{"toJSON":1,"regenerate":1,"save":1,"commit":1,"manuallyCommit":1,"externalKey":"k","value":"y"}',
			'{"isNew":true,"length":9,"populated":false,"maxAge":1,"_expire":1,"_maxAge":5,"_session":1,"value":"y"}',
			'{"_requireSave":true,"value":"y"}',
		]) {
			await client.set(key, sealer.seal('session', key, `{"deadline":${deadline},"data":${data}}`))
			assert.equal((await app.get('/', cookie)).text, '{"body":{"value":"y"}}', data)
			const changed = await app.get('/set?more=z', cookie)
			assert.deepEqual([changed.status, changed.text], [200, '{"body":{"value":"y","more":"z"}}'], data)
		}
		assert.equal(({} as { x?: unknown }).x, undefined)
	})

	it('is anonymous and removed, unopened, when it is too long; none is stored that is (H4)', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const sealer = createSealer([createSecretKey(Buffer.from(secret))], sessionClientId)
		const { cookie, key } = await stored('x')
		const text = JSON.stringify({ deadline: Date.now() + 60_000, data: { value: 'y'.repeat(1_048_576) } })
		const before = (await client.get(key)) ?? ''
		for (const value of [sealer.seal('session', key, text), `AQ${'A'.repeat(30_000_000)}`]) {
			await client.set(key, value)
			for (let i = 0; i < 3; i++) assert.equal((await app.get('/', cookie)).text, '{"body":{}}')
			assert.equal(await client.exists(key), 0)
		}
		assert.equal(warnings.mock.callCount(), 2)
		await client.set(key, before)
		app.errors.length = 0
		const refused = await app.get('/large?length=1048576', cookie)
		assert.deepEqual([refused.status, refused.lines], [500, []])
		assert.match(String(app.errors[0]), /longer than 1 MiB/)
		assert.equal(await client.get(key), before)
		assert.equal((await app.get('/large?length=700000', cookie)).status, 200)
		assert.equal((await app.get('/', cookie)).text.length, 700_000 + '{"body":{"value":""}}'.length)
	})

	it('is anonymous and removed when something else stands under its key (E8)', async () => {
		for (const put of [(key: string) => client.hset(key, 'a', 'b'), (key: string) => client.rpush(key, 'a')])
			for (const path of ['/', '/set?value=y']) {
				const { cookie, key } = await stored('x')
				await client.del(key)
				await put(key)
				const { status, text } = await app.get(path, cookie)
				assert.deepEqual([status, text], [200, path === '/' ? '{"body":{}}' : '{"body":{"value":"y"}}'])
				assert.equal(await client.exists(key), 0)
			}
	})
})

describe('signing in and the session', () => {
	let world: World
	before(async () => {
		world = await createWorld()
	})
	after(() => world.close())

	for (const responseMode of ['form_post', 'query'] as const)
		for (const kind of ['memory', 'Redis'] as const)
			describe(`with ${responseMode}, in ${kind}`, () => {
				let app: Application
				const slow = { gate: gate(), arrived: gate() }
				before(async () => {
					app = await createApplication(world, {
						secrets: [secret],
						auth: { responseMode },
						...(kind === 'Redis' && { store: redisTokenStore({ path: redis.path }) }),
						configure: (koa) =>
							koa.use(async (ctx, next) => {
								if (ctx.path !== '/slow') return next()
								slow.arrived.open()
								await slow.gate.opened
								ctx.session.late = 'late'
								ctx.body = 'late'
							}),
					})
				})
				after(() => app.close())
				const sessionKeys = async () =>
					kind === 'Redis' ? (await redis.client().keys('*:s:*')).length : undefined

				it('gives a new id at the sign-in and at the next one of the same person; the old ones are dead (B1)', async () => {
					const victim = app.browser()
					const attacker = await request(`${app.origin}/keep?value=kept`)
					const planted = attacker.cookie ?? ''
					const [name = '', value = ''] = planted.split('=')
					victim.jar.store(new URL(app.origin), [`${name}=${value}; Path=/; SameSite=Lax`])
					const before = await sessionKeys()

					await app.signIn(victim)
					const first = cookieOf(victim, name)
					assert.notEqual(first, planted)
					assert.equal((await request(`${app.origin}/token`, first)).status, 200)
					assert.equal((await request(`${app.origin}/token`, planted)).status, 401)
					assert.equal((await request(`${app.origin}/kept`, planted)).text, '{"kept":null}')
					assert.equal(await sessionKeys(), before, 'the old key is gone')

					// The provider knows the person and asks nothing this time.
					await victim.follow(`${app.origin}/user/login`)
					const second = cookieOf(victim, name)
					assert.ok(second !== first && second !== planted)
					assert.equal((await request(`${app.origin}/token`, second)).status, 200)
					assert.equal((await request(`${app.origin}/token`, first)).status, 401)
					assert.equal((await request(`${app.origin}/kept`, second)).text, '{"kept":"kept"}')
					assert.equal(await sessionKeys(), before)
				})

				it('is not undone by a slow request with the old cookie', async () => {
					const browser = app.browser()
					await browser.get(`${app.origin}/keep?value=kept`)
					const name = browser.jar.cookies[0]?.name ?? ''
					const old = cookieOf(browser, name)
					const late = request(`${app.origin}/slow`, old)
					await slow.arrived.opened
					await app.signIn(browser)
					slow.gate.open()
					assert.deepEqual((await late).lines, [])
					assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
					assert.equal((await request(`${app.origin}/kept`, old)).text, '{"kept":null}')
				})

				it('ends with sign-out: the cookie that is replayed is nobody (B6)', async () => {
					const browser = app.browser()
					await app.signIn(browser)
					const name = browser.jar.cookies.find((cookie) => cookie.name.startsWith('msal-'))?.name ?? ''
					const cookie = cookieOf(browser, name)
					const before = await sessionKeys()
					const set = browser.setCookies.findLast((line) => line.name === name)
					await browser.get(`${app.origin}/user/logout`)
					const cleared = browser.setCookies.findLast((line) => line.name === name)
					assert.equal(cleared?.value, '')
					assert.deepEqual(attributes(cleared?.raw), attributes(set?.raw))
					assert.equal((await request(`${app.origin}/token`, cookie)).status, 401)
					assert.equal(await sessionKeys(), before === undefined ? undefined : before - 1)
				})
			})

	it('leaves no tokens of a sign-in in a request whose session was ended meanwhile', {
		timeout: 10_000,
	}, async ({ signal }) => {
		const store = memoryTokenStore()
		let ticket: unknown
		const app = await createApplication(world, {
			secrets: [secret],
			store,
			configure: (koa) =>
				koa.use(async (ctx, next) => {
					if (ctx.path !== '/late') return next()
					store.sessions.clear()
					ctx.session.value = 'late'
					await ctx.session.manuallyCommit()
					ctx.session.msal = ticket
				}),
		})
		try {
			const browser = app.browser()
			await app.signIn(browser)
			ticket = app.seen.session?.msal
			const visitor = await request(`${app.origin}/keep?value=kept`)
			assert.equal(await app.broker.isSignedIn({ msal: ticket } as object), true)
			const { status, lines } = await request(`${app.origin}/late`, visitor.cookie)
			assert.deepEqual([status, lines, store.sessions.size], [400, [], 0])
			// They are owed.
			while (!signal.aborted && (await app.broker.isSignedIn({ msal: ticket } as object)))
				await new Promise((resolve) => setTimeout(resolve, 20))
			assert.equal(signal.aborted, false)
		} finally {
			await app.close()
		}
	})

	it('leaves no tokens of a sign-in whose session is too long to be stored', {
		timeout: 10_000,
	}, async ({ signal }) => {
		const app = await createApplication(world, {
			secrets: [secret],
			onSignedIn: ({ session }) => {
				session.value = 'x'.repeat(1_048_576)
			},
		})
		const tokens = async () => {
			let count = 0
			for await (const _ of app.broker.sessions.list()) count++
			return count
		}
		try {
			assert.equal((await app.signIn(app.browser())).status, 500)
			assert.match(String(app.errors), /longer than 1 MiB/)
			// They are owed.
			while (!signal.aborted && (await tokens()) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
			assert.equal(signal.aborted, false)
		} finally {
			await app.close()
		}
	})

	function cookieOf(browser: ReturnType<Application['browser']>, name: string): string {
		const cookie = browser.jar.cookies.find((candidate) => candidate.name === name)
		return `${name}=${cookie?.value}`
	}
})

const waiting = new Map<string, number>()
const sharedError: Error & { headers?: object } = Object.assign(new Error('shared'), { status: 503 })

/** The application: each path does one thing with the session. */
async function answer(ctx: Context, gates: Map<string, ReturnType<typeof gate>>): Promise<unknown> {
	const wait = async (name: string) => {
		waiting.set(name, (waiting.get(name) ?? 0) + 1)
		await gates.get(name)?.opened
	}
	const { session } = ctx
	switch (ctx.path) {
		case '/set':
			session.value = ctx.query.value
			return 'set'
		case '/get':
			return JSON.parse(JSON.stringify(session))
		case '/set-large':
			session.value = 'x'.repeat(Number(ctx.query.length))
			return 'set'
		case '/end':
			ctx.session = null
			return 'ended'
		case '/throw':
			return ctx.throw(Number(ctx.query.status))
		case '/crash':
			throw new TypeError('a mistake of the application')
		case '/throw-headers':
			session.value = 'x'
			throw Object.assign(new Error('busy'), {
				status: 503,
				headers: { 'X-Why': 'because', 'Retry-After': '7' },
			})
		case '/redirect':
			return ctx.redirect('/elsewhere')
		case '/cached':
			ctx.set('Cache-Control', 'private, max-age=60')
			return 'cached'
		case '/set-and-throw':
			session.value = 'thrown'
			return ctx.throw(418)
		case '/end-and-throw':
			ctx.session = null
			return ctx.throw(418)
		case '/odd':
			if (ctx.query.value) session.value = ctx.query.value
			if (ctx.query.end !== undefined) ctx.session = null
			throw odd[String(ctx.query.what)]
		case '/shared':
			if (ctx.query.value) session.value = ctx.query.value
			await wait('shared')
			throw sharedError
		case '/regenerate':
			await session.regenerate()
			return 'renewed'
		case '/slow': {
			const how = String(ctx.query.how)
			await wait(how)
			if (how === 'replace') ctx.session = { late: true }
			else session.late = true
			if (how === 'regenerate') await session.regenerate()
			if (how === 'save') {
				await session.save()
				session.later = true
			}
			return 'late'
		}
		case '/streamed':
			ctx.respond = false
			ctx.res.end('streamed')
			await new Promise((resolve) => ctx.res.once('finish', resolve))
			session.value = 'after'
			return undefined
		default:
			return undefined
	}
}

/** Polls without a fixed wait: what is waited for is the server's own progress. */
async function waitUntil(condition: () => boolean): Promise<void> {
	const deadline = Date.now() + 5000
	while (!condition()) {
		assert.ok(Date.now() < deadline, 'it never happened')
		await new Promise((resolve) => setImmediate(resolve))
	}
}
