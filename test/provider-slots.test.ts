import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { BrokerError } from '../src/index.js'
import { ProviderSlots } from '../src/provider-slots.js'

/** Follows one taker: how it ended, if it has. */
function follow(taken: Promise<void>): { state: 'waits' | 'has it' | BrokerError } {
	const follower: { state: 'waits' | 'has it' | BrokerError } = { state: 'waits' }
	taken.then(
		() => {
			follower.state = 'has it'
		},
		(error) => {
			follower.state = error
		},
	)
	return follower
}

describe('provider slots', () => {
	beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
	afterEach(() => mock.timers.reset())

	it('are as many as the limit says, and come back', () => {
		const slots = new ProviderSlots(3)
		assert.deepEqual(
			Array.from({ length: 5 }, () => slots.tryTake()),
			[true, true, true, false, false],
		)
		slots.give()
		assert.deepEqual([slots.tryTake(), slots.tryTake()], [true, false])
	})

	it('pass on in the order of coming, and nobody who comes later is faster', async () => {
		const slots = new ProviderSlots(1)
		assert.ok(slots.tryTake())
		const waiters = Array.from({ length: 4 }, () => follow(slots.take(1000)))
		for (let i = 0; i < 4; i++) {
			slots.give()
			assert.equal(slots.tryTake(), false, 'the slot is somebody’s already')
			await turn()
			const states = waiters.map(({ state }) => state)
			assert.deepEqual(states, [...Array(i + 1).fill('has it'), ...Array(3 - i).fill('waits')])
		}
		slots.give()
		assert.ok(slots.tryTake())
	})

	it('are refused after that time with ERR_OVERLOADED and a time to come back, not before', async () => {
		const slots = new ProviderSlots(1)
		assert.ok(slots.tryTake())
		const waiter = follow(slots.take(500))
		mock.timers.tick(499)
		await turn()
		assert.equal(waiter.state as unknown, 'waits')
		mock.timers.tick(1)
		await turn()
		assert.ok((waiter.state as unknown) instanceof BrokerError)
		const { code, status, retryAfter } = waiter.state as unknown as BrokerError
		assert.deepEqual([code, status, retryAfter], ['ERR_OVERLOADED', 503, 2])
	})

	it('are refused at once when there is no time left', async () => {
		const slots = new ProviderSlots(1)
		assert.ok(slots.tryTake())
		const waiter = follow(slots.take(-5))
		mock.timers.tick(1)
		await turn()
		assert.ok((waiter.state as unknown) instanceof BrokerError)
	})

	it('go to the next when the first has given up, and are not lost', async () => {
		const slots = new ProviderSlots(1)
		assert.ok(slots.tryTake())
		const [first, second] = [follow(slots.take(100)), follow(slots.take(1000))]
		mock.timers.tick(100)
		slots.give()
		await turn()
		assert.ok(first.state instanceof BrokerError)
		assert.equal(second.state, 'has it')
		slots.give()
		assert.ok(slots.tryTake())
	})

	it('are not taken back from who got one in the last moment', async () => {
		const slots = new ProviderSlots(1)
		assert.ok(slots.tryTake())
		const waiter = follow(slots.take(100))
		mock.timers.tick(99)
		slots.give()
		mock.timers.tick(1000)
		await turn()
		assert.equal(waiter.state, 'has it')
		assert.equal(slots.tryTake(), false)
		slots.give()
		assert.ok(slots.tryTake())
	})

	it('are all free again when everybody who waited has given up', async () => {
		const slots = new ProviderSlots(2)
		assert.ok(slots.tryTake() && slots.tryTake())
		const waiters = Array.from({ length: 20 }, () => follow(slots.take(50)))
		mock.timers.tick(50)
		slots.give()
		slots.give()
		await turn()
		assert.ok(waiters.every(({ state }) => state instanceof BrokerError))
		assert.deepEqual([slots.tryTake(), slots.tryTake(), slots.tryTake()], [true, true, false])
	})
})

