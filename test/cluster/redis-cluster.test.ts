import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import { people } from '../../dev/people.js'
import { redisTokenStore, type SessionTicket } from '../../src/index.js'
import { listenForSignOuts, type SignOutNotices } from '../../src/sign-out-notices.js'
import type { Reply } from '../fixtures/broker-process.js'
import { createApplication } from '../support/application.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { expire, readCache } from '../support/expire.js'
import { freePort, startRedis, type TestRedis } from '../support/redis.js'
import { clusterRights } from '../support/redis-rights.js'
import { createSetting, namespace, type Session, type Setting, secret } from './setting.js'

/** So many fall on all of three nodes, but for once in 60,000 times. */
const many = 30

const password = 'password-of-the-app'

/** Milliseconds after which a node that is silent has failed; the others go on without its slots. */
const nodeTimeout = 1000

/** Three masters that share the slots, and a replica of the first when it is wanted. */
async function startCluster(replica: boolean, args: readonly string[] = []): Promise<TestRedis[]> {
	const nodes = await Promise.all(
		Array.from({ length: replica ? 4 : 3 }, async () => {
			// By default the port and 10,000, which may be none.
			const bus = await freePort()
			const own = ['--cluster-enabled', 'yes', '--cluster-port', String(bus)]
			own.push('--cluster-node-timeout', String(nodeTimeout), '--cluster-require-full-coverage', 'no')
			return { bus, redis: await startRedis({ tcp: true, args: [...own, ...args] }) }
		}),
	)
	const clients = nodes.map(({ redis }) => redis.client())
	const [first] = clients as [Redis]
	const slots = 16_384
	await Promise.all(
		clients.slice(0, 3).map((client, i) => {
			const [from, to] = [Math.floor((slots * i) / 3), Math.floor((slots * (i + 1)) / 3) - 1]
			return client.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
		}),
	)
	for (const { redis, bus } of nodes.slice(1))
		await first.call('CLUSTER', 'MEET', '127.0.0.1', String(redis.port), String(bus))
	for (const client of clients)
		await until(async () => {
			const info = await client.cluster('INFO')
			return info.includes('cluster_size:3') && info.includes(`cluster_known_nodes:${nodes.length}`)
		}, 20_000)
	const [fourth] = clients.slice(3)
	if (fourth) {
		await fourth.call('CLUSTER', 'REPLICATE', String(await first.cluster('MYID')))
		await until(async () => (await fourth.info('replication')).includes('master_link_status:up'), 20_000)
	}
	return nodes.map(({ redis }) => redis)
}

async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<void> {
	const began = performance.now()
	while (!(await condition())) {
		assert.ok(performance.now() - began < milliseconds, `not within ${milliseconds} ms: ${condition}`)
		await sleep(50)
	}
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
		nodes = await startCluster(false)
		startupNodes = nodes.map(({ port }) => ({ host: '127.0.0.1', port: port as number }))
		cluster = new Cluster(startupNodes, { redisOptions: { disconnectTimeout: 50 } })
		setting = await createSetting({ rotation: 'strict' }, {}, { nodes: startupNodes })
		;[first, second] = await Promise.all([setting.start(), setting.start()])
		sessions = await Promise.all(Array.from({ length: many }, () => setting.signIn(people.grace.upn)))
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

	it('lists the sessions on all nodes, and cleans them without harm', async () => {
		const listed: string[] = []
		for await (const { id } of setting.broker.sessions.list({ objectId: people.grace.oid })) listed.push(id)
		const user = { tenantId: setting.world.standIn.tenantId, objectId: people.grace.oid }
		const found = await setting.broker.sessions.find(user)
		assert.deepEqual(listed.toSorted(), found.map(({ id }) => id).toSorted())
		assert.equal(listed.length, sessions.length)
		const counts = await setting.broker.sessions.clean()
		assert.deepEqual(counts, { damaged: 0, orphaned: 0, older: 0, unreadable: 0, left: 0 })
		const ended = sessions.pop() as Session
		const [one] = found.filter(({ partition }) => partition === ended.msal.partition)
		assert.equal(await setting.broker.sessions.revoke(one?.id ?? ''), 1)
		assert.deepEqual(await sessionsOfGrace(second), partitions(sessions.map(({ msal }) => msal)))
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
			const browsers = Array.from({ length: many }, () => app.browser())
			for (const browser of browsers) await app.signIn(browser, people.charles.name)
			assert.equal(await count('i'), indexed + 2, 'by id and by name')
			assert.ok(
				(await keysOf('s')).every((there) => there > 0 && there < many),
				'on every node',
			)
			const tickets = (await first.ask({ do: 'sessions', user })) as SessionTicket[]
			assert.equal(tickets.length, many)
			await Promise.all(tickets.map((msal) => second.ask({ do: 'signOut', session: { msal } })))
			assert.equal(await count('s'), 0)
			assert.equal(await count('i'), indexed)
			for (const browser of browsers) assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
		} finally {
			await app.close()
		}
	})
})

