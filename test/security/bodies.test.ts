import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { hardenServer } from '../../src/index.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

const zeros = Buffer.alloc(64 * 1024)
const chunk = Buffer.concat([Buffer.from('10000\r\n'), zeros, Buffer.from('\r\n')])
const form = 'Content-Type: application/x-www-form-urlencoded'
const gigabyte = 1024 ** 3

/** Bytes of a form that are read at most, and of what arrives with them. */
const mostRead = 512 * 1024

/** Bytes by which the process may grow. */
const limit = 5 * 1024 ** 2

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

interface Flood {
	readonly request: string
	readonly headers: readonly string[]
	/** What follows, again and again, until the connection is closed. */
	readonly piece: Buffer
	readonly status: number
}

const floods: readonly Flood[] = [
	{
		request: 'POST /user/authorized',
		headers: [form, `Content-Length: ${56 * 1024 + 1}`],
		piece: zeros,
		status: 413,
	},
	{
		request: 'POST /user/authorized',
		headers: [form, `Content-Length: ${gigabyte}`],
		piece: zeros,
		status: 413,
	},
	{
		request: 'POST /user/authorized',
		headers: [form, 'Transfer-Encoding: chunked'],
		piece: chunk,
		status: 413,
	},
	{
		request: 'POST /user/authorized',
		headers: [form, 'Transfer-Encoding: chunked'],
		piece: Buffer.from('1\r\na\r\n'.repeat(1000)),
		status: 413,
	},
	{
		request: 'POST /user/authorized',
		headers: [form, 'Content-Encoding: gzip', 'Transfer-Encoding: chunked'],
		piece: chunk,
		status: 413,
	},
	{
		request: 'POST /user/authorized',
		headers: ['Content-Type: text/plain', 'Transfer-Encoding: chunked'],
		piece: chunk,
		status: 415,
	},
	{
		request: 'POST /user/authorized',
		headers: ['Content-Type: multipart/form-data; boundary=a', `Content-Length: ${gigabyte}`],
		piece: zeros,
		status: 415,
	},
	{
		request: 'GET /user/authorized',
		headers: [form, 'Transfer-Encoding: chunked'],
		piece: chunk,
		status: 405,
	},
	{
		request: 'PUT /user/authorized',
		headers: [form, `Content-Length: ${gigabyte}`],
		piece: zeros,
		status: 405,
	},
	{ request: 'GET /user/login', headers: [`Content-Length: ${gigabyte}`], piece: zeros, status: 303 },
	{
		request: 'POST /user/logout',
		headers: ['Transfer-Encoding: chunked', 'Sec-Fetch-Site: cross-site', 'Accept: text/html'],
		piece: chunk,
		status: 303,
	},
	{ request: 'GET /user/info', headers: ['Transfer-Encoding: chunked'], piece: chunk, status: 200 },
	{ request: 'GET /user/photo', headers: [`Content-Length: ${gigabyte}`], piece: zeros, status: 401 },
	{ request: 'POST /private/page', headers: ['Transfer-Encoding: chunked'], piece: chunk, status: 401 },
	{ request: 'POST /token', headers: ['Transfer-Encoding: chunked'], piece: chunk, status: 401 },
	{ request: 'POST /anywhere', headers: ['Transfer-Encoding: chunked'], piece: chunk, status: 200 },
]

const headOf = (request: string, headers: readonly string[]) =>
	`${request} HTTP/1.1\r\nHost: localhost\r\n${headers.join('\r\n')}\r\n\r\n`

interface Drained {
	readonly answer: string
	/** Bytes of the body that the server has read. */
	readonly read: number
	readonly milliseconds: number
}

