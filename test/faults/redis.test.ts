import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTokenBroker, redisTokenStore, type TokenBroker } from '../../src/index.js'
import { createSetting, namespace, type Session, type Setting } from '../cluster/setting.js'
import { readCache } from '../support/expire.js'
import { createLink, type RedisLink } from '../support/redis-link.js'
import { codeOf, percentile, seeded, times } from './account.js'

const sessionsCount = 20

/** Brokers that reach Redis by a network that can fail; what they find there is read past it. */
describe('Redis behind a network', { timeout: 240_000 }, () => {
	let setting: Setting
	let link: RedisLink
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		link = await createLink(setting.redis.path)
		sessions = await Promise.all(times(sessionsCount, () => setting.signIn()))
	})
	afterEach(() => {
		link.delay(0)
		link.cutAtRandom(0, () => 1)
	})
	after(async () => {
		await link?.close()
		await setting?.close()
	})

	/** A process's worth of broker, that holds no token yet. */
	async function withBroker(work: (broker: TokenBroker) => Promise<void>, user: object = {}): Promise<void> {
		const { redis: _, ...options } = setting.options()
		const store = redisTokenStore({ host: '127.0.0.1', port: link.port, ...user })
		const broker = await createTokenBroker({ ...options, store })
		try {
			await work(broker)
		} finally {
			link.delay(0)
			link.cutAtRandom(0, () => 1)
			await broker.close()
		}
	}
	/** A new token for everybody: what is held or stored does not answer it. */
	const refreshAll = (broker: TokenBroker) =>
		Promise.all(sessions.map((session) => outcomeOf(broker.acquireSilent(session, { forceRefresh: true }))))
	async function outcomeOf(work: Promise<{ readonly outcome: string }>) {
		const started = performance.now()
		const what = await work.then(({ outcome }) => outcome, codeOf)
		return { what, ms: performance.now() - started }
	}

	for (const latency of [200, 500])
		it(`E3: ${latency} ms away, answers a stored token by at most two round trips, and refreshes`, () =>
			withBroker(async (broker) => {
				link.delay(latency)
				// Till the connection has caught up: it was made without delay.
				await outcomeOf(broker.acquireSilent(sessions[0] as Session))
				const cached = await Promise.all(
					sessions.slice(1).map((session) => outcomeOf(broker.acquireSilent(session))),
				)
				assert.deepEqual([...new Set(cached.map(({ what }) => what))], ['cached'])
				const slowest = Math.max(...cached.map(({ ms }) => ms))
				assert.ok(slowest <= 2 * latency + 100, `${slowest} ms`)
				const refreshed = await outcomeOf(
					broker.acquireSilent(sessions[0] as Session, { forceRefresh: true }),
				)
				assert.equal(refreshed.what, 'refreshed')
				assert.ok(refreshed.ms <= 3 * latency + 500, `${refreshed.ms} ms`)
			}))

	it('E3: 200 ms away, with one answer in a hundred cut off, fails a few for a moment, and loses no refresh', () =>
		withBroker(async (broker) => {
			const random = seeded(3)
			const near = percentile(
				(await refreshAll(broker)).map(({ ms }) => ms),
				0.5,
			)
			link.delay(200)
			link.cutAtRandom(0.01, random)
			const results: { what: string; ms: number }[] = []
			for (let round = 0; round < 5; round++) results.push(...(await refreshAll(broker)))
			// Whoever was cut off has a second connection to wait for, by four more round trips: some come too late.
			const failed = results.filter(({ what }) => what !== 'refreshed')
			assert.deepEqual(
				[...new Set(failed.map(({ what }) => what))].join('').replace('ERR_STORE_UNAVAILABLE', ''),
				'',
			)
			assert.ok(failed.length <= results.length * 0.6, `${failed.length} of ${results.length}`)
			// A cut takes all that was under way on the connection, and a new one takes four round trips to come about.
			const ms = percentile(
				results.map((result) => result.ms),
				0.5,
			)
			assert.ok(ms <= near + 3 * 200 + 100, `${ms} ms, and ${near} ms where Redis is near`)
			link.cutAtRandom(0, random)
			link.delay(0)
			await sleep(1500)
			const whole = await refreshAll(broker)
			assert.deepEqual([...new Set(whole.map(({ what }) => what))], ['refreshed'], 'none is lost')
		}))

	/** A process that hears no notices has to ask. */
	const deaf = { username: 'deaf', password: 'of-a-test' }
	const setDeaf = (right: 'resetchannels' | 'allchannels') =>
		setting.redis.client().acl('SETUSER', deaf.username, 'on', `>${deaf.password}`, '~*', right, '+@all')
	const endTokens = ({ msal }: Session) => setting.redis.client().del(`${namespace}:t:{${msal.partition}}`)

	it('E3: 400 ms away, keeps nobody waiting for that long who holds a token, and signs out who was signed out', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'cached')
			link.delay(400)
			await endTokens(session)
			const first = await outcomeOf(broker.acquireSilent(session))
			assert.equal(first.what, 'hit')
			assert.ok(first.ms >= 200 && first.ms < 350, `${first.ms} ms`)
			await sleep(300)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	it('E1: away and back, keeps nobody waiting who holds a token, and gives none to who was signed out', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'cached')
			link.refuse(true)
			await outcomeOf(broker.acquireSilent(session))
			for (const end = performance.now() + 3000; performance.now() < end; await sleep(100)) {
				const again = await outcomeOf(broker.acquireSilent(session))
				assert.equal(again.what, 'hit')
				assert.ok(again.ms < 100, `${again.ms} ms`)
			}
			link.refuse(false)
			await endTokens(session)
			await sleep(2000)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	it('E10: of sign-outs that it heard nothing of, a process asks when it hears again', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			for (const what of ['cached', 'hit'])
				assert.equal((await outcomeOf(broker.acquireSilent(session))).what, what)
			await endTokens(session)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'hit', 'asked a moment ago')
			await setDeaf('allchannels')
			await sleep(1500)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	it('E9: cut after any byte of an answer, leaves each session whole, and the next try goes on', () =>
		withBroker(async (broker) => {
			const session = sessions[0] as Session
			const where = setting.where(session)
			// How long the answers to a refresh are: each boundary between them, give or take one, is a place to cut.
			await broker.acquireSilent(session)
			const before = link.answered
			await broker.acquireSilent(session, { forceRefresh: true })
			const whole = link.answered - before
			const random = seeded(9)
			const places = [0, 1, whole - 5, whole - 4, whole - 1, ...times(55, () => Math.floor(random() * whole))]
			for (const bytes of places) {
				const { version } = (await readCache(where)) ?? { version: 0 }
				link.cutAfter(bytes)
				const first = await outcomeOf(broker.acquireSilent(session, { forceRefresh: true }))
				assert.ok(
					['refreshed', 'ERR_STORE_UNAVAILABLE', 'ERR_OVERLOADED'].includes(first.what),
					`${bytes}: ${first.what}`,
				)
				for (const end = performance.now() + 5000; broker.statistics.unsaved > 0; await sleep(20))
					assert.ok(performance.now() < end)
				let second = await outcomeOf(broker.acquireSilent(session))
				while (second.what.startsWith('ERR_STORE')) second = await outcomeOf(broker.acquireSilent(session))
				assert.ok(['hit', 'cached', 'refreshed'].includes(second.what), `${bytes}: ${second.what}`)
				const stored = await readCache(where)
				assert.ok(stored && stored.version >= version, `${bytes}: it is whole`)
				if (first.what === 'refreshed')
					assert.ok(stored.version > version, `${bytes}: what was refreshed is stored`)
			}
		}))

	it('E9: cut under a sign-out, has signed out or says so, and never half', () =>
		withBroker(async (broker) => {
			const random = seeded(99)
			for (const session of sessions.slice(1)) {
				link.cutAfter(Math.floor(random() * 60))
				await broker.signOut(session).catch(() => {})
				// What the store was not told is told as soon as it can be.
				for (const end = performance.now() + 5000; await readCache(setting.where(session)); await sleep(50))
					assert.ok(performance.now() < end, 'it is gone in the end')
				assert.equal(
					(await outcomeOf(broker.acquireSilent(session))).what,
					'ERR_SIGNED_OUT',
					'in this process at once',
				)
			}
		}))
})
