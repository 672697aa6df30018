import assert from 'node:assert/strict'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import Koa, { type Context } from 'koa'
import { createMsalSession } from '../../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	listen,
	type World,
} from '../support/application.js'
import {
	createSessionApplication,
	request,
	type SessionApplication,
	sessionOptions,
} from '../support/session-application.js'

/** Ways to answer past Koa, or with a stream. */
const streams: Readonly<Record<string, (ctx: Context) => unknown>> = {
	end: ({ res }) => res.end('streamed'),
	write: ({ res }) => {
		res.write('stream')
		res.end('ed')
	},
	flushHeaders: ({ res }) => {
		res.flushHeaders()
		res.end('streamed')
	},
	pipe: ({ res }) => Readable.from(['stream', 'ed']).pipe(res),
	writeHead: ({ res }) => res.writeHead(200).end('streamed'),
	'writeHead with headers': ({ res }) =>
		res.writeHead(200, { 'X-Own': 'a', 'x-two': ['b', 'c'] }).end('streamed'),
	'writeHead with a reason': ({ res }) => res.writeHead(200, 'Fine', { 'X-Own': 'a' }).end('streamed'),
	'writeHead with a list': ({ res }) =>
		res.writeHead(200, ['X-Own', 'a', 'x-two', 'b', 'x-two', 'c']).end('streamed'),
	'writeHead with pairs': ({ res }) =>
		res
			.writeHead(200, [
				['X-Own', 'a'],
				['x-two', 'b'],
				['x-two', 'c'],
			] as unknown as string[])
			.end('streamed'),
}

describe('B14: a shared cache in front, of an answer that is streamed past Koa', () => {
	let app: SessionApplication
	let cookie: string
	before(async () => {
		app = await createSessionApplication({}, async (ctx) => {
			const name = decodeURIComponent(ctx.path.slice(1))
			if (name === 'set') {
				ctx.session.value = 'x'
				return 'set'
			}
			if (ctx.query.commit !== undefined) {
				ctx.session.value = 'committed'
				await ctx.session.save()
			}
			if (ctx.query.end !== undefined) ctx.session = null
			if (ctx.query.cache !== undefined) ctx.res.setHeader('Cache-Control', String(ctx.query.cache))
			ctx.respond = false
			if (name === 'later') {
				const { head, own, removed } = ctx.query
				setImmediate(() => {
					if (removed !== undefined) ctx.res.removeHeader('Set-Cookie')
					const headers = {
						...(head !== undefined && { 'Cache-Control': String(head) }),
						...(own !== undefined && { 'Set-Cookie': 'theirs=1' }),
					}
					ctx.res.writeHead(200, headers).end('streamed')
				})
				return undefined
			}
			if (name === 'own cache')
				return void ctx.res.writeHead(200, { 'cache-control': 'private' }).end('streamed')
			streams[name]?.(ctx)
			await new Promise((resolve) => ctx.res.once('close', resolve))
			return undefined
		})
		cookie = (await app.get('/set')).cookie ?? ''
	})
	after(() => app.close())

	for (const name of Object.keys(streams)) {
		const path = `/${encodeURIComponent(name)}`
		it(`is not kept when it was asked for with a session (${name})`, async () => {
			const { status, text, headers, lines } = await app.get(path, cookie)
			assert.deepEqual([status, text, lines], [name.startsWith('writeHead') ? 200 : 404, 'streamed', []])
			assert.equal(headers.get('cache-control'), 'no-store')
			if (name.startsWith('writeHead with')) assert.equal(headers.get('x-own'), 'a')
			assert.equal(headers.get('x-two'), /headers|list|pairs/.test(name) ? 'b, c' : null)
		})

		it(`is not kept, and brings its cookie, when a session begins before it (${name})`, async () => {
			const began = await app.get(`${path}?commit`)
			assert.equal(began.text, 'streamed')
			assert.ok(began.cookie, 'the session has a cookie')
			assert.equal(began.headers.get('cache-control'), 'no-store')
		})

		it(`is left alone for who has no session (${name})`, async () => {
			const { text, headers, lines } = await app.get(path)
			assert.deepEqual([text, headers.get('cache-control'), lines], ['streamed', null, []])
		})
	}

	it('is not kept for a cookie that opens nothing', async () => {
		for (const odd of ['x', `${'a'.repeat(43)}.${'b'.repeat(43)}`, ''])
			assert.equal(
				(await app.get('/end', `${cookie.split('=')[0]}=${odd}`)).headers.get('cache-control'),
				'no-store',
				odd,
			)
	})

	it('is kept as the application has decided', async () => {
		assert.equal((await app.get('/end?cache=private', cookie)).headers.get('cache-control'), 'private')
		assert.equal((await app.get('/own%20cache', cookie)).headers.get('cache-control'), 'private')
		assert.equal(
			(await app.get('/writeHead?cache=public&commit')).headers.get('cache-control'),
			'no-store',
			'but for one that sets a cookie',
		)
	})

	it('is not kept, and keeps its cookie, when the head comes after the session is done', async () => {
		for (const [path, cookies] of [
			['/later?commit&cache=public', 1],
			['/later?commit&head=public', 1],
			['/later?commit&head=public&own', 2],
			['/later?commit&head=public&removed', 0],
		] as const) {
			const { headers, lines } = await app.get(path)
			assert.equal(lines.length, cookies, path)
			assert.equal(headers.get('cache-control'), cookies > 0 ? 'no-store' : 'public', path)
		}
		const ended = await app.get('/later?end&head=public', (await app.get('/set')).cookie)
		assert.deepEqual([ended.cleared, ended.headers.get('cache-control')], [true, 'no-store'])
		const left = await app.get('/later?head=public', cookie)
		assert.deepEqual([left.lines, left.headers.get('cache-control')], [[], 'public'])
	})

	it('is not kept when a middleware in front says so afterwards', async () => {
		const session = createMsalSession(sessionOptions())
		const koa = new Koa()
		koa.use(async (ctx, next) => {
			await next()
			ctx.set('Cache-Control', 'public, max-age=60')
		})
		koa.use(session)
		koa.use((ctx: Context) => {
			if (ctx.path === '/begin') ctx.session.value = 'x'
			ctx.body = 'x'
		})
		const server = createServer(koa.callback())
		const origin = await listen(server)
		try {
			const begun = await request(`${origin}/begin`)
			assert.ok(begun.cookie)
			assert.equal(begun.headers.get('cache-control'), 'no-store')
			const read = await request(origin, begun.cookie)
			assert.equal(read.headers.get('cache-control'), 'public, max-age=60', 'as it is told')
		} finally {
			server.close()
			await session.close()
		}
	})

	it('is not kept over HTTP/2 either', async () => {
		const session = createMsalSession(sessionOptions())
		const koa = new Koa()
		koa.use(session)
		koa.use((ctx: Context) => {
			ctx.respond = false
			streams[ctx.path.slice(1)]?.(ctx)
		})
		const server = createHttp2Server(koa.callback())
		await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
		const client = connect(`http://localhost:${(server.address() as AddressInfo).port}`)
		const get = (path: string, headers: object) =>
			new Promise<unknown>((resolve, reject) => {
				const stream = client.request({ ':path': path, ...headers })
				stream.once('response', (answered) => resolve(answered['cache-control']))
				stream.once('error', reject)
				stream.resume()
			})
		try {
			for (const path of ['/end', '/write', '/flushHeaders', '/pipe', '/writeHead']) {
				assert.equal(await get(path, { cookie: `${cookie.split('=')[0]}=x` }), 'no-store', path)
				assert.equal(await get(path, {}), undefined, path)
			}
		} finally {
			client.close()
			server.close()
			await session.close()
		}
	})
})

