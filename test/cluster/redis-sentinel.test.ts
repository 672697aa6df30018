import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis, RedisOptions } from 'ioredis'
import { redisTokenStore } from '../../src/index.js'
import { closeRedis, openRedis } from '../../src/redis-client.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { sentinelRights, serverRights } from '../support/redis-rights.js'
import { createSetting, type Session, type Setting } from './setting.js'

const name = 'tokens'
const password = 'a password'
const appPassword = 'password-of-the-app'
const sentinelPassword = 'another password'

/** @returns milliseconds until it came true */
async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<number> {
	const began = performance.now()
	while (!(await condition())) {
		assert.ok(performance.now() - began < milliseconds, `not within ${milliseconds} ms: ${condition}`)
		await sleep(20)
	}
	return Math.round(performance.now() - began)
}

async function follow(replica: TestRedis, primary: TestRedis): Promise<void> {
	await replica.client().replicaof('127.0.0.1', primary.port as number)
	const info = () => replica.client().info('replication')
	await until(async () => /master_link_status:up/.test(await info()), 20_000)
}

describe('Redis behind Sentinel', { timeout: 60_000 }, () => {
	let primary: TestRedis
	let replica: TestRedis
	let sentinels: TestRedis[]
	let setting: Setting
	let first: BrokerProcess
	let second: BrokerProcess
	let connection: Omit<RedisOptions, 'replyMapping'>

	before(async () => {
		const args = ['--masterauth', password, '--repl-diskless-sync-delay', '0']
		args.push('--user', 'app', 'on', `>${appPassword}`, ...serverRights.rules)
		;[primary, replica] = (await Promise.all(
			Array.from({ length: 2 }, () => startRedis({ tcp: true, password, args })),
		)) as [TestRedis, TestRedis]
		await follow(replica, primary)
		const config = [
			`sentinel monitor ${name} 127.0.0.1 ${primary.port} 2`,
			`sentinel auth-pass ${name} "${password}"`,
			`sentinel down-after-milliseconds ${name} 500`,
			`sentinel failover-timeout ${name} 2000`,
			`sentinel sentinel-pass "${sentinelPassword}"`,
		]
		sentinels = await Promise.all(
			Array.from({ length: 3 }, () =>
				startRedis({ tcp: true, password: sentinelPassword, config, args: ['--sentinel'] }),
			),
		)
		for (const sentinel of sentinels)
			await sentinel.client().acl('SETUSER', 'watcher', 'on', `>${sentinelPassword}`, ...sentinelRights.rules)
		await until(isWatched, 20_000)
		connection = {
			sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port: port as number })),
			name,
			username: 'app',
			password: appPassword,
			sentinelUsername: 'watcher',
			sentinelPassword,
		}
		setting = await createSetting({}, {}, connection)
		;[first, second] = await Promise.all([setting.start(), setting.start()])
	})
	after(async () => {
		await setting.close()
		await Promise.all([primary, replica, ...sentinels].map((server) => server.stop()))
	})

	afterEach(async () => {
		for (const server of [primary, replica, ...sentinels])
			assert.deepEqual(await server.client().acl('LOG'), [], 'a right is missing')
	})

	/** Every sentinel knows the two others and the replica, and finds all of them well. */
	async function isWatched(): Promise<boolean> {
		const known = await Promise.all(
			sentinels.map(async (sentinel) => {
				const [replicas, others] = (await Promise.all(
					['REPLICAS', 'SENTINELS'].map((what) => sentinel.client().call('SENTINEL', what, name)),
				)) as string[][][]
				return [replicas, others].map((list = []) =>
					list.map((fields) => fields[fields.indexOf('flags') + 1]),
				)
			}),
		)
		return known.every((lists) => lists.flat().sort().join() === 'sentinel,sentinel,slave')
	}
	const addressOf = async (sentinel: TestRedis) =>
		Number(((await sentinel.client().call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[])[1])
	const hasSwitched = async () =>
		(await Promise.all(sentinels.map(addressOf))).every((port) => port === replica.port) &&
		/role:master/.test(await replica.client().info('replication'))
	const ask = async (one: BrokerProcess, session: Session, forceRefresh = false) => {
		const [reply] = await one.acquire([session], { forceRefresh })
		return reply && { result: 'error' in reply ? reply.error : reply.outcome, ms: reply.ms }
	}
	/** Somebody whose token the second process holds, and whose session the replica knows. */
	const signIn = async (): Promise<Session> => {
		const session = await setting.signIn()
		await until(async () => (await ask(second, session))?.result === 'hit', 1000)
		await primary.client().wait(1, 5000)
		return session
	}
	const isAcquired = (session: Session) => async () =>
		(await ask(first, session, true))?.result === 'refreshed'
	const isSignedOut = (session: Session) => async () =>
		(await ask(second, session))?.result === 'ERR_SIGNED_OUT'

	it('keeps the tokens for all processes, and tells them of sign-outs', async () => {
		const session = await setting.signIn()
		assert.equal((await ask(first, session))?.result, 'cached')
		assert.equal((await ask(first, session, true))?.result, 'refreshed')
		assert.equal((await ask(second, session))?.result, 'cached')
		assert.equal((await ask(second, session))?.result, 'hit')
		await first.ask({ do: 'signOut', session })
		await until(isSignedOut(session), 1000)
	})

	it('serves from the replica within five seconds after the primary has died', async (t) => {
		const [session, leaving] = [await signIn(), await signIn()]
		await primary.kill()
		assert.equal((await ask(second, session))?.result, 'hit')
		await until(hasSwitched, 20_000)
		t.diagnostic(`refreshed ${await until(isAcquired(session), 5000)} ms after the failover`)
		await first.ask({ do: 'signOut', session: leaving })
		await until(isSignedOut(leaving), 1000)
		assert.equal((await ask(second, session))?.result, 'hit')
		;[primary, replica] = [replica, primary]
		await replica.restart()
		await follow(replica, primary)
	})

	it('answers 503 in time while the primary hangs, and serves within five seconds after it was replaced', async () => {
		const [session, leaving] = [await signIn(), await signIn()]
		process.kill(primary.pid, 'SIGSTOP')
		try {
			const { result, ms = 0 } = (await ask(first, session, true)) ?? {}
			assert.equal(result, 'ERR_STORE_UNAVAILABLE')
			assert.ok(ms < 1100, `${ms} ms`)
			await until(hasSwitched, 20_000)
			await until(isAcquired(session), 5000)
			await first.ask({ do: 'signOut', session: leaving })
			await until(isSignedOut(leaving), 5000)
		} finally {
			process.kill(primary.pid, 'SIGCONT')
		}
		;[primary, replica] = [replica, primary]
		await follow(replica, primary)
	})

	it('changes places when it is told to, without a sign-out being missed', async () => {
		const [session, leaving] = [await signIn(), await signIn()]
		await until(isWatched, 20_000)
		await sentinels[0]?.client().call('SENTINEL', 'FAILOVER', name)
		await until(hasSwitched, 20_000)
		// The former primary does not know yet, and takes writes that are lost.
		const former = primary.client()
		await until(async () => !/ user=app /.test((await former.call('CLIENT', 'LIST')) as string), 5000)
		assert.match(await former.info('replication'), /role:master/)
		await until(isAcquired(session), 5000)
		await first.ask({ do: 'signOut', session: leaving })
		await until(isSignedOut(leaving), 1000)
	})

	it('is found although the first sentinel hangs', async () => {
		const session = await setting.signIn()
		const [hanging] = sentinels as [TestRedis]
		process.kill(hanging.pid, 'SIGSTOP')
		try {
			const third = await setting.start()
			await until(async () => (await ask(third, session))?.result === 'cached', 5000)
		} finally {
			process.kill(hanging.pid, 'SIGCONT')
		}
	})

	it('is not lost to who hears of a failover while it asks for the primary', async () => {
		const client = openRedis(redisTokenStore(connection).connection) as Redis
		try {
			assert.equal(client.status, 'connecting')
			// What ioredis does then.
			;(client as unknown as { connector: { disconnect(): void } }).connector.disconnect()
			await new Promise((resolve) => client.once('end', resolve))
			await until(async () => client.status === 'ready', 5000)
		} finally {
			closeRedis(client)
		}
	})
})
