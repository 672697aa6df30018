import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Browser, createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const photoPath = '/v1.0/me/photo/$value'

describe('GET /user/photo', () => {
	let world: World
	let app: Application
	let browser: Browser
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, { secrets })
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	beforeEach(() => {
		browser = createBrowser()
	})
	afterEach(async () => {
		await browser.close()
		world.graph.clearFaults()
		app.errors.length = 0
	})

	const photo = (headers?: Record<string, string>) => browser.get(`${app.origin}/user/photo`, headers)

	it('B14: is an image for this person’s browser only', async () => {
		await app.signIn(browser)
		const page = await photo()
		assert.equal(page.status, 200)
		assert.equal(page.headers.get('content-type'), 'image/png')
		assert.match(page.headers.get('cache-control') ?? '', /^private, max-age=\d+$/)
		assert.match(page.headers.get('vary') ?? '', /\bCookie\b/)
		assert.equal(page.headers.get('x-content-type-options'), 'nosniff')
		assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'/)
		assert.match(page.html, /PNG/)
		assert.equal(world.graph.log.at(-1)?.path, photoPath)
	})

	it('is another one for another person', async () => {
		await app.signIn(browser)
		const ada = (await photo()).headers.get('etag')
		browser.jar.clear()
		await app.signIn(browser, 'Grace Hopper')
		const grace = (await photo()).headers.get('etag')
		assert.ok(ada && grace)
		assert.notEqual(ada, grace)
	})

	it('is not sent again to a browser that has it', async () => {
		await app.signIn(browser)
		const etag = (await photo()).headers.get('etag') ?? ''
		assert.match(etag, /^"\w+"$/)
		const again = await photo({ 'if-none-match': etag })
		assert.equal(again.status, 304)
		assert.equal(again.html, '')
		assert.equal(again.headers.get('etag'), etag)
		assert.match(again.headers.get('cache-control') ?? '', /^private/)
		assert.match(again.headers.get('vary') ?? '', /\bCookie\b/)
		const known = [`W/${etag}`, `"another", ${etag}`, `"another",W/${etag}`]
		for (const tags of known) assert.equal((await photo({ 'if-none-match': tags })).status, 304, tags)
		for (const tags of ['"another"', '', etag.slice(1, -1)])
			assert.equal((await photo({ 'if-none-match': tags })).status, 200, tags)
	})

	it('is 404 for a person without one', async () => {
		await app.signIn(browser, 'Alan Turing')
		const page = await photo()
		assert.equal(page.status, 404)
		assert.equal(page.headers.get('cache-control'), 'no-store')
		assert.deepEqual(app.errors, [])
	})

	it('is 401 for nobody, and asks nothing of Graph', async () => {
		world.graph.clearLog()
		const page = await photo({ accept: 'image/*' })
		assert.equal(page.status, 401)
		const { error, login } = page.json<Record<string, string>>()
		assert.deepEqual([error, login], ['ERR_SIGNED_OUT', '/user/login'])
		assert.equal(page.headers.get('cache-control'), 'no-store')
		assert.equal(world.graph.count(), 0)
		await app.signIn(browser)
		await browser.get(`${app.origin}/user/logout`)
		assert.equal((await photo()).status, 401)
		assert.equal(world.graph.count(), 0)
	})

	for (const [what, fault, seconds] of [
		['wants to be left alone', { status: 429, retryAfter: 17 }, 17],
		['is not available', { status: 503, retryAfter: 9 }, 9],
		['fails', { status: 500 }, 5],
		['cuts the connection', { drop: true }, 5],
	] as const)
		it(`is 503 with Retry-After when Graph ${what}`, async () => {
			await app.signIn(browser)
			world.graph.inject({ path: photoPath, ...fault })
			const page = await photo()
			assertFailed(page, 503, 'ERR_DOWNSTREAM_UNAVAILABLE')
			assert.equal(page.headers.get('retry-after'), String(seconds))
			assert.equal((await photo()).status, 200, 'and works the next time')
		})

	it('comes after a wait that Graph asks for, when it is short', async () => {
		await app.signIn(browser)
		world.graph.clearLog()
		world.graph.inject({ path: photoPath, status: 429, retryAfter: 1 })
		assert.equal((await photo()).status, 200)
		assert.deepEqual(
			world.graph.log.map(({ status }) => status),
			[429, 200],
		)
	})

	it('is 403 when Graph does not let this application', async () => {
		await app.signIn(browser)
		world.graph.inject({ path: photoPath, status: 403 })
		const page = await photo()
		assert.equal(page.status, 403)
		assert.match(page.html, /ERR_FORBIDDEN/)
	})

	describe('when Graph answers with something else', () => {
		let server: Server
		let respond: (response: ServerResponse) => void
		let odd: Application
		const sockets = new Set<Socket>()
		before(async () => {
			server = createServer(world.standIn.tls, (_request, response) => respond(response))
			server.on('secureConnection', (socket) => {
				sockets.add(socket)
				socket.once('close', () => sockets.delete(socket))
			})
			await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
			const endpoint = `https://localhost:${(server.address() as AddressInfo).port}/v1.0`
			odd = await createApplication(world, { secrets, graph: { endpoint } })
		})
		after(async () => {
			await odd.close()
			server.closeAllConnections()
			await new Promise((resolve) => server.close(resolve))
		})

		const script = '<script>alert(document.domain)</script>'
		const answers: Record<string, [number, Record<string, string>, string | Buffer]> = {
			'a page': [200, { 'content-type': 'text/html' }, script],
			'a drawing with a script in it': [200, { 'content-type': 'image/svg+xml' }, `<svg>${script}</svg>`],
			'an image and a page in one': [200, { 'content-type': 'image/png, text/html' }, script],
			'nobody says what': [200, {}, script],
			'an image, packed in some way': [
				200,
				{ 'content-type': 'image/png', 'content-encoding': 'crate' },
				'x',
			],
			JSON: [200, { 'content-type': 'application/json' }, '{}'],
			nothing: [204, { 'content-type': 'image/png' }, ''],
			'the way to another host': [
				302,
				{ location: 'https://evil.example/', 'content-type': 'image/png' },
				'x',
			],
			'5 MB': [
				200,
				{ 'content-type': 'image/png', 'content-length': '5242880' },
				Buffer.alloc(5 * 1024 * 1024),
			],
		}
		for (const [what, [status, headers, body]] of Object.entries(answers))
			it(`passes none of it on: ${what}`, async () => {
				await odd.signIn(browser)
				respond = (response) => response.writeHead(status, headers).end(body)
				const page = await browser.get(`${odd.origin}/user/photo`)
				assertFailed(page, 502, 'ERR_DOWNSTREAM_PROTOCOL')
			})

		it('passes an image on with its type, and none of Graph’s other headers', async () => {
			await odd.signIn(browser)
			const headers = { 'content-type': 'image/jpeg; x=<y>', 'set-cookie': 'a=b', 'x-graph': 'secret' }
			respond = (response) => response.writeHead(200, headers).end('JFIF')
			const page = await browser.get(`${odd.origin}/user/photo`)
			assert.deepEqual([page.status, page.html], [200, 'JFIF'])
			assert.equal(page.headers.get('content-type'), 'image/jpeg')
			assert.equal(page.headers.get('x-graph'), null)
			assert.deepEqual(page.headers.getSetCookie(), [])
		})

		it('unpacks an image that is packed, and says nothing of its length then', async () => {
			await odd.signIn(browser)
			const body = gzipSync('JFIF')
			const headers = {
				'content-type': 'image/jpeg',
				'content-encoding': 'gzip',
				'content-length': body.length,
			}
			respond = (response) => response.writeHead(200, headers).end(body)
			const answer = await open(odd.origin)
			assert.deepEqual(
				[answer.headers['content-length'], answer.headers['content-encoding'], await text(answer)],
				[undefined, undefined, 'JFIF'],
			)
		})

		it('leaves an ETag out that is none, or endless', async () => {
			await odd.signIn(browser)
			for (const etag of ['W/"a"; é', 'a', '"a"b"', `"${'a'.repeat(257)}"`, `"${'a'.repeat(4000)}"`]) {
				respond = (response) => response.writeHead(200, { 'content-type': 'image/png', etag }).end('PNG')
				const page = await browser.get(`${odd.origin}/user/photo`)
				assert.deepEqual([page.status, page.html, page.headers.get('etag')], [200, 'PNG', null], etag)
			}
		})

		it('streams: the browser has the beginning before Graph has sent the end', async () => {
			await odd.signIn(browser)
			let graph: ServerResponse | undefined
			respond = (response) => {
				graph = response.writeHead(200, { 'content-type': 'image/png', 'content-length': 6 })
				graph.write('one')
			}
			const answer = await open(odd.origin)
			assert.equal(answer.headers['content-length'], '6')
			const [first] = (await once(answer, 'data')) as [Buffer]
			assert.equal(first.toString(), 'one')
			graph?.end('two')
			assert.equal(await text(answer), 'two')
		})

		for (const [what, send] of [
			['that Graph breaks off', (response) => response.write('half', () => response.destroy())],
			['that has no end', (response) => response.write(Buffer.alloc(5 * 1024 * 1024))],
		] as const satisfies readonly [string, (response: ServerResponse) => unknown][])
			it(`never looks whole: one ${what}`, async () => {
				await odd.signIn(browser)
				respond = (response) => send(response.writeHead(200, { 'content-type': 'image/png' }))
				await assert.rejects(open(odd.origin).then(text))
			})

		it('holds no connection to Graph for what nobody reads', { timeout: 10_000 }, async () => {
			await odd.signIn(browser)
			// Larger than what comes along with the headers.
			const body = Buffer.alloc(1024 * 1024)
			respond = (response) => response.writeHead(200, { 'content-type': 'image/png', etag: '"a"' }).end(body)
			for (let i = 0; i < 5; i++) {
				const page = await browser.get(`${odd.origin}/user/photo`, { 'if-none-match': '"a"' })
				assert.equal(page.status, 304)
				const head = await open(odd.origin, 'HEAD')
				assert.deepEqual([head.statusCode, head.headers['content-type']], [200, 'image/png'])
				assert.equal(await text(head), '')
				// Closes the page before it has come.
				;(await open(odd.origin)).destroy()
			}
			while (sockets.size > 1) await once([...sockets][0] as Socket, 'close')
		})
	})

	/** Opens the photo as the browser would, and leaves the body to be read. */
	async function open(origin: string, method = 'GET'): Promise<IncomingMessage> {
		const url = new URL('/user/photo', origin)
		const cookie = browser.jar.headerFor(url, { method: 'GET', crossSite: false, topLevel: true })
		const [answer] = await once(request(url, { method, headers: { cookie } }).end(), 'response')
		return answer as IncomingMessage
	}

	/** A small page that tells nothing of what Graph said. */
	function assertFailed(page: Page, status: number, code: string): void {
		assert.equal(page.status, status, page.html.slice(0, 1000))
		assert.match(page.html, new RegExp(code))
		assert.ok(!/script>|Graph|evil|eyJ/.test(page.html))
		assert.equal(page.headers.get('cache-control'), 'no-store')
		assert.equal(page.headers.get('etag'), null)
		assert.equal(page.headers.get('x-content-type-options'), 'nosniff')
	}
})
