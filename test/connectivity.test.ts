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
	type TokenBroker,
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
		const client = redis.client()
		await client.acl('SETUSER', 'deaf', 'on', '>a-password-of-redis', '~*', '+@all', 'resetchannels')
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
		await Promise.all([close(proxy), redis.stop(), world.close()])
	})
	const proxyPort = () => (proxy.address() as AddressInfo).port

	/** Lends a broker; each has threads of its own to start, so a test asks the one that it has as often as it can. */
	async function withBroker(
		{ authority, ...settings }: Overrides,
		work: (checks: () => Promise<Checks>, broker: TokenBroker) => Promise<void>,
	): Promise<void> {
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
		const checks = async () => {
			const list = await broker.checkConnectivity()
			for (const { ok, duration, ...why } of list) {
				assert.ok(duration >= 0)
				if (ok) assert.deepEqual(Object.keys(why), ['name'])
				else assert.ok(why.code && why.message && why.remedy, JSON.stringify(why))
			}
			const found = Object.fromEntries(list.map((check) => [check.name, check]))
			assert.doesNotMatch(JSON.stringify(found), /a-password-of/)
			return found
		}
		try {
			await work(checks, broker)
		} finally {
			await broker.close()
		}
	}
	const well = (found: Checks) => Object.values(found).map(({ name, ok }) => [name, ok])
	const all = ['authority', 'keys', 'store'].map((name) => [name, true])

	it('is the authority, its keys and the store, and with Redis the notices; asked for anew each time', () =>
		withBroker({ store: redisTokenStore({ path: redis.path }) }, async (checks, broker) => {
			await broker.getAuthCodeUrl()
			world.standIn.clearLog()
			assert.deepEqual(well(await checks()), [...all, ['notices', true]])
			assert.deepEqual([world.standIn.count('discovery'), world.standIn.count('keys')], [1, 1])
			assert.equal(world.standIn.log.length, 2)
			world.standIn.inject({ on: 'discovery', status: 503 })
			const { authority, keys, store } = await checks()
			assert.deepEqual([authority?.ok, keys?.ok, store?.ok], [false, false, true])
			assert.match(authority?.message ?? '', /answered 503/)
			world.standIn.inject({ on: 'keys', body: { keys: [] }, status: 200 })
			const one = await checks()
			assert.deepEqual([one.authority?.ok, one.keys?.ok], [true, false])
			assert.deepEqual(well(await checks()), [...all, ['notices', true]])
			await broker.close()
			await assert.rejects(
				broker.checkConnectivity(),
				(error) => error instanceof BrokerError && error.code === 'ERR_BROKER_CLOSED',
			)
		}))

	for (const [what, settings, code, remedy, store] of [
		[
			'whose name nobody knows, beside a Redis that is not there',
			async () => ({
				authority: 'https://nobody.invalid/tenant',
				store: redisTokenStore({ port: await freePort() }),
			}),
			/^(ENOTFOUND|EAI_AGAIN)$/,
			/DNS.*HTTPS_PROXY/,
			['ECONNREFUSED', /REDIS_URL/],
		],
		[
			'whose certificate nobody has signed, beside a Redis that refuses the password',
			async () => ({
				network: {},
				store: redisTokenStore({ path: redis.path, username: 'deaf', password: 'a-password-of-nobody' }),
			}),
			/SELF_SIGNED|UNABLE_TO/,
			/network\.caFile/,
			['WRONGPASS', /password/],
		],
		[
			'that does not know the tenant',
			async () => ({ authority: `${world.standIn.origin}/not-the-tenant` }),
			/^ERR_IDP_PROTOCOL$/,
			/AZURE_TENANT_ID/,
			undefined,
		],
	] as const)
		it(`is not an authority ${what}, with what to do`, async () =>
			withBroker(await settings(), async (checks) => {
				const found = await checks()
				assert.match(found.authority?.code ?? '', code)
				assert.match(found.authority?.remedy ?? '', remedy)
				assert.deepEqual([found.authority?.ok, found.keys?.ok], [false, false])
				assert.match(found.keys?.message ?? '', /authority/)
				assert.equal(found.store?.ok, store === undefined)
				if (!store) return
				for (const of of [found.store, found.notices]) {
					assert.equal(of?.code, store[0])
					assert.match(of?.remedy ?? '', store[1])
					assert.ok(Number(of?.duration) < 2000)
				}
			}))

	it('is reached through the proxy, or not at all: it refuses, or is not there', () =>
		withBroker(
			{
				network: {
					caFile: world.caFile,
					proxy: `http://user:a-password-of-the-proxy@localhost:${proxyPort()}`,
				},
			},
			async (checks) => {
				tunnels.length = 0
				assert.deepEqual(well(await checks()), all)
				assert.deepEqual([...new Set(tunnels)], [world.standIn.host])
				for (const [answer, code, remedy] of [
					['407 Proxy Authentication Required', 'PROXY_407', /password/],
					['403 Forbidden', 'PROXY_403', /NO_PROXY/],
					[undefined, 'ECONNREFUSED', /HTTPS_PROXY/],
				] as const) {
					refusal = answer
					const { port } = proxy.address() as AddressInfo
					if (!answer) await close(proxy)
					const { authority } = await checks()
					if (!answer) await once(proxy.listen(port, 'localhost'), 'listening')
					refusal = undefined
					assert.equal(authority?.code, code)
					assert.match(authority?.message ?? '', /^The proxy localhost:/)
					assert.match(authority?.remedy ?? '', remedy)
				}
			},
		))

	it('is reached without the proxy where it needs none, by who may not hear notices', async () => {
		const network = {
			caFile: world.caFile,
			proxy: `http://localhost:${proxyPort()}`,
			noProxy: 'localhost',
		}
		const store = redisTokenStore({ path: redis.path, username: 'deaf', password: 'a-password-of-redis' })
		await withBroker({ network, store }, async (checks) => {
			tunnels.length = 0
			const { notices, ...found } = await checks()
			assert.deepEqual(well(found), all)
			assert.deepEqual(tunnels, [])
			assert.equal(notices?.code, 'NOPERM')
			assert.match(notices?.remedy ?? '', /channels/)
		})
	})

	it('is known in time not to be there, and to be silent', async () => {
		const port = await freePort()
		const authority = `https://localhost:${port}/tenant`
		const network = { timeout: 300 }
		await withBroker({ authority, network }, async (checks) => {
			const absent = await checks()
			assert.equal(absent.authority?.code, 'ECONNREFUSED')
			assert.match(absent.authority?.remedy ?? '', /firewall.*HTTPS_PROXY/)
			const sockets = new Set<Socket>()
			const silent = createServer((socket) => void sockets.add(socket.on('error', () => {})))
			await once(silent.listen(port, 'localhost'), 'listening')
			try {
				const { authority: found } = await checks()
				assert.equal(found?.ok, false)
				assert.ok(Number(found?.duration) < 2000)
				assert.match(found?.remedy ?? '', /firewall/)
				const pool = { threads: 1, taskTimeout: 200 }
				await withBroker({ authority, pool, network: { timeout: 600 } }, async (hurried) => {
					assert.deepEqual(
						Object.values(await hurried()).map(({ name, code }) => [name, code]),
						['authority', 'keys', 'store'].map((name) => [name, 'ERR_OVERLOADED']),
					)
				})
			} finally {
				for (const socket of sockets) socket.destroy()
				silent.close()
			}
		})
	})
})

async function close(server: Server): Promise<void> {
	server.closeAllConnections()
	await once(server.close(), 'close')
}