describe('provider slots under overload (H6)', () => {
	it('are refused at once to who would not get one in time, and given to nearly all others', async () => {
		const slots = new ProviderSlots(2)
		const hold = async () => {
			await sleep(10)
			slots.give()
		}
		const results: { word: 'served' | 'refused' | 'late'; ms: number }[] = []
		const one = async () => {
			const started = performance.now()
			const ms = () => performance.now() - started
			try {
				await slots.take(500)
				results.push({ word: 'served', ms: ms() })
				await hold()
			} catch {
				results.push({ word: ms() < 50 ? 'refused' : 'late', ms: ms() })
			}
		}
		// Some 200 in a second can be served; ten times as many come.
		const all: Promise<void>[] = []
		for (let i = 0; i < 200; i++) {
			for (let k = 0; k < 20; k++) all.push(one())
			await sleep(10)
		}
		await Promise.all(all)
		const count = (word: string) => results.filter((result) => result.word === word).length
		const numbers = `${count('served')} served, ${count('refused')} refused, ${count('late')} late`
		assert.ok(count('served') > 200, numbers)
		assert.ok(count('refused') > 2000, numbers)
		assert.ok(count('late') < count('served') / 2, numbers)
		assert.ok(results.every(({ word, ms }) => word !== 'served' || ms < 1500))
	})
})

/** The same, as a list of who has a slot and who waits until when. */
class Model {
	readonly holders = new Set<number>()
	readonly late = new Set<number>()
	waiting: { id: number; deadline: number }[] = []

	constructor(readonly limit: number) {}

	take(id: number, deadline: number): void {
		if (this.holders.size < this.limit) this.holders.add(id)
		else this.waiting.push({ id, deadline })
	}

	give(id: number): void {
		this.holders.delete(id)
		const next = this.waiting.shift()
		if (next) this.holders.add(next.id)
	}

	passTo(now: number): void {
		for (const { id, deadline } of this.waiting) if (deadline <= now) this.late.add(id)
		this.waiting = this.waiting.filter(({ deadline }) => deadline > now)
	}
}

describe('provider slots, whatever happens in whatever order', () => {
	const step = fc.oneof(
		{
			weight: 4,
			arbitrary: fc.record({ kind: fc.constant('take' as const), patience: fc.integer({ min: 1, max: 60 }) }),
		},
		{ weight: 3, arbitrary: fc.record({ kind: fc.constant('give' as const), which: fc.nat(9) }) },
		{
			weight: 2,
			arbitrary: fc.record({ kind: fc.constant('tick' as const), by: fc.integer({ min: 1, max: 40 }) }),
		},
	)

	it('are never more than the limit, never lost, and first come is first served', async () => {
		let waited = 0
		await fc.assert(
			fc.asyncProperty(
				fc.integer({ min: 1, max: 4 }),
				fc.array(step, { maxLength: 60 }),
				async (limit, steps) => {
					mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
					try {
						const slots = new ProviderSlots(limit)
						const model = new Model(limit)
						const takers: ReturnType<typeof follow>[] = []
						for (const one of steps) {
							if (one.kind === 'take') {
								model.take(takers.length, Date.now() + one.patience)
								takers.push(follow(slots.take(one.patience)))
							} else if (one.kind === 'give') {
								const holders = [...model.holders]
								const id = holders[one.which % Math.max(1, holders.length)]
								if (id === undefined) continue
								model.give(id)
								slots.give()
							} else {
								mock.timers.tick(one.by)
								model.passTo(Date.now())
							}
							await turn()
							waited = Math.max(waited, model.waiting.length)
							assert.ok(model.holders.size <= limit)
							for (const { id } of model.waiting) assert.equal(takers[id]?.state, 'waits')
							for (const id of model.holders) assert.equal(takers[id]?.state, 'has it')
							for (const id of model.late) assert.ok(takers[id]?.state instanceof BrokerError)
						}
						// Everybody leaves: every slot is there again, and no more of them.
						mock.timers.tick(1000)
						model.passTo(Date.now())
						for (const _ of model.holders) slots.give()
						assert.equal(
							Array.from({ length: limit + 2 }, () => slots.tryTake()).filter(Boolean).length,
							limit,
						)
					} finally {
						mock.timers.reset()
					}
				},
			),
			{ numRuns: 500 },
		)
		assert.ok(waited > 3, `at most ${waited} waited`)
	})
})
