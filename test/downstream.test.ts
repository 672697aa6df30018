import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { after, afterEach, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as zlib from 'node:zlib'
import { API, GRAPH } from '../dev/directory.js'
import { TokenBroker } from '../src/broker.js'
import { BrokerError, type DownstreamRequest, type SessionHandle, type SessionLike } from '../src/index.js'
import {
	type ApiAnswer,
	type ApiStub,
	challenge,
	createApiStub,
	fingerprintOf,
	status,
} from './support/api-stub.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { gate } from './support/session-application.js'
import { assertTook } from './support/took.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const scopes = [`${API}/access_as_user`]

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('a downstream call (request, get, post, put, patch, delete)', () => {
	let world: World
	let api: ApiStub
	/** Not among the allowed hosts. */
	let evil: ApiStub
	let app: Application
	let session: SessionLike
	let handle: SessionHandle
	before(async () => {
		world = await createWorld()
		;[api, evil] = await Promise.all([
			createApiStub(world.standIn.tls),
			createApiStub(world.standIn.tls, '127.0.0.1'),
		])
		app = await createApplication(world, {
			secrets,
			downstream: { allowedHosts: [api.host] },
			configure: (koa, { broker }) =>
				koa.use(async (ctx, next) => {
					if (ctx.path === '/upload')
						await broker.forSession(ctx.session).put(api.origin, { scopes, body: ctx.req })
					if (ctx.path !== '/through') return next()
					ctx.body = await broker.forSession(ctx.session).get(api.origin, { scopes })
				}),
		})
		await app.signIn(app.browser())
		session = app.seen.session
		handle = app.broker.forSession(session)
		await handle.acquireSilent({ scopes })
	})
	after(async () => {
		await app.close()
		await Promise.all([api.close(), evil.close()])
		await world.close()
	})
	afterEach(() => {
		for (const stub of [api, evil]) stub.clear()
		for (const stub of [world.graph, world.standIn]) {
			stub.clearFaults()
			stub.clearLog()
		}
	})

	const call = (path = '/', request: DownstreamRequest = {}) =>
		handle.request(`${api.origin}${path}`, { scopes, ...request })

	it('goes to Microsoft Graph with the default scopes, and to each API with a token of its own', async () => {
		const me = (await (await handle.get(`${world.graph.origin}/v1.0/me`)).json()) as { displayName: string }
		assert.equal(me.displayName, 'Ada Lovelace')
		await (await handle.get(`${api.origin}/things?all=1`, { scopes })).json()
		const ofGraph = fingerprintOf(await handle.acquireSilent())
		const ofApi = fingerprintOf(await handle.acquireSilent({ scopes }))
		assert.notEqual(ofGraph, ofApi)
		assert.deepEqual(
			world.graph.log.map(({ authorization }) => authorization),
			[ofGraph],
		)
		assert.deepEqual(
			api.calls.map(({ method, path, host, authorization }) => [method, path, host, authorization]),
			[['GET', '/things?all=1', api.host, ofApi]],
		)
	})

	it('is a Response of the platform, with the address, whatever its status', async () => {
		api.answer((response) => response.writeHead(418, { 'x-kind': 'teapot' }).end('short and stout'))
		const answer = await call('/tea')
		assert.ok(answer instanceof Response)
		assert.deepEqual(
			[answer.status, answer.ok, answer.url, answer.headers.get('x-kind'), await answer.text()],
			[418, false, `${api.origin}/tea`, 'teapot', 'short and stout'],
		)
		api.answer(status(204))
		assert.equal((await call()).body, null)
		const head = await call('/', { method: 'HEAD' })
		assert.deepEqual([head.status, await head.text()], [200, ''])
	})

	it('keeps its connection for those that come later', async () => {
		for (let i = 0; i < 8; i++) await (await call()).json()
		// The next may come before the connection is known to be free.
		assert.ok(new Set(api.calls.map(({ port }) => port)).size <= 2)
	})

	describe('to an address that is not allowed', () => {
		const port = () => new URL(api.origin).port
		const addresses: Record<string, () => string | URL> = {
			'another host': () => evil.origin,
			'another host, as a URL': () => new URL(evil.origin),
			'another port': () => `https://localhost:${new URL(evil.origin).port}/`,
			'no port': () => 'https://localhost/',
			'plain http': () => api.origin.replace('https', 'http'),
			'another scheme': () => `ftp://${api.host}/`,
			'no scheme': () => `//${api.host}/`,
			'a path': () => '/v1.0/me',
			nothing: () => '',
			'an object that is no text': () => ({ toString: 1 }) as unknown as string,
			'something else': () => 'data:text/plain,x',
			'a user name that looks like the host': () => `https://${api.host}@${evil.host}/`,
			'a user name and a password': () => `https://localhost:${port()}@${evil.host}/`,
			'an allowed host behind a user name': () => `https://someone@${api.host}/`,
			'an allowed host behind a password': () => `https://:secret@${api.host}/`,
			'a longer name': () => `https://localhost.evil.example:${port()}/`,
			'a subdomain': () => `https://sub.localhost:${port()}/`,
			'a dot at its end': () => `https://localhost.:${port()}/`,
			'its IP address': () => `https://127.0.0.1:${port()}/`,
			'its IP address, in one number': () => `https://2130706433:${port()}/`,
			'its IP address, in hexadecimal': () => `https://0x7f.1:${port()}/`,
			'its IPv6 address': () => `https://[::1]:${port()}/`,
			'an embedded IPv4 address': () => `https://[::ffff:127.0.0.1]:${port()}/`,
			'letters that look alike': () => `https://lоcalhost:${port()}/`,
			'a host after a backslash': () => `https://${evil.host}\\@${api.host}/`,
			'a host after a hash': () => `https://${evil.host}#@${api.host}/`,
			'a host after a question mark': () => `https://${evil.host}?@${api.host}/`,
			'a percent sign': () => `https://localhost%2eevil.example:${port()}/`,
		}
		for (const [what, address] of Object.entries(addresses))
			it(`is refused before a token is acquired or a socket opened: ${what}`, async () => {
				// Not held: it would have to be asked for.
				const fresh = { scopes: [`${API}/reports.read`] }
				const { tasks } = app.broker.statistics
				await assert.rejects(handle.get(address(), fresh), (error: unknown) => {
					assert.ok(error instanceof BrokerError, String(error))
					assert.deepEqual([error.code, error.status, error.expose], ['ERR_FORBIDDEN_TARGET', 500, false])
					assert.doesNotMatch(error.message, /secret|someone/)
					return true
				})
				assert.equal(app.broker.statistics.tasks, tasks)
				assert.equal(api.connections + evil.connections, 0)
			})

		const spellings: Record<string, () => string> = {
			'in capitals': () => `HTTPS://LOCALHOST:${port()}/x`,
			'with wide letters': () => `https://ｌocalhost:${port()}/x`,
			'with backslashes': () => `https:\\\\${api.host}\\x`,
			'with a line break in it': () => `https://local\r\nhost:${port()}/x`,
			'with an at sign in its path': () => `https://${api.host}\\@evil.example/../../x`,
		}
		for (const [what, address] of Object.entries(spellings))
			it(`is what fetch makes of it, and goes to the host that was checked: ${what}`, async () => {
				await (await handle.get(address(), { scopes })).json()
				assert.deepEqual(
					api.calls.map(({ host, path }) => [host, path]),
					[[api.host, '/x']],
				)
			})
	})

	describe('takes a token to its own resource alone', () => {
		const wrong: Record<string, () => [string, readonly string[] | undefined]> = {
			'an API gets none of Graph’s, by default': () => [api.origin, undefined],
			'nor by name': () => [api.origin, [`${GRAPH}/User.Read`]],
			'nor in short': () => [api.origin, ['User.Read']],
			'nor by the name of another cloud': () => [api.origin, ['https://graph.microsoft.us/User.Read']],
			'nor by number': () => [api.origin, ['00000003-0000-0000-C000-000000000000/.default']],
			'nor beside its own': () => [api.origin, [...scopes, 'User.Read']],
			'nor one for nothing but the sign-in': () => [api.origin, ['openid', 'profile']],
			'Graph gets none of an API’s': () => [`${world.graph.origin}/v1.0/me`, scopes],
		}
		for (const [what, make] of Object.entries(wrong))
			it(what, async () => {
				const [address, asked] = make()
				const { tasks } = app.broker.statistics
				const request = asked && { scopes: asked }
				await assert.rejects(handle.get(address, request), code('ERR_FORBIDDEN_TARGET'))
				assert.equal(app.broker.statistics.tasks, tasks)
				assert.equal(api.connections + world.graph.count(), 0)
			})
	})

	describe('D12: headers', () => {
		it('of the caller that are not the caller’s are ignored, with one warning each', async () => {
			const warnings: string[] = []
			const listen = ({ message }: Error) => warnings.push(message)
			process.on('warning', listen)
			const headers = {
				Authorization: 'Bearer stolen',
				HOST: 'evil.example',
				cookie: 'a=b',
				'Content-Length': '3',
				'Proxy-Authorization': 'Basic x',
				'proxy-connection': 'close',
				'Sec-Fetch-Site': 'none',
				'Transfer-Encoding': 'chunked',
				Connection: 'upgrade',
				Upgrade: 'h2c',
				'x-injected': 'a\r\nAuthorization: Bearer stolen',
				'x-null': 'a\0b',
				'x bad': 'a',
				'x-wide': 'ａ',
				'X-Kept': 'this',
				'if-match': '"1"',
			}
			try {
				for (let i = 0; i < 2; i++)
					await (await call('/', { method: 'POST', body: { a: 1 }, headers })).json()
				await new Promise(setImmediate)
			} finally {
				process.off('warning', listen)
			}
			const expected = fingerprintOf(await handle.acquireSilent({ scopes }))
			for (const { headers: sent, authorization, host } of api.calls) {
				assert.deepEqual([authorization, host], [expected, api.host])
				assert.deepEqual([sent['x-kept'], sent['if-match'], sent['content-length']], ['this', '"1"', '7'])
				for (const name of [
					'cookie',
					'proxy-authorization',
					'proxy-connection',
					'transfer-encoding',
					'upgrade',
				])
					assert.equal(sent[name], undefined, name)
				for (const name of ['x-injected', 'x-null', 'x-wide', 'sec-fetch-site'])
					assert.equal(sent[name], undefined, name)
			}
			const mine = warnings.filter((text) => text.includes('downstream'))
			assert.equal(new Set(mine).size, mine.length)
			assert.equal(mine.length, 10, mine.join('\n'))
			assert.doesNotMatch(mine.join(), /stolen|evil/)
		})

		it('may come as a list, as `Headers`, and repeatedly', async () => {
			await (await call('/', { headers: new Headers({ 'X-One': '1' }) })).json()
			await (await call('/', { headers: [['x-two', 'a'] as const, ['x-two', 'b'] as const] })).json()
			assert.deepEqual(
				api.calls.map(({ headers }) => [headers['x-one'], headers['x-two']]),
				[
					['1', undefined],
					[undefined, 'a, b'],
				],
			)
		})
	})

	describe('with a body', () => {
		const form = new FormData()
		form.set('name', 'Ada')
		const bodies: Record<string, [unknown, string | RegExp, RegExp | undefined]> = {
			'an object': [{ a: [1, 'ä'] }, '{"a":[1,"ä"]}', /^application\/json$/],
			'a list': [[1, 2], '[1,2]', /^application\/json$/],
			'a number': [42, '42', /^application\/json$/],
			'a string, as it is': ['{"a":1}', '{"a":1}', /^text\/plain/],
			'a buffer, as it is': [Buffer.from('bytes'), 'bytes', undefined],
			'a part of a buffer': [Buffer.from('<bytes>').subarray(1, 6), 'bytes', undefined],
			'an ArrayBuffer': [new TextEncoder().encode('bytes').buffer, 'bytes', undefined],
			'form fields': [new URLSearchParams({ a: '1 2' }), 'a=1+2', /^application\/x-www-form-urlencoded/],
			'a form': [form, /name="name"\r\n\r\nAda\r\n/, /^multipart\/form-data; boundary=/],
			'a blob': [new Blob(['bytes'], { type: 'image/png' }), 'bytes', /^image\/png$/],
			nothing: [undefined, '', undefined],
			'null, which is nothing': [null, '', undefined],
		}
		for (const [what, [body, text, type]] of Object.entries(bodies))
			it(`sends ${what}`, async () => {
				await (await handle.post(api.origin, { scopes, body })).json()
				const [sent] = api.calls
				if (typeof text === 'string') assert.equal(sent?.body, text)
				else assert.match(sent?.body ?? '', text)
				if (type) assert.match(sent?.headers['content-type'] ?? '', type)
				else assert.equal(sent?.headers['content-type'], undefined)
			})

		for (const [what, make] of Object.entries({
			'a stream of Node’s': () => Readable.from([Buffer.from('one,'), Buffer.from('two')]),
			'a stream of the web’s': () => new Blob(['one,two']).stream(),
			'what a generator yields': async function* () {
				yield Buffer.from('one,')
				yield Buffer.from('two')
			},
		}))
			it(`streams ${what}`, async () => {
				await (await handle.put(api.origin, { scopes, body: make() })).json()
				assert.deepEqual(
					api.calls.map(({ body, headers }) => [body, headers['transfer-encoding']]),
					[['one,two', 'chunked']],
				)
			})

		it('is not taken for whole when its stream fails, nor does the process end', async () => {
			const missing = createReadStream('/nowhere/to/be/found')
			await assert.rejects(call('/', { method: 'POST', body: missing }), code('ERR_DOWNSTREAM_UNAVAILABLE'))
			const broken = async function* () {
				yield Buffer.from('half')
				throw new Error('broken')
			}
			const body = Readable.from(broken())
			await assert.rejects(call('/', { method: 'POST', body }), code('ERR_DOWNSTREAM_UNAVAILABLE'))
			assert.equal(api.calls.length, 0)
		})

		it('whose stream fails before there is a token ends nothing but the call', async () => {
			const nobody = app.broker.forSession({})
			const body = createReadStream('/nowhere/to/be/found')
			const closed = new Promise<void>((resolve) => body.on('close', () => resolve()))
			await assert.rejects(nobody.post(api.origin, { scopes, body }), code('ERR_SIGNED_OUT'))
			await closed
		})

		describe('that is a stream, ends it when the call fails', { timeout: 10_000 }, () => {
			const nothing = () => new Promise<never>(() => {})
			const failures: Record<string, [request: DownstreamRequest, who?: SessionLike]> = {
				'for nobody': [{}, {}],
				'with a signal that has been given': [{ signal: AbortSignal.abort() }],
				'for another API’s scopes': [{ scopes: ['User.Read'] }],
				'by a method that has no body': [{ method: 'GET' }],
			}
			for (const [what, [request, who]] of Object.entries(failures)) {
				const fails = (body: unknown) =>
					assert.rejects(
						app.broker
							.forSession(who ?? session)
							.request(api.origin, { scopes, method: 'PUT', body, ...request }),
					)

				it(`${what}: one of Node’s`, async () => {
					const body = new Readable({ read() {} })
					body.push('a part')
					const closed = once(body, 'close')
					await fails(body)
					await closed
				})

				it(`${what}: one of the web’s`, async () => {
					const cancelled = gate()
					await fails(new ReadableStream({ pull: nothing, cancel: cancelled.open }))
					await cancelled.opened
				})

				it(`${what}: what a generator yields`, async () => {
					const more = gate()
					const body = (async function* () {
						yield Buffer.from('a part')
						await more.opened
						yield Buffer.from('another')
					})()
					await fails(body)
					more.open()
					assert.deepEqual(await body.next(), { value: undefined, done: true })
				})
			}

			it('also on its way', async () => {
				const body = new Readable({ read() {} })
				body.push('a part')
				const closed = once(body, 'close')
				await assert.rejects(call('/', { method: 'PUT', body, timeout: 100 }))
				await closed
			})

			it('and closes its file', async () => {
				const body = createReadStream(fileURLToPath(import.meta.url))
				const closed = once(body, 'close')
				await assert.rejects(app.broker.forSession({}).put(api.origin, { scopes, body }))
				await closed
			})

			it('whatever it does when it is ended', async () => {
				const own = (end: object) => ({ ...end, [Symbol.asyncIterator]: () => ({ next: nothing }) })
				const fail = () => {
					throw new Error('it does not end')
				}
				for (const body of [
					createReadStream('/nowhere/to/be/found'),
					own({ destroy: fail }),
					own({ cancel: async () => fail() }),
					own({ return: async () => fail() }),
					own({ destroy: 'not a function' }),
				])
					await assert.rejects(call('/', { scopes: ['User.Read'], body }), code('ERR_FORBIDDEN_TARGET'))
			})

			it('but not a client’s request, which is to be answered', async () => {
				const body = Buffer.alloc(1_000_000)
				assert.equal((await fetch(`${app.origin}/upload`, { method: 'PUT', body })).status, 401)
			})
		})

		it('keeps the type that the caller gives', async () => {
			const headers = { 'Content-Type': 'application/merge-patch+json' }
			await (await handle.patch(api.origin, { scopes, body: { a: 1 }, headers })).json()
			assert.equal(api.calls[0]?.headers['content-type'], 'application/merge-patch+json')
			assert.equal(api.calls[0]?.method, 'PATCH')
		})

		it('is refused where there can be none, or it can’t be written', async () => {
			const cycle: unknown[] = []
			cycle.push(cycle)
			const refused: DownstreamRequest[] = [
				{ method: 'POST', body: cycle },
				{ method: 'POST', body: 1n },
				{ method: 'POST', body: () => 1 },
				{ method: 'GET', body: {} },
				{ method: 'HEAD', body: 'x' },
				{ method: 'TRACE' as 'GET' },
				{ method: 'get' as 'GET' },
				{ timeout: 0 },
				{ timeout: Number.NaN },
				{ maxBytes: -1 },
				{ signal: {} as AbortSignal },
				{ headers: null as unknown as Headers },
				{ headers: 'x: y' as unknown as Headers },
				{ scopes: 'User.Read' as unknown as string[] },
				{ scopes: [] },
			]
			for (const request of refused) await assert.rejects(call('/', request), code('ERR_BAD_REQUEST'))
			assert.equal(api.connections, 0)
		})
	})

	describe('answered with a body', () => {
		it('hands on each part as it comes', async () => {
			let more: (() => void) | undefined
			api.answer((response) => {
				response.write('first')
				more = () => response.end('second')
			})
			const { body } = await call()
			const reader = body?.getReader()
			assert.equal(Buffer.from((await reader?.read())?.value).toString(), 'first')
			more?.()
			assert.equal(Buffer.from((await reader?.read())?.value).toString(), 'second')
			assert.equal((await reader?.read())?.done, true)
		})

		const packed = zlib.gzipSync('what was packed')
		const sendPacked: ApiAnswer = (response) =>
			response
				.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length, etag: '"1"' })
				.end(packed)

		it('has the reason that the API gives, where a Response can have it', async () => {
			// Node reads them as UTF-8: the first is not, and the second has more than Latin-1 has.
			for (const [reason, expected] of [
				['Pas trouvé', ''],
				[Buffer.from('À la prochaine – merci').toString('latin1'), ''],
				['Not Found', 'Not Found'],
			] as const) {
				api.answer(({ socket }) =>
					socket?.end(`HTTP/1.1 404 ${reason}\r\ncontent-length: 2\r\n\r\nno`, 'latin1'),
				)
				const answer = await call()
				assert.deepEqual([answer.status, answer.statusText, await answer.text()], [404, expected, 'no'])
			}
		})

		it('of a status that none has is no answer, and holds no connection', { timeout: 5000 }, async () => {
			const closed = new Promise((resolve) => {
				api.answer((response) => {
					response.socket?.write('HTTP/1.1 999 Odd\r\ncontent-length: 9\r\n\r\nhalf')
					response.socket?.on('close', resolve)
				})
			})
			await assert.rejects(call(), code('ERR_DOWNSTREAM_PROTOCOL'))
			await closed
		})

		it('unpacks it, and says no more that it is packed', async () => {
			api.answer(sendPacked)
			const answer = await call()
			assert.equal(await answer.text(), 'what was packed')
			assert.match(api.calls[0]?.headers['accept-encoding'] ?? '', /gzip/)
			const of = (name: string) => answer.headers.get(name)
			assert.deepEqual([of('content-encoding'), of('content-length'), of('etag')], [null, null, '"1"'])
			api.answer((response) => response.writeHead(200, { 'content-encoding': 'odd' }).end('odd'))
			assert.equal((await call()).headers.get('content-encoding'), 'odd')
		})

		it('says that it is packed exactly when it is, by what not every Node unpacks', async () => {
			// What is so sent is a frame of zstd (RFC 8878) with one raw block.
			const frame = Buffer.from(`28b52ffd2004210000${Buffer.from('zstd').toString('hex')}`, 'hex')
			api.answer((response) => response.writeHead(200, { 'content-encoding': 'zstd' }).end(frame))
			const answer = await call('/', { headers: { 'accept-encoding': 'zstd' } })
			const isPacked = answer.headers.get('content-encoding') === 'zstd'
			assert.equal(isPacked, !('createZstdDecompress' in zlib))
			assert.deepEqual(Buffer.from(await answer.arrayBuffer()), isPacked ? frame : Buffer.from('zstd'))
		})

		it('can be handed on by Koa as it is', async () => {
			const browser = app.browser()
			await app.signIn(browser)
			api.answer(sendPacked)
			const page = await browser.get(`${app.origin}/through`)
			assert.deepEqual([page.status, page.html], [200, 'what was packed'])
		})

		it('reads no more than the limit, unpacked', async () => {
			const large = zlib.gzipSync(Buffer.alloc(100_000))
			for (const maxBytes of [99_999, 0, 100_000, Number.POSITIVE_INFINITY]) {
				api.answer((response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(large))
				const read = (await call('/', { maxBytes })).arrayBuffer()
				if (maxBytes < 100_000) await assert.rejects(read, code('ERR_DOWNSTREAM_PROTOCOL'))
				else assert.equal((await read).byteLength, 100_000)
			}
		})

		it('lets go of the connection when the caller has seen enough', { timeout: 5000 }, async () => {
			const closed = new Promise((resolve) => {
				api.answer((response) => {
					response.write('and so on')
					response.on('close', resolve)
				})
			})
			await (await call()).body?.cancel()
			await closed
		})

		it('says so when it breaks off', async () => {
			api.answer((response) => {
				response.writeHead(200, { 'content-length': '100' })
				response.write('half', () => response.destroy())
			})
			await assert.rejects((await call()).text(), code('ERR_DOWNSTREAM_UNAVAILABLE'))
		})
	})

	describe('put off by the API', () => {
		const asked = { 'retry-after': '1' }
		const cases: readonly (readonly [string, number, DownstreamRequest, number])[] = [
			['429: a GET is repeated', 429, {}, 2],
			['429: a POST is repeated, for it was not acted on', 429, { method: 'POST', body: { a: 1 } }, 2],
			['429: a stream can’t be', 429, { method: 'POST', body: Readable.from([Buffer.from('x')]) }, 1],
			['503: a GET is repeated', 503, {}, 2],
			['503: a PUT is repeated, with its body', 503, { method: 'PUT', body: { a: 1 } }, 2],
			['503: a POST is not', 503, { method: 'POST', body: { a: 1 } }, 1],
			['503: a PATCH is not', 503, { method: 'PATCH', body: { a: 1 } }, 1],
			['500: nothing is', 500, {}, 1],
			['429: nothing is, past the deadline', 429, { timeout: 900 }, 1],
		]
		it('is repeated where that can do no harm, when the API says', async () => {
			// All at once, for each waits a second.
			const refused = new Set<string>()
			const refuseOnce: ApiAnswer = (response, request) => {
				const { url = '' } = request
				const first = !refused.has(url)
				refused.add(url)
				status(first ? Number(url.split('/')[2]) : 200, asked)(response, request)
			}
			api.answer(...Array.from({ length: 2 * cases.length }, () => refuseOnce))
			const made = cases.map(async ([what, refusal, request, times], i) => {
				const path = `/${i}/${refusal}`
				const started = performance.now()
				const answer = await call(path, request)
				const calls = api.calls.filter((one) => one.path === path)
				assert.deepEqual([answer.status, calls.length], [times === 2 ? 200 : refusal, times], what)
				assert.equal(calls[0]?.body, calls.at(-1)?.body, what)
				assert.ok(times === 1 || performance.now() - started >= 990, what)
			})
			await Promise.all(made)
			assert.equal(refused.size, cases.length)
		})

		it('is not repeated when the API does not say when', async () => {
			api.answer(status(429))
			assert.equal((await call()).status, 429)
			assert.equal(api.calls.length, 1)
		})

		it('stops waiting when the signal says so', async () => {
			api.answer(status(429, { 'retry-after': '20' }))
			const controller = new AbortController()
			const waiting = call('/', { signal: controller.signal })
			while (api.calls.length === 0) await new Promise(setImmediate)
			controller.abort()
			await assert.rejects(waiting, { name: 'AbortError' })
		})
	})

	describe('challenged for claims', () => {
		const claims = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c1' } } })

		it('is repeated once, by Graph’s leave, with a token that has them, which is then held', async () => {
			world.graph.inject({ path: '/v1.0/me', claims: JSON.parse(claims), satisfiedByAcrs: 'c1', times: 9 })
			const before = fingerprintOf(await handle.acquireSilent())
			assert.equal((await handle.get(`${world.graph.origin}/v1.0/me`)).status, 200)
			const tokens = world.graph.log.map(({ authorization }) => authorization)
			assert.equal(tokens.length, 2)
			assert.equal(tokens[0], before)
			assert.notEqual(tokens[1], before)
			assert.equal(fingerprintOf(await handle.acquireSilent()), tokens[1])
			assert.equal((await handle.get(`${world.graph.origin}/v1.0/me`)).status, 200)
			assert.equal(world.graph.count('/v1.0/me'), 3)
		})

		it('sends its body again', async () => {
			api.answer(challenge(claims))
			assert.equal((await call('/', { method: 'POST', body: { a: 1 } })).status, 200)
			assert.deepEqual(
				api.calls.map(({ body }) => body),
				['{"a":1}', '{"a":1}'],
			)
			const [first, second] = api.calls
			assert.notEqual(first?.authorization, second?.authorization)
		})

		it('is not repeated a second time', async () => {
			api.answer(challenge(claims), challenge(claims))
			assert.equal((await call()).status, 401)
			assert.equal(api.calls.length, 2)
		})

		it('tells that the person has to come back, and for what', async () => {
			// Not the claims that a held token has been won by.
			const wanted = JSON.stringify({ access_token: { nbf: { essential: true, value: '1700000000' } } })
			world.standIn.inject({ error: { error: 'interaction_required', code: 50076, claims } })
			api.answer(challenge(wanted))
			await assert.rejects(call(), (error: unknown) => {
				assert.ok(error instanceof BrokerError)
				assert.equal(error.code, 'ERR_INTERACTION_REQUIRED')
				assert.ok(error.claims)
				assert.deepEqual(error.scopes, scopes)
				return true
			})
			assert.equal(api.calls.length, 1)
		})

		const encoded = (text: string) => Buffer.from(text).toString('base64')
		const unheeded: Record<string, string> = {
			'no claims': 'Bearer error="invalid_token"',
			'another scheme': `PoP claims="${encoded(claims)}"`,
			'no base64': 'Bearer error="insufficient_claims", claims="***"',
			'no JSON': `Bearer error="insufficient_claims", claims="${encoded('claims')}"`,
			'no object': `Bearer error="insufficient_claims", claims="${encoded('[1]')}"`,
			'no object for a token': `Bearer error="insufficient_claims", claims="${encoded('{"access_token":"x"}')}"`,
			'nothing for a token': `Bearer error="insufficient_claims", claims="${encoded('{"id_token":null}')}"`,
			'a longer name': `Bearer no_claims="${encoded(claims)}"`,
			'in the words of another parameter': `Bearer error_description="say claims=\\"${encoded(claims)}\\""`,
		}
		for (const [what, header] of Object.entries(unheeded))
			it(`that are none is answered as it is: ${what}`, async () => {
				api.answer(status(401, { 'www-authenticate': header }))
				const { tasks } = app.broker.statistics
				const answer = await call()
				assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, header])
				assert.equal(api.calls.length, 1)
				assert.equal(app.broker.statistics.tasks, tasks)
			})

		it('with a streamed body is answered as it is', async () => {
			api.answer(challenge(claims))
			const answer = await call('/', { method: 'POST', body: Readable.from([Buffer.from('x')]) })
			assert.equal(answer.status, 401)
			assert.equal(api.calls.length, 1)
		})
	})

	describe('led elsewhere', () => {
		it('goes there on the same origin', async () => {
			api.answer(status(302, { location: '/there' }), status(307, { location: `${api.origin}/at/last` }))
			const answer = await call('/here')
			assert.deepEqual([answer.status, answer.url], [200, `${api.origin}/at/last`])
			assert.deepEqual(
				api.calls.map(({ path }) => path),
				['/here', '/there', '/at/last'],
			)
		})

		const away: Record<string, () => string> = {
			'another host': () => `${evil.origin}/`,
			'another host that is allowed': () => `${world.graph.origin}/v1.0/me`,
			'another host, without a scheme': () => `//${evil.host}/`,
			'another host, with backslashes': () => `/\\${evil.host}/`,
			'a user name': () => `https://${api.host}@${evil.host}/`,
			'a user name on the same host': () => `https://someone@${api.host}/`,
			'plain http': () => api.origin.replace('https', 'http'),
			'no address at all': () => 'https://',
		}
		for (const [what, location] of Object.entries(away))
			it(`does not go to ${what}, nor does the token`, async () => {
				api.answer(status(302, { location: location() }))
				const answer = await call()
				assert.deepEqual([answer.status, answer.headers.get('location')], [302, location()])
				assert.equal(api.calls.length, 1)
				assert.equal(evil.connections + world.graph.count(), 0)
			})

		it('stays, where it would do something', async () => {
			for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
				api.answer(status(307, { location: '/there' }))
				assert.equal((await call('/here', { method })).status, 307)
			}
			assert.equal(api.calls.length, 5)
		})

		it('does not go round for ever', async () => {
			api.answer(...Array.from({ length: 9 }, () => status(302, { location: '/' })))
			assert.equal((await call()).status, 302)
			assert.equal(api.calls.length, 6)
		})
	})

	describe('that takes too long', () => {
		const silence = () => {}

		it('ends at its deadline', async () => {
			api.answer(silence)
			const started = performance.now()
			await assert.rejects(call('/', { timeout: 200 }), (error: unknown) => {
				assert.ok(error instanceof BrokerError)
				assert.deepEqual([error.code, error.status], ['ERR_DOWNSTREAM_UNAVAILABLE', 503])
				return true
			})
			assertTook(performance.now() - started, 1500)
		})

		it('ends when its body pauses for as long, and not when it is just slow', async () => {
			let timer: NodeJS.Timeout | undefined
			api.answer((response) => {
				let parts = 0
				timer = setInterval(() => (++parts < 8 ? response.write('x') : response.end()), 100)
			})
			assert.equal(await (await call('/', { timeout: 700 })).text(), 'xxxxxxx')
			clearInterval(timer)
			api.answer((response) => response.write('x'))
			await assert.rejects((await call('/', { timeout: 200 })).text(), code('ERR_DOWNSTREAM_UNAVAILABLE'))
		})

		it('ends when the signal says so, before the answer and in its midst', async () => {
			const early = new AbortController()
			api.answer(silence)
			const waiting = call('/', { signal: early.signal })
			while (api.calls.length === 0) await new Promise(setImmediate)
			early.abort(new Error('enough'))
			await assert.rejects(waiting, { message: 'enough' })

			const late = new AbortController()
			api.answer((response) => response.write('x'))
			const answer = await call('/', { signal: late.signal })
			late.abort(new Error('enough'))
			await assert.rejects(answer.text(), { message: 'enough' })

			const calls = api.calls.length
			await assert.rejects(call('/', { signal: AbortSignal.abort() }), { name: 'AbortError' })
			assert.equal(api.calls.length, calls)
		})
	})

	it('waits for its token no longer than for its answer', async () => {
		world.standIn.inject({ delayMs: 1000 })
		const fresh = { scopes: [`${API}/.default`], timeout: 100 }
		await assert.rejects(handle.get(api.origin, fresh), code('ERR_DOWNSTREAM_UNAVAILABLE'))
		assert.equal(api.calls.length, 0)
	})

	it('without an answer is ERR_DOWNSTREAM_UNAVAILABLE', async () => {
		api.answer((_, { socket }) => socket.destroy())
		await assert.rejects(call(), (error: unknown) => {
			assert.ok(error instanceof BrokerError)
			assert.equal(error.code, 'ERR_DOWNSTREAM_UNAVAILABLE')
			assert.match(error.message, new RegExp(`^No answer from ${api.host}: \\w+\\.$`))
			return true
		})
	})

	it('for nobody is ERR_SIGNED_OUT, and reaches no API', async () => {
		const nobody = app.broker.forSession({})
		await assert.rejects(nobody.get(api.origin, { scopes }), code('ERR_SIGNED_OUT'))
		assert.equal(api.connections, 0)
	})

	it('writes and reads JSON with the setting’s serialiser (json_dumps, json_loads)', async () => {
		// One that keeps what JSON loses: dates.
		const serialiser = {
			stringify: (value: unknown) => JSON.stringify(value).replace(/"(\d{4}-[^"]+Z)"/g, '{"$date":"$1"}'),
			parse: (text: string) => JSON.parse(text, (_, value) => (value?.$date ? new Date(value.$date) : value)),
		}
		const own = await createApplication(world, {
			secrets,
			downstream: { allowedHosts: [api.host], serialiser },
		})
		try {
			await own.signIn(own.browser())
			const at = new Date(0)
			api.answer((response) => response.end('{"at":{"$date":"1970-01-01T00:00:00.000Z"}}'))
			const answer = await own.broker.forSession(own.seen.session).post(api.origin, { scopes, body: { at } })
			assert.equal(api.calls[0]?.body, '{"at":{"$date":"1970-01-01T00:00:00.000Z"}}')
			const copy = answer.clone()
			assert.deepEqual(await answer.json(), { at })
			assert.deepEqual(await copy.json(), { at })
			assert.equal(copy.url, answer.url)
		} finally {
			await own.close()
		}
	})

	it('is refused, and nothing else ends, when the serialiser’s answer is a promise that rejects', async () => {
		const serialiser = { parse: JSON.parse, stringify: async () => Promise.reject(new Error('down')) }
		const own = await createApplication(world, {
			secrets,
			downstream: { allowedHosts: [api.host], serialiser: serialiser as unknown as typeof JSON },
		})
		try {
			const handle = own.broker.forSession(session)
			await assert.rejects(handle.post(api.origin, { scopes, body: { a: 1 } }), code('ERR_BAD_REQUEST'))
			await new Promise(setImmediate)
		} finally {
			await own.close()
		}
	})

	it('is read to its end by who has begun, when its broker is closed, and by nobody else', async () => {
		const own = await createApplication(world, { secrets, downstream: { allowedHosts: [api.host] } })
		await own.signIn(own.browser())
		const closing = own.broker.forSession(own.seen.session)
		let more: (() => void) | undefined
		api.answer(
			(response) => {
				response.write('first,')
				more = () => response.end('last')
			},
			(response) => response.write('never read'),
		)
		const text = (await closing.get(api.origin, { scopes })).text()
		const unread = await closing.get(api.origin, { scopes })
		// At the time at which connections are closed.
		TokenBroker.closeWith(own.broker, async () => more?.())
		await own.close()
		assert.equal(await text, 'first,last')
		await assert.rejects(unread.text(), code('ERR_DOWNSTREAM_UNAVAILABLE'))
	})

	it('is not made by a broker that was closed; one under way gets its answer', async () => {
		const own = await createApplication(world, { secrets, downstream: { allowedHosts: [api.host] } })
		await own.signIn(own.browser())
		const closing = own.broker.forSession(own.seen.session)
		await closing.acquireSilent({ scopes })
		let respond: (() => void) | undefined
		api.answer((response) => {
			respond = () => response.writeHead(204).end()
		})
		const underWay = closing.get(api.origin, { scopes })
		while (!respond) await new Promise(setImmediate)
		const closed = own.broker.close()
		await assert.rejects(closing.get(api.origin, { scopes }), code('ERR_BROKER_CLOSED'))
		respond()
		assert.equal((await underWay).status, 204)
		await closed
		await own.close()
	})
})
