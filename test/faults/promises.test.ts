import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TokenBroker } from '../../src/index.js'
import { percentile } from './account.js'
import { type Fault, lostAnswers, providerFaults, redisFaults, threadFaults } from './faults.js'
import { createRig, deadlines, type Rig, type SignedIn } from './rig.js'
import {
	enter,
	findLosses,
	holdTokens,
	isGood,
	isRefused,
	type Kind,
	openAccount,
	recoveryTime,
	refusalTime,
	Traffic,
	tally,
	withoutOver,
} from './traffic.js'

/** Milliseconds: before a fault, with it, and after it. */
const [healthy, broken, afterwards] = [1000, 5000, 6000]
/** Of a fault, and of what comes back: what began just then is of both times. */
const settling = 250

type Statistics = TokenBroker['statistics']

/** What one fault came to, at 200 requests a second. */
interface Run {
	readonly during: ReturnType<Traffic['between']>
	readonly of: (...kinds: Kind[]) => ReturnType<Traffic['between']>
	/** Milliseconds from the end of the fault till nothing failed any more. */
	readonly recovery: number
	/** What failed, from the beginning of the fault on, with the milliseconds since then. */
	readonly failed: readonly { readonly who: SignedIn; readonly word: string; readonly after: number }[]
	/** Sessions that were lost, and excused. */
	readonly lost: number
}