describe('a Redis Cluster that loses nodes', { timeout: 60_000 }, () => {
	let nodes: TestRedis[]
	let setting: Setting
	let first: BrokerProcess
	let second: BrokerProcess

	const optionsOf = (connectionName: string) => ({
		nodes: nodes.map(({ port }) => ({ host: '127.0.0.1', port: port as number })),
		redisOptions: { connectionName, username: 'app', password } as never,
	})
	before(async () => {
		nodes = await startCluster(true, ['--user', 'app', 'on', `>${password}`, ...clusterRights.rules])
		setting = await createSetting({}, {}, optionsOf('setting'))
		;[first, second] = (await Promise.all(
			['first', 'second'].map((name) => setting.start({ redis: optionsOf(name) })),
		)) as [BrokerProcess, BrokerProcess]
	})
	after(async () => {
		await setting.close()
		await Promise.all(nodes.map((node) => node.stop()))
	})

	afterEach(async () => {
		for (const node of nodes) assert.deepEqual(await node.client().acl('LOG'), [], 'a right is missing')
	})

	/** The node where the connection of that name has subscribed. */
	const whereListens = async (name: string): Promise<TestRedis | undefined> => {
		for (const node of nodes) {
			const list = (await node.client().call('CLIENT', 'LIST')) as string
			if (new RegExp(` name=\\S*${name} .* sub=1 `).test(list)) return node
		}
		return undefined
	}
	/** Signs people in until it is one whose tokens are on that node. */
	const signInOn = async (node: TestRedis): Promise<Session> => {
		for (;;) {
			const session = await setting.signIn()
			const keys = await node.client().keys(`*:t:{${session.msal.partition}}`)
			if (keys.length > 0) return session
		}
	}
	const outcomeOf = async (session: Session) => {
		const [reply] = await second.acquire([session])
		return reply && ('error' in reply ? reply.error : reply.outcome)
	}
	const isWhole = async () => {
		const states = await Promise.all(nodes.map((node) => node.client().cluster('INFO')))
		return states.every(
			(state) => state.includes('cluster_state:ok') && state.includes('cluster_slots_ok:16384'),
		)
	}
	const isHeard = ({ heardSince }: SignOutNotices) => Number.isFinite(heardSince)

	it('answers 503 in time for a node that hangs, and from its replica as soon as that has taken over', async () => {
		const [master, , , replica] = nodes as [TestRedis, TestRedis, TestRedis, TestRedis]
		const session = await signInOn(master)
		const acquire = async () => (await second.acquire([session], { forceRefresh: true }))[0] as Reply
		await until(async () => 'token' in (await acquire()), 5000)
		process.kill(master.pid, 'SIGSTOP')
		try {
			const reply = await acquire()
			assert.deepEqual('error' in reply && [reply.error, reply.retryAfter], ['ERR_STORE_UNAVAILABLE', 1])
			assert.ok(reply.ms < 1100, `${reply.ms} ms`)
			await until(async () => (await replica.client().info('replication')).includes('role:master'), 20_000)
			await until(async () => 'token' in (await acquire()), 5000)
		} finally {
			process.kill(master.pid, 'SIGCONT')
		}
	})

	it('answers while a slot moves from node to node', async () => {
		const { msal } = await setting.signIn()
		// Its slot is of the second third.
		const session = { msal: { ...msal, partition: 'x'.repeat(43) } }
		const [, from, to] = nodes as [TestRedis, TestRedis, TestRedis]
		const slot = String(await from.client().cluster('KEYSLOT', `{${session.msal.partition}}`))
		const [idOfFrom, idOfTo] = await Promise.all([from, to].map((node) => node.client().cluster('MYID')))
		const set = (node: TestRedis, ...how: unknown[]) =>
			node.client().call('CLUSTER', 'SETSLOT', slot, ...how.map(String))
		await set(to, 'IMPORTING', idOfFrom)
		await set(from, 'MIGRATING', idOfTo)
		assert.equal(await first.ask({ do: 'isSignedIn', session }), false)
		assert.match(await to.client().info('commandstats'), /cmdstat_asking:calls=1,/)
		await Promise.all([set(from, 'STABLE'), set(to, 'STABLE')])
	})

	it('is listened to at another node when one dies, and what was missed is known to be', async () => {
		const forgotten: string[] = []
		const { connection } = redisTokenStore(optionsOf('listener'))
		const notices = listenForSignOuts(connection, namespace, (partition) => forgotten.push(partition))
		try {
			await until(async () => isHeard(notices), 5000)
			const { heardSince } = notices
			const node = (await whereListens('listener')) as TestRedis
			await node.kill()
			await until(async () => isHeard(notices) && notices.heardSince > heardSince, 5000)
			const other = nodes.find((one) => one !== node) as TestRedis
			await other.client().publish(`${namespace}:signed-out`, 'a partition')
			await until(async () => forgotten.includes('a partition'), 1000)
			await node.restart()
			await until(isWhole, 10_000)
		} finally {
			await notices.close()
		}
	})
	it('has nobody believe a held token for long who could not hear of its sign-out', async () => {
		const session = await setting.signIn()
		await until(async () => (await outcomeOf(session)) === 'hit', 5000)
		const node = (await whereListens('second')) as TestRedis
		process.kill(second.child.pid as number, 'SIGSTOP')
		try {
			await node.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub')
			await first.ask({ do: 'signOut', session })
		} finally {
			process.kill(second.child.pid as number, 'SIGCONT')
		}
		await until(async () => (await outcomeOf(session)) === 'ERR_SIGNED_OUT', 5000)
	})

	it('is listened to at another node when one has left, although that goes on by itself', async () => {
		const { connection } = redisTokenStore(optionsOf('leaving'))
		const notices = listenForSignOuts(connection, namespace, () => {})
		try {
			await until(async () => isHeard(notices), 5000)
			const { heardSince } = notices
			const node = (await whereListens('leaving')) as TestRedis
			const id = String(await node.client().cluster('MYID'))
			// A master may leave only when it is empty.
			await node
				.client()
				.flushall()
				.catch(() => {})
			await node.client().call('CLUSTER', 'RESET', 'HARD')
			// Its replica, if it has one, does not forget its master.
			for (const other of nodes.filter((one) => one !== node))
				await other
					.client()
					.call('CLUSTER', 'FORGET', id)
					.catch(() => {})
			await until(async () => isHeard(notices) && notices.heardSince > heardSince, 15_000)
			assert.notEqual(await whereListens('leaving'), node)
		} finally {
			await notices.close()
		}
	})
})
