import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import { createDevCertificates, type DevCertificates } from '../../dev/certificates.js'
import { createHttp } from '../../src/network.js'
import { createSetting, type Session, type Setting } from '../cluster/setting.js'
import { type BrokerProcess, wordsOf } from '../support/broker-process.js'

/** The provider's deadline, in milliseconds. */
const timeout = 2000
/** Where the provider's name leads to instead: another address of this machine, where its port is free. */
const elsewhere = '127.0.0.2'

describe('F4: the provider’s name leads elsewhere', { timeout: 120_000 }, () => {
	const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
	const names = join(folder, 'names')
	const preload = `${new URL('../fixtures/names.js', import.meta.url).href}?file=${encodeURIComponent(names)}`
	const lead = (place?: string) =>
		writeFileSync(names, JSON.stringify(place === undefined ? {} : { localhost: place }))
	let setting: Setting
	let wrong: Readonly<Record<'unknown' | 'misnamed' | 'expired', DevCertificates>>
	/** One asks for the configuration first, one for tokens at once. */
	let processes: readonly BrokerProcess[]
	const struck: Session[] = []
	before(async () => {
		lead()
		setting = await createSetting({ rotation: 'strict' })
		const [unknown, misnamed, expired] = await Promise.all([
			createDevCertificates(),
			createDevCertificates({ names: [{ type: 'dns', value: 'other.localhost' }] }),
			createDevCertificates({ notAfter: new Date(Date.now() - 60_000) }),
		])
		wrong = { unknown, misnamed, expired }
		const { standIn } = setting.world
		// Who vouches for the last two is believed: only what they say is wrong.
		const caFile = join(folder, 'ca.pem')
		writeFileSync(caFile, [standIn.ca, misnamed.ca, expired.ca].join('\n'))
		const http = createHttp({ timeout, ca: standIn.ca })
		const configuration = await http(`${standIn.authority}/v2.0/.well-known/openid-configuration`)
		await http.close()
		const { auth } = setting.options()
		const metadata = { authorityMetadata: configuration.body.toString() }
		processes = await Promise.all(
			[{}, metadata].map((known) =>
				setting.start({ auth: { ...auth, ...known }, network: { caFile, timeout } }, { preloads: [preload] }),
			),
		)
	})
	after(async () => {
		await setting?.close()
		rmSync(folder, { recursive: true })
	})

	/** Has every process ask for a new token where the name leads, and be refused in time. */
	async function assertUnavailable(why: RegExp, atLeast = 0): Promise<void> {
		const { standIn } = setting.world
		for (const one of processes) {
			const session = await setting.signIn()
			standIn.clearLog()
			const [reply] = await one.acquire([session], { forceRefresh: true })
			assert.ok(reply && 'error' in reply, JSON.stringify(reply))
			assert.equal(reply.error, 'ERR_IDP_UNAVAILABLE', reply.message)
			assert.match(reply.message, why)
			assert.ok(reply.retryAfter)
			assert.ok(reply.ms >= atLeast && reply.ms < timeout + 500, `${reply.ms} ms`)
			assert.equal(standIn.count('*'), 0, 'nothing has come to the provider')
			struck.push(session)
		}
	}

	/** The same where another server has the provider's port. */
	async function assertUnavailableAt(server: Server, why: RegExp, atLeast?: number): Promise<void> {
		const sockets: Socket[] = []
		server.on('connection', (socket: Socket) => void sockets.push(socket.on('error', () => {})))
		server.listen(Number(setting.world.standIn.host.split(':')[1]), elsewhere)
		await once(server, 'listening')
		lead(elsewhere)
		try {
			await assertUnavailable(why, atLeast)
			assert.ok(sockets.length >= processes.length, `${sockets.length} connections`)
		} finally {
			for (const socket of sockets) socket.destroy()
			server.close()
			await once(server, 'close')
		}
	}

	/** A server over TLS. @returns also what it was told */
	function speaking({ key, cert }: DevCertificates, answer: string): [server: Server, heard: string[]] {
		const heard: string[] = []
		const server = createTlsServer({ key, cert }, (socket) => {
			socket.on('error', () => {})
			socket.on('data', (bytes) => {
				heard.push(String(bytes))
				socket.end(answer)
			})
		})
		return [server, heard]
	}

	it('to nowhere, as nobody knows it: 503 in time', async () => {
		lead('nowhere.invalid')
		await assertUnavailable(/ENOTFOUND|EAI_AGAIN/)
	})

	it('to where nobody listens: 503 in time', async () => {
		lead(elsewhere)
		await assertUnavailable(/ECONNREFUSED/)
	})

	it('to a server that resets: 503 in time', async () => {
		const server = createServer((socket) => socket.resetAndDestroy())
		await assertUnavailableAt(server, /ECONNRESET/)
	})

	it('to a server that says nothing: 503 at the deadline', async () => {
		await assertUnavailableAt(createServer(), /Timeout/i, timeout - 100)
	})

	for (const [what, certificate, why] of [
		['nobody vouches for', 'unknown', /SELF_SIGNED|UNABLE_TO_/],
		['is for another name', 'misnamed', /ALTNAME_INVALID/],
		['has expired', 'expired', /CERT_HAS_EXPIRED/],
	] as const)
		it(`to a server with a certificate that ${what}: 503 in time, and not a byte is said to it`, async () => {
			const [server, heard] = speaking(wrong[certificate], 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n')
			await assertUnavailableAt(server, why)
			assert.deepEqual(heard, [])
		})

	// RFC 9110, 2.5: a whole answer in HTTP/1.0 is an answer, and undici does not tell which it was.
	for (const [what, answer, why] of [
		['an error', 'HTTP/1.0 503 Service Unavailable\r\n\r\n<h1>No</h1>', /answered 503/],
		['half an answer', 'HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{"access_token":"', /LENGTH_MISMATCH/],
	] as const)
		it(`to an old proxy, which says ${what} in HTTP/1.0: 503 in time`, async () => {
			const [server, heard] = speaking(setting.world.standIn.tls, answer)
			await assertUnavailableAt(server, why)
			assert.deepEqual(
				heard.map((request) => request.split(' ')[0]),
				['GET', 'POST'],
				'one asks for the configuration, one for a token',
			)
		})

	it('and back: all sessions are as they were', async () => {
		lead()
		assert.equal(struck.length, 9 * processes.length)
		// A session whose refresh has failed leaves the provider alone for a second.
		await sleep(1100)
		for (const one of processes) {
			const replies = await one.acquire(struck, { forceRefresh: true })
			assert.deepEqual(wordsOf(replies), ['refreshed'])
		}
	})
})
