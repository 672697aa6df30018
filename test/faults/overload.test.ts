import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientId, scopes } from '../../bench/people.js'
import { createRotatingProvider, type RotatingProvider, type Seeded } from '../cluster/rotating-provider.js'
import { namespaceOf, secret } from '../cluster/setting.js'
import type { Reply } from '../fixtures/broker-process.js'
import { BrokerProcess } from '../support/broker-process.js'
import { writeCache } from '../support/expire.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { percentile, times } from './account.js'

/** Four refreshes at a time, of 100 ms each: at most 40 in a second. */
const [maxInFlight, latency] = [4, 100]
const taskTimeout = 3000
const pool = { threads: 1, concurrency: 8, maxQueue: 16, taskTimeout }
/** Milliseconds of it. */
const duration = 30_000

/** Milliseconds in which the excess is told so. */
const atOnce = 50

interface Result {
	readonly word: string
	readonly ms: number
}

describe('H6: ten times as many refreshes as can be done', { timeout: 300_000 }, () => {
	let redis: TestRedis
	let provider: RotatingProvider
	let seeded: Seeded[]
	let one: BrokerProcess
	before(async () => {
		redis = await startRedis()
		;({ provider, seeded } = await createRotatingProvider(200 + 2 * 0.4 * duration, latency))
		const client = redis.client()
		for (const { session, cache } of seeded)
			await writeCache(
				{
					redis: client,
					namespace: namespaceOf(clientId),
					secret,
					clientId,
					partition: session.msal.partition,
				},
				1,
				cache,
			)
		one = await BrokerProcess.start({
			auth: provider.auth('one'),
			scopes,
			secrets: [secret],
			network: { caFile: provider.caFile },
			pool,
			refresh: { maxInFlight },
			redis: { path: redis.path },
		})
	})
	after(async () => {
		await one?.close()
		await Promise.all([redis?.stop(), provider?.close()])
	})

	async function acquire({ session }: Seeded, request?: object): Promise<Result> {
		const [reply] = (await one.acquire([session], request)) as [Reply]
		if ('outcome' in reply) return { word: reply.outcome, ms: reply.ms }
		assert.ok(reply.retryAfter)
		return { word: reply.error, ms: reply.ms }
	}

	/** MiB. */
	const peakMemory = async () => ((await one.ask({ do: 'peakMemory' })) as number) / 1024

	/** As many as this machine does when nobody has to wait. */
	async function refreshesPerMillisecond(): Promise<number> {
		const people = seeded.splice(0, 40)
		const started = performance.now()
		await Promise.all(
			times(maxInFlight, async () => {
				for (let person = people.pop(); person; person = people.pop())
					assert.equal((await acquire(person)).word, 'refreshed')
			}),
		)
		return Math.min(0.04, 40 / (performance.now() - started))
	}

	/** Of expired tokens the threads' own queue comes first: what is stored has to be looked at. */
	for (const [what, request, part] of [
		['that are forced', { forceRefresh: true }, 0.99],
		['of expired tokens', {}, 0.95],
	] as const)
		it(`H6: ${what}: refuses the excess at once, and does the rest in time`, async (t) => {
			const [held] = seeded.splice(0, 1) as [Seeded]
			const capacity = await refreshesPerMillisecond()
			await acquire(held)
			const count = Math.floor(10 * capacity * duration)
			const people = seeded.splice(0, count)
			const hits: number[] = []
			const results: Result[] = []
			const calls: Promise<void>[] = []
			let [pending, most] = [0, 0]
			const memory = await peakMemory()
			const started = performance.now()
			const ms = () => performance.now() - started
			for (; people.length > 0; await sleep(10)) {
				void acquire(held).then((hit) => hits.push(hit.ms))
				while (people.length > Math.max(0, count - ms() * 10 * capacity)) {
					const [person] = people.splice(0, 1) as [Seeded]
					most = Math.max(most, ++pending)
					calls.push(
						acquire(person, request).then((result) => {
							pending--
							results.push(result)
						}),
					)
				}
			}
			await Promise.all(calls)
			const of = (word: string) => results.filter((result) => result.word === word).map((result) => result.ms)
			const [served, refused] = [of('refreshed'), of('ERR_OVERLOADED')]
			const told = [0.5, 0.9, 0.95, 0.99].map((part) => percentile(refused, part))
			const slowest = percentile(served, 0.99)
			// The share of a machine that does other things too: a hit waits for nothing else.
			const noise = percentile(hits, 0.99)
			const more = (await peakMemory()) - memory
			t.diagnostic(
				JSON.stringify({ served: served.length, slowest, refused: refused.length, told, most, noise, more }),
			)
			assert.equal(served.length + refused.length, results.length)
			assert.ok(served.length >= ms() * capacity * 0.4, `${served.length} served`)
			assert.ok(slowest < taskTimeout + 200, `${slowest} ms`)
			assert.ok(percentile(refused, part) <= atOnce, `refused after ${told} ms`)
			assert.ok(noise <= atOnce, `a hit after ${noise} ms`)
			assert.ok(more < 100, `${more} MiB more`)
			// What is foretold of a wait may be wrong, for few.
			const late = refused.filter((result) => result > taskTimeout / 2).length
			assert.ok(late < refused.length / 20, `${late} late`)
			// What comes in the time of one deadline, and what the threads have.
			assert.ok(most <= 40 * (taskTimeout / 1000) + 64 + 24, `${most} were under way`)
			assert.ok((provider.mostInFlight.get('one') ?? 0) <= maxInFlight)
			assert.equal(provider.refused, 0)
		})

	it('H6: of one session keep nobody else from theirs', async () => {
		const [hammered, ...others] = seeded.splice(0, 31) as [Seeded, ...Seeded[]]
		let over = false
		const words = new Set<string>()
		const hammering = Array.from({ length: 60 }, async (_, at) => {
			const claims = JSON.stringify({ access_token: { [`claim-${at}`]: null } })
			for (; !over; await sleep(5)) words.add((await acquire(hammered, { claims, forceRefresh: true })).word)
		})
		const found: Result[] = []
		for (const other of others) found.push(await acquire(other))
		over = true
		await Promise.all(hammering)
		assert.deepEqual([...words].sort(), ['ERR_OVERLOADED', 'refreshed'])
		assert.deepEqual([...new Set(found.map(({ word }) => word))], ['refreshed'])
		const slowest = Math.max(...found.map(({ ms }) => ms))
		assert.ok(slowest < 1000, `${slowest} ms`)
	})
})