/** A proxy that keeps every GET it may keep (RFC 9111), whoever asks, and does not know what a session is. */
function createCachingProxy(target: string) {
	const kept = new Map<string, { status: number; headers: IncomingMessage['headers']; body: Buffer }>()
	const server = createServer((incoming, outgoing) => {
		const url = incoming.url ?? '/'
		const known = incoming.method === 'GET' ? kept.get(url) : undefined
		if (known) {
			outgoing.writeHead(known.status, { ...known.headers, 'x-cache': 'hit' }).end(known.body)
			return
		}
		const onward = httpRequest(
			`${target}${url}`,
			{ method: incoming.method, headers: { ...incoming.headers, host: new URL(target).host } },
			async (answer) => {
				const body = Buffer.concat(await answer.toArray())
				const control = answer.headers['cache-control'] ?? ''
				const status = answer.statusCode ?? 502
				// A cache in a hurry: without a word about it, an answer is kept too.
				if (incoming.method === 'GET' && !/no-store|private|no-cache/.test(control) && !answer.headers.vary)
					kept.set(url, { status, headers: answer.headers, body })
				outgoing.writeHead(status, answer.headers).end(body)
			},
		)
		onward.once('error', () => outgoing.destroy())
		incoming.pipe(onward)
	})
	return { server, kept }
}

describe('B14: a caching proxy in front, and two people', () => {
	let world: World
	let app: Application
	let proxy: ReturnType<typeof createCachingProxy>
	let origin: string
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			configure: (koa) =>
				koa.use(async (ctx, next) => {
					if (ctx.path === '/public') ctx.body = 'the same for all'
					else if (ctx.path === '/mine') ctx.body = { name: ctx.session.msal?.account.username ?? null }
					else if (ctx.path === '/streamed') {
						ctx.respond = false
						ctx.res.writeHead(200, { 'content-type': 'text/plain' })
						Readable.from([ctx.session.msal?.account.username ?? 'nobody']).pipe(ctx.res)
					} else await next()
				}),
		})
		proxy = createCachingProxy(app.origin)
		await new Promise<void>((resolve) => proxy.server.listen(0, 'localhost', resolve))
		origin = `http://localhost:${(proxy.server.address() as AddressInfo).port}`
	})
	after(async () => {
		proxy.server.closeAllConnections()
		proxy.server.close()
		await app.close()
		await world.close()
	})

	it('each gets their own pages, and nobody a cookie of another', async () => {
		const [ada, charles] = [app.browser(), app.browser()]
		await app.signIn(ada)
		await app.signIn(charles, 'Charles Babbage')
		const paths = [
			'/mine',
			'/streamed',
			'/user/info',
			'/token',
			'/private',
			'/user/photo',
			'/user/login',
			'/nothing',
		]
		for (const path of paths)
			for (const [browser, other] of [
				[ada, /charles/i],
				[charles, /\bada\b/i],
			] as const) {
				const page = await browser.get(origin + path)
				assert.doesNotMatch(page.html, other, path)
				assert.equal(page.headers.get('x-cache'), null, path)
			}
		assert.deepEqual([...proxy.kept.keys()], [])

		// Without a session, what the application says nothing about may be kept; what our routes say may not.
		for (const path of ['/public', ...paths]) await request(origin + path)
		assert.deepEqual(
			[...proxy.kept.keys()].filter((path) => path.startsWith('/user') || path === '/token'),
			[],
		)
		assert.equal((await request(`${origin}/public`)).headers.get('x-cache'), 'hit', 'the cache works')
	})
})
