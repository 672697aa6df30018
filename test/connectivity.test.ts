import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer, type Server } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { clientIds, clientSecrets } from '../dev/directory.js'
import {
	BrokerError,
	type ConnectivityCheck,
	createTokenBroker,
	type KoaMsalOptions,
	redisTokenStore,
} from '../src/index.js'
import { secret } from './cluster/setting.js'
import { createWorld, type World } from './support/application.js'
import { freePort, startRedis, type TestRedis } from './support/redis.js'

type Overrides = Omit<Partial<KoaMsalOptions>, 'auth'> & { readonly authority?: string }
type Checks = Partial<Record<ConnectivityCheck['name'], ConnectivityCheck>>

describe('what a broker reaches (check_proxy)', () => {
	let world: World
	let redis: TestRedis
	let proxy: Server
	/** Where the proxy was asked to lead, and how it answers; `undefined`: it leads there. */
	const tunnels: string[] = []
	let refusal: string | undefined
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		proxy = createHttpServer().on('connect', (request, socket) => {
			tunnels.push(request.url ?? '')
			if (refusal !== undefined) return socket.end(`HTTP/1.1 ${refusal}\r\n\r\n`)
			const [host, port] = (request.url ?? '').split(':')
			const target = connect(Number(port), host, () => {
				socket.write('HTTP/1.1 200 OK\r\n\r\n')
				target.pipe(socket).pipe(target)
			})
			for (const end of [target, socket]) end.on('error', () => {})
		})
		await once(proxy.listen(0, 'localhost'), 'listening')
	})
	after(async () => {
		proxy.closeAllConnections()
		proxy.close()
		await Promise.all([redis.stop(), world.close()])
	})
	const proxyPort = () => (proxy.address() as AddressInfo).port

	async function checks({ authority, ...settings }: Overrides = {}): Promise<Checks> {
		const broker = await createTokenBroker({
			auth: {
				clientId: clientIds.web,
				clientSecret: clientSecrets.web,
				authority: authority ?? world.standIn.authority,
				redirectUri: 'http://localhost/user/authorized',
			},
			secrets: [secret],
			pool: { threads: 1 },
			network: { caFile: world.caFile },
			...settings,
		})
		try {
			const list = await broker.checkConnectivity()
			for (const { ok, duration, ...why } of list) {
				assert.ok(duration >= 0)
				if (ok) assert.deepEqual(Object.keys(why), ['name'])
				else assert.ok(why.code && why.message && why.remedy, JSON.stringify(why))
			}
			return Object.fromEntries(list.map((check) => [check.name, check]))
		} finally {
			await broker.close()
		}
	}
	const well = (found: Checks) => Object.values(found).map(({ name, ok }) => [name, ok])

	it('is the authority, its keys and the store, and with Redis the notices of other processes', async () => {
		world.standIn.clearLog()
		const all = ['authority', 'keys', 'store'].map((name) => [name, true])
		assert.deepEqual(well(await checks()), all)
		assert.deepEqual([world.standIn.count('discovery'), world.standIn.count('keys')], [1, 1])
		assert.equal(world.standIn.log.length, 2)
		const withRedis = await checks({ store: redisTokenStore({ path: redis.path }) })
		assert.deepEqual(well(withRedis), [...all, ['notices', true]])
	})

	it('is asked for anew each time, although it is known already', async () => {
		const broker = await createTokenBroker({
			auth: {
				clientId: clientIds.web,
				clientSecret: clientSecrets.web,
				authority: world.standIn.authority,
				redirectUri: 'http://localhost/user/authorized',
			},
			network: { caFile: world.caFile },
			secrets: [secret],
		})
		await broker.getAuthCodeUrl()
		world.standIn.inject({ on: 'discovery', status: 503 })
		const [authority, keys] = await broker.checkConnectivity()
		assert.deepEqual([authority?.ok, keys?.ok], [false, false])
		assert.match(authority?.message ?? '', /answered 503/)
		world.standIn.inject({ on: 'keys', body: { keys: [] }, status: 200 })
		assert.deepEqual(
			(await broker.checkConnectivity()).map(({ ok }) => ok),
			[true, false, true],
		)
		assert.ok((await broker.checkConnectivity()).every(({ ok }) => ok))
		await broker.close()
		await assert.rejects(
			broker.checkConnectivity(),
			(error) => error instanceof BrokerError && error.code === 'ERR_BROKER_CLOSED',
		)
	})

	it('is not there: the name, the port, the certificate, the tenant, each with what to do', async () => {
		const closed = await freePort()
		for (const [settings, code, remedy] of [
			[{ authority: 'https://nobody.invalid/tenant' }, /^(ENOTFOUND|EAI_AGAIN)$/, /DNS.*HTTPS_PROXY/],
			[{ authority: `https://localhost:${closed}/tenant` }, /^ECONNREFUSED$/, /firewall.*HTTPS_PROXY/],
			[{ network: {} }, /SELF_SIGNED|UNABLE_TO/, /network\.caFile/],
			[{ authority: `${world.standIn.origin}/not-the-tenant` }, /^ERR_IDP_PROTOCOL$/, /AZURE_TENANT_ID/],
		] as const) {
			const { authority, keys, store } = await checks(settings)
			assert.match(authority?.code ?? '', code)
			assert.match(authority?.remedy ?? '', remedy)
			assert.deepEqual([authority?.ok, keys?.ok, store?.ok], [false, false, true])
			assert.match(keys?.message ?? '', /authority/)
		}
	})

	it('is reached through the proxy, and nobody else is', async () => {
		tunnels.length = 0
		const network = { caFile: world.caFile, proxy: `http://localhost:${proxyPort()}` }
		assert.ok(well(await checks({ network })).every(([, ok]) => ok))
		assert.deepEqual([...new Set(tunnels)], [world.standIn.host])
		tunnels.length = 0
		assert.ok(well(await checks({ network: { ...network, noProxy: 'localhost' } })).every(([, ok]) => ok))
		assert.deepEqual(tunnels, [])
	})

	it('is not, for the proxy refuses or is not there; its password is not told', async () => {
		const closed = await freePort()
		const at = (port: number) => `http://user:a-password-of-the-proxy@localhost:${port}`
		for (const [answer, url, code, remedy] of [
			['407 Proxy Authentication Required', at(proxyPort()), 'PROXY_407', /password/],
			['403 Forbidden', at(proxyPort()), 'PROXY_403', /NO_PROXY/],
			[undefined, at(closed), 'ECONNREFUSED', /HTTPS_PROXY/],
		] as const) {
			refusal = answer
			const found = await checks({ network: { caFile: world.caFile, proxy: url } })
			refusal = undefined
			assert.equal(found.authority?.code, code)
			assert.match(found.authority?.message ?? '', /^The proxy localhost:/)
			assert.match(found.authority?.remedy ?? '', remedy)
			assert.doesNotMatch(JSON.stringify(found), /a-password-of-the-proxy/)
		}
	})

	it('is known in time to be silent', async () => {
		const sockets = new Set<Socket>()
		const silent = createServer((socket) => void sockets.add(socket.on('error', () => {}))).listen(
			0,
			'localhost',
		)
		await once(silent, 'listening')
		try {
			const { port } = silent.address() as AddressInfo
			const found = await checks({ authority: `https://localhost:${port}/tenant`, network: { timeout: 300 } })
			assert.equal(found.authority?.ok, false)
			assert.ok(Number(found.authority?.duration) < 2000)
			assert.match(found.authority?.remedy ?? '', /firewall/)
			const hurried = await checks({
				authority: `https://localhost:${port}/tenant`,
				pool: { threads: 1, taskTimeout: 200 },
				network: { timeout: 600 },
			})
			assert.deepEqual(
				Object.values(hurried).map(({ name, code }) => [name, code]),
				['authority', 'keys', 'store'].map((name) => [name, 'ERR_OVERLOADED']),
			)
		} finally {
			for (const socket of sockets) socket.destroy()
			silent.close()
		}
	})

	it('is a Redis that is not there, refuses the password, or lets nothing be heard', async () => {
		const client = redis.client()
		await client.acl('SETUSER', 'deaf', 'on', '>a password of Redis', '~*', '+@all', 'resetchannels')
		for (const [source, store, notices, remedy] of [
			[{ port: await freePort() }, 'ECONNREFUSED', 'ECONNREFUSED', /REDIS_URL/],
			[{ path: redis.path, username: 'deaf', password: 'not it' }, 'WRONGPASS', 'WRONGPASS', /password/],
			[
				{ path: redis.path, username: 'deaf', password: 'a password of Redis' },
				undefined,
				'NOPERM',
				/channels/,
			],
		] as const) {
			const found = await checks({ store: redisTokenStore({ ...source }) })
			assert.deepEqual([found.authority?.ok, found.keys?.ok], [true, true])
			assert.deepEqual([found.store?.code, found.notices?.code], [store, notices])
			assert.match(found.notices?.remedy ?? '', remedy)
			assert.ok(Number(found.store?.duration) < 2000 && Number(found.notices?.duration) < 2000)
			assert.doesNotMatch(JSON.stringify(found), /a password of Redis|not it/)
		}
	})
})
