import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientId, scopes } from '../../bench/people.js'
import { percentile } from '../faults/account.js'
import type { Reply } from '../fixtures/broker-process.js'
import { BrokerProcess } from '../support/broker-process.js'
import { readCache, type Whereabouts, writeCache } from '../support/expire.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { createRotatingProvider, type RotatingProvider, type Seeded } from './rotating-provider.js'
import { namespaceOf, secret } from './setting.js'

const taskTimeout = 3000
const limit = 32

describe('G6: 5,000 sessions whose tokens expire in the same second', { timeout: 170_000 }, () => {
	let redis: TestRedis
	let provider: RotatingProvider
	let seeded: Seeded[]
	const processes = new Map<string, BrokerProcess>()

	before(async () => {
		let made: Awaited<ReturnType<typeof createRotatingProvider>>
		;[redis, made] = await Promise.all([startRedis(), createRotatingProvider(5000, 50)])
		;({ provider, seeded } = made)
		const where = whereabouts()
		for (const one of seeded) await writeCache(where(one), 1, one.cache)
		for (const [name, threads] of [
			['one-thread', 1],
			['two-threads', 2],
		] as const)
			processes.set(
				name,
				await BrokerProcess.start({
					auth: provider.auth(name),
					scopes,
					secrets: [secret],
					network: { caFile: provider.caFile },
					pool: { threads, taskTimeout, maxQueue: 10_000 },
					refresh: { maxInFlight: limit },
					redis: { path: redis.path },
				}),
			)
	})
	after(async () => {
		await Promise.all([...processes.values()].map((one) => one.close()))
		await Promise.all([redis.stop(), provider.close()])
	})

	const whereabouts = () => {
		const client = redis.client()
		return ({ session }: Seeded): Whereabouts => ({
			redis: client,
			namespace: namespaceOf(clientId),
			secret,
			clientId,
			partition: session.msal.partition,
		})
	}

	it('are refreshed once each, 32 at a time in each process; who has to wait too long is told when to come again', async (t) => {
		let [overloaded, starved] = [0, 0]
		const waits: Record<'served' | 'refused', number[]> = { served: [], refused: [] }
		/** Everybody at once; then those who were told to, when they were told to. */
		const everybody = async (one: BrokerProcess, people: readonly Seeded[]): Promise<void> => {
			let waiting = people
			for (let turn = 1; waiting.length > 0; turn++) {
				assert.ok(turn < 15, `${waiting.length} are still waiting`)
				const replies = await one.acquire(waiting.map(({ session }) => session))
				let pause = 0
				waiting = waiting.filter(({ session }, at) => {
					const reply = replies[at] as Reply
					waits['token' in reply ? 'served' : 'refused'].push(reply.ms)
					if ('token' in reply) {
						assert.equal(reply.objectId, session.msal.account.objectId)
						return false
					}
					// A starved worker thread may notice an answer of Redis only after its deadline.
					if (reply.error === 'ERR_STORE_UNAVAILABLE') starved++
					else assert.equal(reply.error, 'ERR_OVERLOADED')
					assert.ok(reply.retryAfter && reply.retryAfter > 0, JSON.stringify(reply))
					pause = Math.max(pause, reply.retryAfter)
					overloaded++
					return true
				})
				await sleep(pause * 1000)
			}
		}
		const began = performance.now()
		const [first, second] = [...processes.values()] as [BrokerProcess, BrokerProcess]
		await Promise.all([everybody(first, seeded), everybody(second, seeded.toReversed())])
		const took = Math.round(performance.now() - began)
		const p99 = { served: percentile(waits.served, 0.99), refused: percentile(waits.refused, 0.99) }
		const slowest = [...waits.served, ...waits.refused].reduce((most, ms) => Math.max(most, ms), 0)
		const peaks = await Promise.all([...processes.values()].map((one) => one.ask({ do: 'peakMemory' })))
		t.diagnostic(
			JSON.stringify({
				took,
				p99,
				slowest,
				overloaded,
				starved,
				posts: provider.posts,
				inFlight: Object.fromEntries(provider.mostInFlight),
				peakMemoryMiB: peaks.map((peak) => Math.round(Number(peak) / 1024)),
			}),
		)

		assert.equal(provider.refused, 0, 'no refresh token was used twice')
		assert.equal(provider.posts, seeded.length)
		assert.deepEqual(new Set(provider.mostInFlight.keys()), new Set(processes.keys()))
		for (const [name, most] of provider.mostInFlight) assert.ok(most <= limit, `${name}: ${most}`)
		assert.ok(overloaded > 0, 'some had to wait too long')
		// Not none: one in fifty where others had the two cores as well, and a thread's turn took Redis's 0.75 seconds.
		assert.ok(starved < overloaded / 20, `${starved} of ${overloaded}`)
		assert.ok(p99.served <= taskTimeout + 500, `${p99.served} ms`)
		// Not half a second: who is refused is told in one turn with thousands, 1.2 seconds late on such a machine.
		assert.ok(slowest < taskTimeout + 2000, `${slowest} ms`)
		for (const peak of peaks) assert.ok(Number(peak) < 768 * 1024, `${peak} KiB`)

		const where = whereabouts()
		for (const [index, one] of seeded.entries()) {
			const stored = await readCache(where(one))
			const held = Object.values(stored?.cache.RefreshToken ?? {}).map((entry) => entry.secret)
			assert.deepEqual(held, [provider.refreshToken(index)], 'the refresh token that is good next')
		}
	})
})

describe('G6: the rounds after that', { timeout: 60_000 }, () => {
	it('are spread: no second sees more than three times the mean of refreshes', async (t) => {
		const count = 600
		const life = 12_000
		const [redis, { provider, seeded }] = await Promise.all([
			startRedis(),
			createRotatingProvider(count, 20, life / 1000),
		])
		const broker = await BrokerProcess.start({
			auth: provider.auth('one'),
			scopes,
			secrets: [secret],
			network: { caFile: provider.caFile },
			cache: { expiryMargin: 500 },
			redis: { path: redis.path },
		})
		try {
			const client = redis.client()
			const place = { redis: client, namespace: namespaceOf(clientId), secret, clientId }
			for (const { session, cache } of seeded)
				await writeCache({ ...place, partition: session.msal.partition }, 1, cache)
			const people = seeded.map(({ session }) => session)
			const outcomes = new Set<string>()
			const began = Date.now()
			// Everybody's requests, all the time: the first find no token, the others never wait for one.
			for (let end = began + 2.5 * life; Date.now() < end; await sleep(50)) {
				const replies = await broker.acquire(people)
				for (const reply of replies) outcomes.add('outcome' in reply ? reply.outcome : reply.error)
			}
			assert.deepEqual([...outcomes].sort(), ['hit', 'refreshed', 'stale'])
			assert.equal(provider.refused, 0)
			const later = provider.postedAt.filter((at) => at - began > life / 4)
			const seconds = Math.floor((2.25 * life) / 1000)
			const perSecond = new Array<number>(seconds + 1).fill(0)
			for (const at of later) {
				const second = Math.floor((at - began - life / 4) / 1000)
				perSecond[second] = (perSecond[second] ?? 0) + 1
			}
			const mean = later.length / seconds
			const peak = Math.max(...perSecond)
			t.diagnostic(JSON.stringify({ first: provider.posts - later.length, mean, peak, perSecond }))
			assert.ok(later.length > 2 * count, 'several rounds')
			assert.ok(peak <= 3 * mean, `${peak} in a second; the mean is ${mean}`)
		} finally {
			await broker.close()
			await Promise.all([redis.stop(), provider.close()])
		}
	})
})
