import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer, type Server } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, connect, createServer as createNetServer, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { createDevCertificates } from '../../dev/certificates.js'
import { BrokerError, hardenServer } from '../../src/index.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

/** Milliseconds by which a slow connection has to be ended (14.5 s where nothing else runs), and another be answered. */
const latest = 18_000
const soon = 1_000

/** A connection that says something at once, and then one byte a second for as long as it is let. */
interface Slow {
	readonly name: string
	readonly first: string
	readonly drip: string
}

const post =
	'POST /user/authorized HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n'
const slow: readonly Slow[] = [
	{ name: 'says nothing', first: '', drip: '' },
	{ name: 'drips its request line', first: 'GET /', drip: 'a' },
	{ name: 'drips a header', first: 'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ', drip: 'a' },
	{ name: 'drips header after header', first: 'GET / HTTP/1.1\r\nHost: localhost\r\n', drip: 'a:b\r\n' },
	{ name: 'drips a body of a length', first: `${post}Content-Length: 5000\r\n\r\n`, drip: 'a' },
	{ name: 'drips a body in chunks', first: `${post}Transfer-Encoding: chunked\r\n\r\n`, drip: '1\r\na\r\n' },
	{ name: 'drips the size of a chunk', first: `${post}Transfer-Encoding: chunked\r\n\r\n`, drip: '0' },
	{ name: 'never sends its body', first: `${post}Content-Length: 10\r\n\r\n`, drip: '' },
	{
		name: 'drips a body that nobody reads',
		first: 'POST /anonymous HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n',
		drip: 'a',
	},
	{
		name: 'drips its second request',
		first: 'GET /anonymous HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-A: ',
		drip: 'a',
	},
]

interface Ended {
	readonly text: string
	readonly milliseconds: number
}

/** Keeps a connection until it is ended. */
function hold(socket: Socket, { first, drip }: Slow): Promise<Ended> {
	const begun = performance.now()
	let text = ''
	return new Promise((resolve) => {
		const dripping = setInterval(() => drip && socket.write(drip), 1000)
		socket
			.on('data', (chunk) => {
				text += chunk
			})
			.on('error', () => {})
			.once('close', () => {
				clearInterval(dripping)
				resolve({ text, milliseconds: performance.now() - begun })
			})
		if (first) socket.write(first)
	})
}

describe('I2: slow connections to a hardened server', { timeout: 60_000 }, () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
		hardenServer(app.server)
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	const placeOf = (server: Server) => {
		const { port, address } = server.address() as AddressInfo
		return { port, host: address }
	}

	it('I2: are ended within 15 seconds, 2,000 at a time, while everybody else is served', async () => {
		const kindOf = (i: number) => slow[i % slow.length] as Slow
		let waiting = 0
		const holding: Promise<Ended>[] = []
		// Not all at once, which is more than the system keeps for a server that is about to accept them.
		while (holding.length < 2000) {
			const some = Array.from({ length: 100 }, () => connect(placeOf(app.server)))
			await Promise.all(some.map((socket) => once(socket, 'connect')))
			for (const socket of some) {
				waiting++
				holding.push(hold(socket, kindOf(holding.length)).finally(() => waiting--))
			}
		}
		const last = performance.now()
		const times: number[] = []
		while (waiting > 0 && performance.now() - last < latest + soon) {
			const asked = performance.now()
			const { status } = await fetch(`${app.origin}/anonymous`)
			assert.equal(status, 200)
			times.push(performance.now() - asked)
			await sleep(200)
		}
		assert.equal(waiting, 0, 'all have been ended')
		for (const [i, { text, milliseconds }] of (await Promise.all(holding)).entries()) {
			const { name } = kindOf(i)
			assert.ok(milliseconds <= latest, `${name}: ${milliseconds} ms`)
			assert.match(text, /HTTP\/1\.1 408 /, name)
		}
		assert.ok(times.length > 20 && Math.max(...times) < soon, `${Math.max(...times)} ms`)
		const connections = await new Promise((resolve) =>
			app.server.getConnections((_, count) => resolve(count)),
		)
		assert.ok(Number(connections) < 10, `${connections} are left`)
		assert.deepEqual(app.errors, [])
	})

	it('I2: are ended as well where the server listens by now, or speaks TLS', async () => {
		const { key, cert, ca } = await createDevCertificates()
		const listening = createHttpServer((_, response) => response.end())
		const secure = createHttpsServer({ key, cert }, (_, response) => response.end())
		for (const server of [listening, secure]) {
			server.listen(0, 'localhost')
			await once(server, 'listening')
			assert.equal(hardenServer<Server>(server), server)
		}
		const holding = slow
			.slice(0, 4)
			.flatMap((kind) => [
				hold(connect(placeOf(listening)), kind),
				hold(connectTls({ ...placeOf(secure), servername: 'localhost', ca }), kind),
			])
		for (const { text, milliseconds } of await Promise.all(holding)) {
			assert.ok(milliseconds <= latest, `${milliseconds} ms`)
			assert.match(text, /^HTTP\/1\.1 408 /)
		}
		listening.close()
		secure.close()
	})

	it('I2: may take what the application says that they may, and no server is taken for another', () => {
		const uploads = hardenServer(createHttpServer(), { requestTimeout: 600_000 })
		assert.deepEqual([uploads.headersTimeout, uploads.requestTimeout], [10_000, 600_000])
		const { headersTimeout, requestTimeout } = hardenServer(createHttpServer(), { requestTimeout: 5_000 })
		assert.deepEqual([headersTimeout, requestTimeout], [5_000, 5_000])
		const patient = hardenServer(createHttpServer({ keepAliveTimeout: 65_000 }))
		assert.equal(patient.keepAliveTimeout, 65_000)
		assert.equal(hardenServer(createHttpServer({ keepAliveTimeout: 0 })).keepAliveTimeout, 5_000)
		const isConfig = (error: unknown) => error instanceof BrokerError && error.code === 'ERR_CONFIG'
		for (const wrong of [0, -1, 999, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 86_400_001])
			assert.throws(() => hardenServer(createHttpServer(), { requestTimeout: wrong }), isConfig)
		for (const other of [createHttp2Server(), createNetServer(), {}, null, undefined])
			assert.throws(() => hardenServer(other as unknown as Server), isConfig)
	})
})