describe('200 requests a second', { timeout: 600_000 }, () => {
	let rig: Rig
	before(async () => {
		rig = await createRig({ seed: 20_261_128, processes: 2 })
	})
	after(() => rig?.close())

	/** Breaks a part under load, mends it, and holds what holds of every fault. */
	async function breakUnderLoad(t: TestContext, fault: Fault): Promise<Run> {
		const { crashes } = rig
		await holdTokens(rig)
		const traffic = new Traffic(rig)
		traffic.start()
		await sleep(healthy)
		const from = performance.now()
		await fault.begin(rig)
		await sleep(broken)
		const back = performance.now()
		await fault.end(rig)
		await sleep(afterwards)
		await traffic.stop()
		const threadsEnd = Object.values<Fault>(threadFaults).includes(fault)
		const losses = await findLosses(rig, traffic, { threadsEnd })
		await Promise.all(losses.map(({ who }) => rig.replace(who)))
		const excused = new Set(losses.filter(({ excuse }) => excuse !== undefined).map(({ who }) => who))
		const requests = withoutOver(traffic.requests, excused)
		const during = requests.filter(({ at }) => at >= from + settling && at < back - settling)
		const of = (...kinds: Kind[]) => during.filter(({ kind }) => kinds.includes(kind))
		const recovery = recoveryTime(requests, back)
		const [heldWithin, pagesWithin] = [slowest(of('held')), slowest(of('page'))]
		const account = openAccount()
		enter(account, rig, traffic, losses)
		t.diagnostic(
			JSON.stringify({
				...account,
				during: tally(during),
				refusedWithin: Math.round(refusalTime(during)),
				visitsRefusedWithin: Math.round(refusalTime(of('visit'))),
				recovery: Math.round(recovery),
				heldWithin,
				pagesWithin,
			}),
		)
		assert.ok(traffic.between(from, back).length > (0.9 * 200 * (back - from)) / 1000, 'the rate is held')
		const odd = requests.filter((one) => !isGood(one) && !isRefused(one))
		assert.deepEqual(tally(odd), {}, 'whatever fails says: try again')
		assert.deepEqual(crashes, [])
		assert.equal(traffic.wrong, 0, 'tokens of somebody else')
		assert.equal(losses.length - excused.size, 0, 'sessions that are lost')
		// Where notices of sign-outs are not heard, the store is asked, and waited for a quarter of a second.
		assert.ok(heldWithin <= 300, `held tokens took ${heldWithin} ms`)
		assert.ok(pagesWithin <= 500, `pages took ${pagesWithin} ms`)
		const failed = requests
			.filter((one) => one.at >= from && !isGood(one))
			.map(({ who, word, at }) => ({ who, word, after: Math.round(at - from) }))
		return { during, of, recovery, failed, lost: excused.size }
	}
	/** Milliseconds that 99 of 100 took. */
	const slowest = (requests: Run['during']) =>
		Math.round(
			percentile(
				requests.map(({ ms }) => ms),
				0.99,
			),
		)
	const assertAll = (requests: Run['during'], what: string) => {
		const bad = requests.filter((one) => !isGood(one))
		assert.ok(requests.length > 0, what)
		assert.deepEqual(tally(bad), {}, what)
	}

	for (const [what, fault] of Object.entries(redisFaults))
		it(`E1, E3: Redis ${what}: held tokens and pages are served, the rest is refused in a second, and back in two`, async (t) => {
			const { of, recovery, during } = await breakUnderLoad(t, fault)
			assertAll(of('held'), 'who holds a valid token is served')
			assertAll(of('page'), 'anonymous pages are as ever')
			assert.ok(of('renewed').some(isRefused), 'the fault struck')
			// Who came in the first second may have waited for the lease of a refresh that the fault broke off.
			const late = during.filter(({ at }) => at >= (during[0]?.at ?? 0) + deadlines.lease)
			assert.ok(refusalTime(late) <= 1000, `refused within ${refusalTime(late)} ms`)
			assert.ok(recovery <= 2000, `back after ${recovery} ms`)
		})

	for (const [what, fault] of Object.entries(providerFaults))
		it(`F1, F3, F5: the provider ${what}: valid tokens are served, the rest is refused by the deadline, and back in five seconds`, async (t) => {
			const { of, recovery, during } = await breakUnderLoad(t, fault)
			assertAll(of('held', 'page', 'visit'), 'nothing else needs the provider')
			const slowest = percentile(
				of('renewed').map(({ ms }) => ms),
				1,
			)
			assert.ok(slowest <= deadlines.provider + 1000, `answered within ${slowest} ms`)
			if (what !== 'is slow') assert.ok(of('renewed').some(isRefused), 'the fault struck')
			else assertAll(of('renewed'), 'slow, and in time')
			assert.ok(during.length > 0)
			assert.ok(recovery <= 5000, `back after ${recovery} ms`)
		})

	it('F1: the provider does each refresh and half of its answer is lost: it costs their sessions whose answers they were, and nobody else', async (t) => {
		const { of, recovery, lost } = await breakUnderLoad(t, lostAnswers)
		assertAll(of('held', 'page', 'visit'), 'nothing else needs the provider')
		assert.ok(lost > 0, 'the fault struck')
		assert.ok(recovery <= 5000, `back after ${recovery} ms`)
	})

	for (const [what, fault] of Object.entries(threadFaults))
		it(`H1, H2, H4, H5: a worker thread ${what}: its own tasks fail, and another is there in a second`, async (t) => {
			const failures = async () => {
				const statistics = await Promise.all(
					rig.places.map(({ running }) => running?.ask({ do: 'statistics' }) as Promise<Statistics>),
				)
				return statistics.map(({ workerFailures }) => workerFailures)
			}
			const before = await failures()
			const { of, failed } = await breakUnderLoad(t, fault)
			const more = (await failures()).map((count, at) => count - (before[at] ?? 0))
			assert.deepEqual(more.toSorted(), [0, 1], 'one thread has ended')
			assertAll(of('held', 'page'), 'held tokens need no thread')
			// One that is ill takes tasks until it ends.
			const ill = ['loops', 'runs out of memory'].includes(what) ? deadlines.task : 0
			const ofThread = failed.filter(({ word }) => word === 'ERR_WORKER_FAILED')
			const last = Math.max(0, ...ofThread.map(({ after }) => after))
			t.diagnostic(`${ofThread.length} tasks failed, the last ${last} ms after the fault`)
			assert.ok(last <= ill + 1000, `a task failed after ${last} ms`)
			// Whose refresh it had waits till its lease has run out, and may wait too long.
			const theirs = new Set(ofThread.map(({ who }) => who))
			const others = failed.filter(({ who, word }) => !theirs.has(who) && word !== 'ERR_OVERLOADED')
			assert.deepEqual(
				others.map(({ word }) => word),
				[],
				'nobody else fails',
			)
		})
})
