import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { rootCertificates } from 'node:tls'
import { createDevCertificates, type DevCertificates } from '../dev/certificates.js'
import { BrokerError } from '../src/index.js'
import { createHttp, type Http, type NetworkSettings, retryAfterSeconds } from '../src/network.js'
import { assertTook } from './support/took.js'

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

const keyOf = (text: string) => createSecretKey(Buffer.from(text))

describe('calls to the provider', () => {
	let tls: DevCertificates
	let origin: string
	const server = { close: () => {} }
	const clients: Http[] = []
	const client = (...settings: Parameters<typeof createHttp>) => {
		const http = createHttp(...settings)
		clients.push(http)
		return http
	}
	before(async () => {
		tls = await createDevCertificates()
		const https = createServer({ key: tls.key, cert: tls.cert }, (request, response) => {
			if (request.url === '/redirect')
				response.writeHead(302, { location: 'https://elsewhere.invalid/' }).end()
			else if (request.url === '/large') response.end('x'.repeat(3_000_000))
			else if (request.url === '/drip') {
				const timer = setInterval(() => response.write('x'), 50)
				response.on('close', () => clearInterval(timer))
			} else if (request.url !== '/hang') response.end(`via ${request.headers['x-via'] ?? 'nobody'}`)
		})
		await new Promise<void>((resolve) => https.listen(0, 'localhost', resolve))
		origin = `https://localhost:${(https.address() as AddressInfo).port}`
		server.close = () => {
			https.closeAllConnections()
			https.close()
		}
	})
	after(async () => {
		server.close()
		await Promise.all(clients.map((http) => http.close()))
	})

	it('trust the given certificates beside Node’s own, and never a wrong one', async () => {
		assert.equal((await client({ timeout: 1000, ca: tls.ca })(`${origin}/`)).status, 200)
		await assert.rejects(client({ timeout: 1000 })(`${origin}/`), code('ERR_IDP_UNAVAILABLE'))
		await assert.rejects(
			client({ timeout: 1000, ca: tls.ca })(origin.replace('localhost', '127.0.0.2')),
			code('ERR_IDP_UNAVAILABLE'),
		)
	})

	it('check certificates whatever NODE_TLS_REJECT_UNAUTHORIZED says, through a proxy and streamed as well', async (t) => {
		t.after(() => {
			delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
		})
		process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
		const proxy = createHttpServer().on('connect', (request, socket) => {
			const [host, port] = (request.url ?? '').split(':')
			const target = connect(Number(port), host, () => {
				socket.write('HTTP/1.1 200 OK\r\n\r\n')
				target.pipe(socket).pipe(target)
			})
			for (const end of [target, socket]) end.on('error', () => {})
		})
		await once(proxy.listen(0, 'localhost'), 'listening')
		t.after(() => proxy.close())
		const tunnel = keyOf(`http://localhost:${(proxy.address() as AddressInfo).port}`)
		const over = keyOf(origin)
		for (const settings of [{}, { ca: rootCertificates[0] ?? '' }, { proxy: tunnel }, { proxy: over }]) {
			const http = client({ timeout: 1000, ...settings })
			await assert.rejects(http(`${origin}/`), (error: BrokerError) => {
				assert.equal(error.code, 'ERR_IDP_UNAVAILABLE')
				assert.match(error.message, /SELF_SIGNED|UNABLE_TO_/)
				return true
			})
			const request = { method: 'GET', headers: [], signal: AbortSignal.timeout(1000), idleTimeout: 1000 }
			await assert.rejects(http.stream(new URL(origin), request), (error: Error) => {
				assert.match(String((error.cause as { code?: string }).code), /SELF_SIGNED|UNABLE_TO_/)
				return true
			})
		}
	})

	for (const path of ['/hang', '/drip'])
		it(`F3: end at their deadline: ${path}`, async () => {
			const started = performance.now()
			await assert.rejects(client({ timeout: 300, ca: tls.ca })(origin + path), code('ERR_IDP_UNAVAILABLE'))
			assertTook(performance.now() - started, 1300)
		})

	it('read no more than their limit, and follow no redirect', async () => {
		const http = client({ timeout: 1000, ca: tls.ca })
		await assert.rejects(http(`${origin}/large`), code('ERR_IDP_PROTOCOL'))
		assert.equal((await http(`${origin}/redirect`)).status, 302)
	})

	it('go through the proxy, but for the hosts that need none', async () => {
		let tunnels = 0
		const proxy = createHttpServer().on('connect', (request, socket) => {
			tunnels++
			const [host, port] = (request.url ?? '').split(':')
			const target = connect(Number(port), host, () => {
				socket.write('HTTP/1.1 200 OK\r\n\r\n')
				target.pipe(socket).pipe(target)
			})
			for (const end of [target, socket]) end.on('error', () => {})
		})
		await new Promise<void>((resolve) => proxy.listen(0, 'localhost', resolve))
		const settings = {
			timeout: 1000,
			ca: tls.ca,
			proxy: keyOf(`http://localhost:${(proxy.address() as AddressInfo).port}`),
		}
		try {
			assert.equal((await client(settings)(`${origin}/`)).status, 200)
			assert.equal(tunnels, 1)
			assert.equal((await client({ ...settings, noProxy: 'localhost' })(`${origin}/`)).status, 200)
			assert.equal(tunnels, 1)
			const request = {
				method: 'GET',
				headers: [],
				signal: AbortSignal.timeout(1000),
				idleTimeout: 1000,
			}
			const streamed = await client(settings).stream(new URL(origin), request)
			assert.equal(await streamed.text(), 'via nobody')
			assert.equal(tunnels, 2)
		} finally {
			await Promise.all(clients.splice(0).map((http) => http.close()))
			proxy.close()
		}
	})

	describe('through a proxy that is silent', () => {
		const sockets = new Set<Socket>()
		const proxy = createTcpServer((socket) => {
			sockets.add(socket.resume())
			socket.on('error', () => {}).on('close', () => sockets.delete(socket))
		})
		let settings: NetworkSettings
		before(async () => {
			await once(proxy.listen(0, 'localhost'), 'listening')
			settings = { timeout: 300, proxy: keyOf(`http://localhost:${(proxy.address() as AddressInfo).port}`) }
		})
		after(() => {
			for (const socket of sockets) socket.destroy()
			proxy.close()
		})

		it('leave no connection behind', { timeout: 5000 }, async () => {
			const http = client(settings)
			for (let call = 0; call < 3; call++) {
				await assert.rejects(http('https://provider.invalid/'), code('ERR_IDP_UNAVAILABLE'))
				for (const socket of sockets) await once(socket, 'close')
			}
			assert.equal(sockets.size, 0)
		})

		it('do not keep the client from closing', { timeout: 5000 }, async () => {
			const http = createHttp(settings)
			await assert.rejects(http('https://provider.invalid/'), code('ERR_IDP_UNAVAILABLE'))
			const call = assert.rejects(http('https://provider.invalid/'), code('ERR_IDP_UNAVAILABLE'))
			await http.close()
			await call
			for (const socket of sockets) await once(socket, 'close')
			await assert.rejects(http('https://provider.invalid/'), code('ERR_IDP_UNAVAILABLE'))
			assert.equal(sockets.size, 0)
		})
	})

	it('streamed ones that are being read are waited for, no longer than for a whole one', async () => {
		const http = createHttp({ timeout: 300, ca: tls.ca })
		const [first, second] = [http.reading(), http.reading()]
		let closed = false
		const closing = http.close().then(() => {
			closed = true
		})
		first()
		await assert.rejects(http(`${origin}/`), code('ERR_IDP_UNAVAILABLE'))
		assert.equal(closed, false)
		second()
		await closing

		const abandoned = createHttp({ timeout: 300, ca: tls.ca })
		abandoned.reading()
		const started = performance.now()
		await abandoned.close()
		assert.ok(performance.now() - started >= 290)
	})

	it('under way come to their end while the client closes', async () => {
		const http = createHttp({ timeout: 1000, ca: tls.ca })
		const call = http(`${origin}/`)
		await http.close()
		assert.equal((await call).status, 200)
	})
})

describe('Retry-After', () => {
	it('is read in seconds or as a date, within an hour', () => {
		assert.equal(retryAfterSeconds({ 'retry-after': '17' }), 17)
		assert.equal(retryAfterSeconds({ 'retry-after': '0' }), 1)
		assert.equal(retryAfterSeconds({ 'retry-after': '999999' }), 3600)
		const inTenSeconds = new Date(Date.now() + 10_000).toUTCString()
		assert.ok(Math.abs((retryAfterSeconds({ 'retry-after': inTenSeconds }) ?? 0) - 10) < 2)
		assert.equal(retryAfterSeconds({ 'retry-after': 'soon' }), undefined)
		assert.equal(retryAfterSeconds({}), undefined)
	})
})
