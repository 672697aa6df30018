import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import { people } from '../../dev/people.js'
import { redisTokenStore, type SessionTicket } from '../../src/index.js'
import type { Reply } from '../fixtures/broker-process.js'
import { createApplication } from '../support/application.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { expire, readCache } from '../support/expire.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { createSetting, type Session, type Setting, secret } from './setting.js'

async function freePort(): Promise<number> {
	const server = createServer().listen(0, '127.0.0.1')
	await once(server, 'listening')
	const { port } = server.address() as AddressInfo
	server.close()
	await once(server, 'close')
	return port
}

/** Three masters that share the slots. */
async function startCluster(): Promise<TestRedis[]> {
	const nodes = await Promise.all(
		Array.from({ length: 3 }, async () => {
			// By default the port and 10,000, which may be none.
			const bus = await freePort()
			const args = ['--cluster-enabled', 'yes', '--cluster-port', String(bus)]
			return { bus, redis: await startRedis({ tcp: true, args }) }
		}),
	)
	const clients = nodes.map(({ redis }) => redis.client())
	const slots = 16_384
	await Promise.all(
		clients.map((client, i) => {
			const [from, to] = [Math.floor((slots * i) / 3), Math.floor((slots * (i + 1)) / 3) - 1]
			return client.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
		}),
	)
	for (const { redis, bus } of nodes.slice(1))
		await clients[0]?.call('CLUSTER', 'MEET', '127.0.0.1', String(redis.port), String(bus))
	const isWhole = async (client: Redis) => {
		const info = await client.cluster('INFO')
		return info.includes('cluster_state:ok') && info.includes('cluster_size:3')
	}
	for (const client of clients) while (!(await isWhole(client))) await sleep(50)
	return nodes.map(({ redis }) => redis)
}

const tokens = (replies: readonly Reply[]) =>
	new Set(replies.map((reply) => ('token' in reply ? reply.token : reply.error)))

describe('a Redis Cluster of three nodes', { timeout: 60_000 }, () => {
	let nodes: TestRedis[]
	let cluster: Cluster
	let startupNodes: { host: string; port: number }[]
	let setting: Setting
	let first: BrokerProcess
	let second: BrokerProcess
	let sessions: Session[]

	before(async () => {
		nodes = await startCluster()
		startupNodes = nodes.map(({ port }) => ({ host: '127.0.0.1', port: port as number }))
		cluster = new Cluster(startupNodes, { redisOptions: { disconnectTimeout: 50 } })
		setting = await createSetting({ rotation: 'strict' }, {}, { nodes: startupNodes })
		;[first, second] = await Promise.all([setting.start(), setting.start()])
		sessions = await Promise.all(Array.from({ length: 12 }, () => setting.signIn(people.grace.upn)))
	})
	after(async () => {
		await setting.close()
		cluster.disconnect()
		await Promise.all(nodes.map((node) => node.stop()))
	})

	const where = (session: Session) => ({ ...setting.where(session), redis: cluster as unknown as Redis })
	const partitions = (found: unknown) =>
		(found as SessionTicket[]).map(({ partition }) => partition).toSorted()
	const sessionsOfGrace = async (one: BrokerProcess) =>
		partitions(
			await one.ask({
				do: 'sessions',
				user: { tenantId: setting.world.standIn.tenantId, objectId: people.grace.oid },
			}),
		)

	it('holds everybody’s tokens, on every node, and answers from them', async () => {
		for (const node of nodes) {
			const held = await node.client().keys('*:t:*')
			assert.ok(held.length > 0 && held.length < sessions.length, `${held.length}`)
		}
		for (const one of [first, second]) {
			const outcomes = async () =>
				new Set((await one.acquire(sessions)).map((reply) => 'outcome' in reply && reply.outcome))
			assert.deepEqual(await outcomes(), new Set(['cached']))
			assert.deepEqual(await outcomes(), new Set(['hit']))
		}
	})

	it('lets one process refresh at a time', async () => {
		for (let round = 0; round < 3; round++) {
			await Promise.all(sessions.map((session) => expire(where(session))))
			// A notice takes longer from node to node than inside one server.
			await sleep(500)
			setting.world.standIn.clearLog()
			const [ours, theirs] = await Promise.all([first.acquire(sessions), second.acquire(sessions)])
			for (const [at, session] of sessions.entries()) {
				const both = tokens([ours[at] as Reply, theirs[at] as Reply])
				assert.equal(both.size, 1, [...both].join())
				const stored = await readCache(where(session))
				const held = Object.values(stored?.cache.AccessToken ?? {}).map(({ secret }) => secret?.slice(-24))
				assert.ok(held.includes([...both][0]))
			}
			assert.equal(setting.world.standIn.count('token', 'refresh_token'), sessions.length)
		}
	})

	it('finds a user’s sessions, and ends them everywhere within a second', async () => {
		const all = partitions(sessions.map(({ msal }) => msal))
		assert.deepEqual(await sessionsOfGrace(second), all)
		const byName = { tenantId: setting.world.standIn.tenantId, username: people.grace.upn }
		assert.deepEqual(partitions(await second.ask({ do: 'sessions', user: byName })), all)
		assert.ok([...tokens(await second.acquire(sessions))].every((token) => !token.startsWith('ERR_')))
		const half = sessions.splice(0, 6)
		await Promise.all(half.map((session) => first.ask({ do: 'signOut', session })))
		await sleep(500)
		assert.deepEqual(tokens(await second.acquire(half)), new Set(['ERR_SIGNED_OUT']))
		for (const session of half) {
			assert.equal(await second.ask({ do: 'isSignedIn', session }), false)
			for (const node of nodes)
				assert.deepEqual(await node.client().keys(`*{${session.msal.partition}}*`), [])
		}
		assert.deepEqual(await sessionsOfGrace(second), partitions(sessions.map(({ msal }) => msal)))
		assert.ok((await second.acquire(sessions)).every((reply) => 'token' in reply))
	})

	it('ends people’s web sessions, which are in other slots than their tokens and the index', async () => {
		const { world } = setting
		const app = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ nodes: startupNodes }),
		})
		const { tenantId } = world.standIn
		const user = { tenantId, mail: people.charles.upn }
		const keysOf = async (kind: string) =>
			(await Promise.all(nodes.map((node) => node.client().keys(`*:${kind}:*`)))).map((keys) => keys.length)
		const count = async (kind: string) => (await keysOf(kind)).reduce((sum, some) => sum + some)
		try {
			const indexed = await count('i')
			const browsers = Array.from({ length: 12 }, () => app.browser())
			for (const browser of browsers) await app.signIn(browser, people.charles.name)
			assert.equal(await count('i'), indexed + 2, 'by id and by name')
			assert.ok(
				(await keysOf('s')).every((there) => there > 0 && there < 12),
				'on every node',
			)
			const tickets = (await first.ask({ do: 'sessions', user })) as SessionTicket[]
			assert.equal(tickets.length, 12)
			await Promise.all(tickets.map((msal) => second.ask({ do: 'signOut', session: { msal } })))
			assert.equal(await count('s'), 0)
			assert.equal(await count('i'), indexed)
			for (const browser of browsers) assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
		} finally {
			await app.close()
		}
	})
})
