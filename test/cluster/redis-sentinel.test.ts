import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Redis } from 'ioredis'
import { redisTokenStore } from '../../src/index.js'
import { closeRedis, openRedis } from '../../src/redis-client.js'
import type { BrokerProcess } from '../support/broker-process.js'
import type { TestRedis } from '../support/redis.js'
import { startWatchedRedis, until, type WatchedRedis, watchedName } from '../support/redis-sentinel.js'
import { createSetting, type Session, type Setting } from './setting.js'

describe('Redis behind Sentinel', { timeout: 60_000 }, () => {
	let watched: WatchedRedis
	let setting: Setting
	let first: BrokerProcess
	let second: BrokerProcess

	before(async () => {
		watched = await startWatchedRedis()
		setting = await createSetting({}, {}, watched.connection)
		;[first, second] = await Promise.all([setting.start(), setting.start()])
	})
	after(async () => {
		await setting.close()
		await watched.stop()
	})

	afterEach(async () => {
		for (const server of [watched.primary, watched.replica, ...watched.sentinels])
			assert.deepEqual(await server.client().acl('LOG'), [], 'a right is missing')
	})

	const ask = async (one: BrokerProcess, session: Session, forceRefresh = false) => {
		const [reply] = await one.acquire([session], { forceRefresh })
		return reply && { result: 'error' in reply ? reply.error : reply.outcome, ms: reply.ms }
	}
	/** Somebody whose token the second process holds, and whose session the replica knows. */
	const signIn = async (): Promise<Session> => {
		const session = await setting.signIn()
		await until(async () => (await ask(second, session))?.result === 'hit', 1000)
		await watched.primary.client().wait(1, 5000)
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
		await watched.primary.kill()
		assert.equal((await ask(second, session))?.result, 'hit')
		await until(watched.hasSwitched, 20_000)
		t.diagnostic(`refreshed ${await until(isAcquired(session), 5000)} ms after the failover`)
		await first.ask({ do: 'signOut', session: leaving })
		await until(isSignedOut(leaving), 1000)
		assert.equal((await ask(second, session))?.result, 'hit')
		watched.changePlaces()
		await watched.replica.restart()
		await watched.follow()
	})

	it('answers 503 in time while the primary hangs, and serves within five seconds after it was replaced', async () => {
		const [session, leaving] = [await signIn(), await signIn()]
		process.kill(watched.primary.pid, 'SIGSTOP')
		try {
			const { result, ms = 0 } = (await ask(first, session, true)) ?? {}
			assert.equal(result, 'ERR_STORE_UNAVAILABLE')
			assert.ok(ms < 1100, `${ms} ms`)
			await until(watched.hasSwitched, 20_000)
			await until(isAcquired(session), 5000)
			await first.ask({ do: 'signOut', session: leaving })
			await until(isSignedOut(leaving), 5000)
		} finally {
			process.kill(watched.primary.pid, 'SIGCONT')
		}
		watched.changePlaces()
		await watched.follow()
	})

	it('changes places when it is told to, without a sign-out being missed', async () => {
		const [session, leaving] = [await signIn(), await signIn()]
		await until(watched.isWatched, 20_000)
		await watched.sentinels[0]?.client().call('SENTINEL', 'FAILOVER', watchedName)
		await until(watched.hasSwitched, 20_000)
		// The former primary does not know yet, and takes writes that are lost.
		const former = watched.primary.client()
		await until(async () => !/ user=app /.test((await former.call('CLIENT', 'LIST')) as string), 5000)
		assert.match(await former.info('replication'), /role:master/)
		await until(isAcquired(session), 5000)
		await first.ask({ do: 'signOut', session: leaving })
		await until(isSignedOut(leaving), 1000)
	})

	it('is found although the first sentinel hangs', async () => {
		const session = await setting.signIn()
		const [hanging] = watched.sentinels as [TestRedis]
		process.kill(hanging.pid, 'SIGSTOP')
		try {
			const third = await setting.start()
			await until(async () => (await ask(third, session))?.result === 'cached', 5000)
		} finally {
			process.kill(hanging.pid, 'SIGCONT')
		}
	})

	it('is not lost to who hears of a failover while it asks for the primary', async () => {
		const client = openRedis(redisTokenStore(watched.connection).connection) as Redis
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