describe('I1: bodies without end', { timeout: 120_000 }, () => {
	let world: World
	let app: Application
	const accepted: Socket[] = []
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
		hardenServer(app.server)
		app.server.on('connection', (socket) => accepted.push(socket))
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	function flood({ request, headers, piece }: Flood): Promise<Drained> {
		const { port, address } = app.server.address() as AddressInfo
		const begun = performance.now()
		let answer = ''
		accepted.length = 0
		return new Promise((resolve) => {
			const socket = connect({ port, host: address })
			const pour = () => {
				while (!socket.destroyed && socket.write(piece)) {}
			}
			socket
				.on('data', (data) => {
					answer += data
				})
				.on('drain', pour)
				.on('error', () => {})
				.once('close', () =>
					resolve({ answer, read: accepted[0]?.bytesRead ?? 0, milliseconds: performance.now() - begun }),
				)
			socket.write(headOf(request, headers))
			pour()
		})
	}

	for (const one of floods)
		it(`I1: ${one.request} (${one.headers.join(', ')}) is answered ${one.status}, and its body not read on`, async () => {
			const { answer, read, milliseconds } = await flood(one)
			assert.match(answer, new RegExp(`^HTTP/1\\.1 ${one.status} `))
			assert.match(answer, /\r\nconnection: close\r\n/i)
			assert.ok(read <= mostRead, `${read} bytes`)
			assert.ok(milliseconds < 5_000, `${milliseconds} ms`)
		})

	it('I1: costs no memory', async () => {
		const { port, address } = app.server.address() as AddressInfo
		const script = `
			import { connect } from 'node:net'
			const piece = Buffer.from(process.env.PIECE, 'base64')
			for (let i = 0; i < Number(process.env.TIMES); i++)
				await new Promise((resolve) => {
					const socket = connect({ port: ${port}, host: '${address}' })
					const pour = () => { while (!socket.destroyed && socket.write(piece)) {} }
					socket.on('data', () => {}).on('drain', pour).on('error', () => {}).once('close', resolve)
					socket.write(process.env.HEAD)
					pour()
				})`
		/** From another process, whose own buffers do not count. */
		const floodWith = async ({ request, headers, piece }: Flood, times: number): Promise<void> => {
			const env = { HEAD: headOf(request, headers), PIECE: piece.toString('base64'), TIMES: String(times) }
			const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env, stdio: 'inherit' })
			const [code] = await once(child, 'exit')
			assert.equal(code, 0)
		}
		for (const one of [floods[1], floods[2], floods[7]] as Flood[]) {
			await floodWith(one, 200)
			collect()
			const before = process.memoryUsage.rss()
			let most = before
			const sampling = setInterval(() => {
				most = Math.max(most, process.memoryUsage.rss())
			}, 5)
			await floodWith(one, 1)
			clearInterval(sampling)
			assert.ok(most - before < limit, `${one.request}: ${most - before} bytes`)
		}
	})

	it('I1: is what its length says, or nothing', async () => {
		const { port, address } = app.server.address() as AddressInfo
		const ask = (text: string, end = false) =>
			new Promise<string>((resolve) => {
				let answer = ''
				const socket = connect({ port, host: address, allowHalfOpen: true })
				socket
					.on('data', (data) => {
						answer += data
					})
					.on('error', () => {})
					.once('end', () => socket.end())
					.once('close', () => resolve(answer))
				socket.write(text)
				if (end) socket.end()
			})
		const post = (...headers: string[]) => headOf('POST /user/authorized', [form, ...headers])
		const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
		// Shorter than what comes: the rest is another request, and none that can be read.
		const shorter = statuses(await ask(`${post('Content-Length: 3')}a=b${'0'.repeat(100_000)}`))
		assert.ok(shorter.length > 0 && shorter.every((status) => status === '400'), shorter.join())
		// Longer than what comes.
		assert.deepEqual(statuses(await ask(`${post('Content-Length: 50')}a=b`, true)), ['400'])
		assert.deepEqual(statuses(await ask(`${post('Transfer-Encoding: chunked')}5\r\na=b`, true)), ['400'])
		for (const headers of [
			['Content-Length: 3', 'Transfer-Encoding: chunked'],
			['Content-Length: 3', 'Content-Length: 4'],
			['Content-Length: -1'],
			['Content-Length: 1e9'],
			['Content-Length: 99999999999999999999999'],
			['Transfer-Encoding: chunked, identity'],
		])
			assert.deepEqual(statuses(await ask(`${post(...headers)}a=b`)), ['400'], headers.join())
	})

	it('D8: whose chunks are malformed tells the application’s log nothing of what came', async () => {
		const { port, address } = app.server.address() as AddressInfo
		const errors: Error[] = []
		const onError = (error: Error) => errors.push(error)
		app.app.on('error', onError)
		try {
			const socket = connect({ port, host: address })
			const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve))
			socket.write(headOf('POST /user/authorized', [form, 'Transfer-Encoding: chunked']))
			await sleep(100)
			socket.write('ZZ\r\ncode=canary-code')
			socket.resume()
			await closed
			await sleep(50)
			assert.ok(errors.length > 0)
			for (const error of errors) {
				const shown = inspect(error, { depth: 9, showHidden: true, maxArrayLength: null })
				assert.doesNotMatch(shown, /rawPacket|63 6f 64 65 3d|canary/, shown.slice(0, 300))
			}
		} finally {
			app.app.off('error', onError)
		}
	})
})
