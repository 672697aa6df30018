import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
	createClientCertificate,
	createDevCertificates,
	type DevCertificates,
} from '../../dev/certificates.js'
import { clientIds, clientSecrets, TENANT_ID } from '../../dev/directory.js'
import { type RedisSource, redisTokenStore, type SessionTicket } from '../../src/index.js'
import { closeRedis, onRedis, openRedis } from '../../src/redis-client.js'
import type { ProcessOptions } from '../fixtures/broker-process.js'
import { createApplication, createWorld, type World } from '../support/application.js'
import { BrokerProcess } from '../support/broker-process.js'
import { freePort, startRedis, type TestRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('Redis over TLS', () => {
	let world: World
	let folder: string
	let certificates: DevCertificates
	const servers: TestRedis[] = []
	before(async () => {
		;[world, certificates, folder] = await Promise.all([
			createWorld(),
			createDevCertificates(),
			mkdtemp(join(tmpdir(), 'koa-msal-tls-')),
		])
	})
	after(async () => {
		await Promise.all([world.close(), ...servers.map((server) => server.stop())])
		await rm(folder, { recursive: true })
	})

	const write = (name: string, text: string) => {
		writeFileSync(join(folder, name), text)
		return join(folder, name)
	}
	/** A server that speaks nothing but TLS. */
	const start = async (...args: string[]) => {
		const port = await freePort()
		const files = [
			...['--tls-cert-file', write('cert.pem', certificates.cert)],
			...['--tls-key-file', write('key.pem', certificates.key)],
			...['--tls-ca-cert-file', write('ca.pem', certificates.ca)],
		]
		const redis = await startRedis({ args: ['--tls-port', String(port), ...files, ...args] })
		servers.push(redis)
		return { redis, port }
	}
	const worksWith = async (source: RedisSource) => {
		const app = await createApplication(world, { secrets, store: redisTokenStore(source) })
		try {
			const browser = app.browser()
			await app.signIn(browser)
			const { outcome } = (await browser.get(`${app.origin}/token?force`)).json<{ outcome: string }>()
			assert.equal(outcome, 'refreshed')
			await browser.get(`${app.origin}/user/logout`)
			assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
		} finally {
			await app.close()
		}
	}
	const unavailable = (message: RegExp) => ({ code: 'ERR_STORE_UNAVAILABLE', status: 503, message })
	const isRefused = async (source: RedisSource, message: RegExp) => {
		const client = openRedis(redisTokenStore(source).connection)
		try {
			await assert.rejects(
				onRedis(client, (one) => one.ping()),
				unavailable(message),
			)
		} finally {
			closeRedis(client)
		}
	}

	it('keeps sessions and tokens when its authority is known, as text or as bytes', async () => {
		const { port } = await start('--tls-auth-clients', 'no')
		const { ca } = certificates
		await worksWith({ host: 'localhost', port, tls: { ca } })
		await worksWith({ host: '127.0.0.1', port, tls: { ca: [Buffer.from(ca)] } })
	})

	it('is refused when it is not known, in every thread, and is told nothing without TLS instead', async () => {
		const { redis, port } = await start('--tls-auth-clients', 'no')
		const { ca } = await createDevCertificates()
		const monitor = await redis.monitor()
		const store = redisTokenStore({ host: 'localhost', port, password: 'secret', tls: { ca } })
		const app = await createApplication(world, { secrets, store })
		const account = { homeAccountId: 'x', tenantId: TENANT_ID, objectId: 'x', username: 'x' }
		const msal: SessionTicket = { partition: 'x'.repeat(43), account: account as SessionTicket['account'] }
		try {
			const refused = unavailable(/SELF_SIGNED_CERT_IN_CHAIN.*tls\.ca/)
			await assert.rejects(app.broker.isSignedIn({ msal }), refused)
			await isRefused(`rediss://localhost:${port}`, /SELF_SIGNED_CERT_IN_CHAIN.*NODE_EXTRA_CA_CERTS/)
			await isRefused(
				{ host: 'localhost', port, tls: { ca: certificates.ca, servername: 'redis.example' } },
				/ERR_TLS_CERT_ALTNAME_INVALID.*tls\.servername/,
			)
			await isRefused({ host: 'localhost', port }, /Redis/)
			assert.deepEqual(await monitor.commands(), [])
		} finally {
			monitor.stop()
			await app.close()
		}
	})

	it('is checked whatever NODE_TLS_REJECT_UNAUTHORIZED says, unless the setting says not to', async (t) => {
		const { port } = await start('--tls-auth-clients', 'no')
		t.after(() => {
			delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
		})
		process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
		const refused = /SELF_SIGNED_CERT_IN_CHAIN/
		await isRefused(`rediss://localhost:${port}`, refused)
		await isRefused({ host: 'localhost', port, tls: {} }, refused)
		await isRefused({ host: 'localhost', port, tls: { rejectUnauthorized: undefined } }, refused)
		await isRefused({ host: 'localhost', port, tls: true as never }, refused)
		const client = openRedis(
			redisTokenStore({ host: 'localhost', port, tls: { rejectUnauthorized: false } }).connection,
		)
		try {
			assert.equal(await onRedis(client, (one) => one.ping()), 'PONG')
		} finally {
			closeRedis(client)
		}
	})

	it('may know its clients by their certificates', async () => {
		const { privateKey, certificate } = await createClientCertificate()
		const { port } = await start(
			'--tls-auth-clients',
			'yes',
			'--tls-ca-cert-file',
			write('clients.pem', certificate),
		)
		const tls = { ca: certificates.ca, cert: certificate, key: privateKey }
		await worksWith({ host: 'localhost', port, tls })
		await isRefused(
			{ host: 'localhost', port, tls: { ca: certificates.ca } },
			/CERTIFICATE_REQUIRED|ECONNRESET/,
		)
	})

	it('is known by a file of authorities that the process was started with', async () => {
		const { port } = await start('--tls-auth-clients', 'no')
		const options: ProcessOptions = {
			auth: {
				clientId: clientIds.web,
				clientSecret: clientSecrets.web,
				authority: world.standIn.authority,
				redirectUri: 'http://localhost/user/authorized',
			},
			secrets,
			redis: `rediss://localhost:${port}`,
		}
		const one = await BrokerProcess.start(options, {
			env: { NODE_EXTRA_CA_CERTS: write('ca.pem', certificates.ca) },
		})
		try {
			const user = { tenantId: world.standIn.tenantId, username: 'nobody@contoso.example' }
			assert.deepEqual(await one.ask({ do: 'sessions', user }), [])
		} finally {
			await one.close()
		}
	})

	it('may be a cluster', async () => {
		const bus = await freePort()
		const { redis, port } = await start(
			...['--tls-auth-clients', 'no', '--tls-cluster', 'yes'],
			...['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-announce-ip', '127.0.0.1'],
		)
		await redis.client().call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
		while (!(await redis.client().cluster('INFO')).includes('cluster_state:ok')) await sleep(50)
		await worksWith({
			nodes: [{ host: '127.0.0.1', port }],
			redisOptions: { tls: { ca: certificates.ca } } as never,
		})
	})
})
