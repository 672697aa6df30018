import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerError } from '../src/index.js'
import { assertTook } from './support/took.js'
import { order, startPool } from './support/worker-pool.js'

const startFixture = (pool: Parameters<typeof startPool>[1] = {}) => startPool('worker', pool)
const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('the worker pool', () => {
	it('says at once that its workers do not load', async () => {
		const started = performance.now()
		await assert.rejects(startPool('broken-worker', { taskTimeout: 1000 }), code('ERR_WORKER_FAILED'))
		assertTook(performance.now() - started, 3000)
	})

	/** Two threads, of which each takes one task. */
	async function startPair() {
		const pool = await startFixture({ threads: 2, concurrency: 1 })
		await Promise.all([order(pool, 'sleep 100'), order(pool, 'sleep 100')])
		for (const end = performance.now() + 5000; pool.health.threads < 2; await sleep(10))
			assert.ok(performance.now() < end)
		return pool
	}

	const retryable = (error: unknown) => {
		assert.ok(error instanceof BrokerError)
		assert.deepEqual([error.code, error.status], ['ERR_WORKER_FAILED', 503])
		assert.ok(error.retryAfter)
		return true
	}

	for (const exitCode of [0, 1, 3, 134, 255])
		it(`H1: fails only the task of a worker that exits with ${exitCode}, as retryable, and is back within a second`, async () => {
			const pool = await startPair()
			const other = order(pool, 'sleep 1100')
			await assert.rejects(order(pool, `exit ${exitCode}`), retryable)
			const started = performance.now()
			assert.equal(pool.health.failures, 1)
			// The other thread is busy yet, so it is the new one that answers.
			await order(pool, '')
			assertTook(performance.now() - started, 1000)
			await other
			assert.ok(pool.health.threads === 2 && !pool.health.broken)
			await pool.close()
		})

	// Node has no thread abort. What a fault in native code does, it does to the whole process, as SIGKILL does.
	it('H1: has a worker abort nothing: the task fails, and that is all', async () => {
		const pool = await startPair()
		const other = order(pool, 'sleep 200')
		await assert.rejects(order(pool, 'abort'), retryable)
		await Promise.all([other, order(pool, '')])
		assert.equal(pool.health.failures, 0)
		await pool.close()
	})

	for (const [what, when] of [
		['late', 'throws'],
		['reject late', 'leaves a rejection unhandled'],
	] as const)
		it(`H2: lives on, and counts it, when an idle worker ${when}`, async () => {
			const pool = await startPair()
			await order(pool, what)
			for (const end = performance.now() + 2000; pool.health.failures === 0; await sleep(5))
				assert.ok(performance.now() < end)
			await Promise.all([order(pool, 'sleep 50'), order(pool, 'sleep 50')])
			assert.deepEqual([pool.health.failures, pool.health.threads], [1, 2])
			await pool.close()
		})

	it('D8: tells nothing of an unexpected error but that the worker failed', async () => {
		const pool = await startFixture()
		await assert.rejects(order(pool, 'throw'), (error) => {
			assert.ok(error instanceof BrokerError)
			assert.equal(error.code, 'ERR_WORKER_FAILED')
			assert.doesNotMatch(`${error.message} ${JSON.stringify(error.toWire())}`, /secret/)
			return true
		})
		await pool.close()
	})

	it('gives up on a task at its deadline, and runs the next', async () => {
		const pool = await startFixture({ taskTimeout: 200 })
		const started = performance.now()
		await assert.rejects(order(pool, 'sleep 1000'), code('ERR_OVERLOADED'))
		assertTook(performance.now() - started, 600)
		await order(pool, '')
		await pool.close()
	})

	it('refuses what does not fit into its queue, at once', async () => {
		const pool = await startFixture({ concurrency: 1, maxQueue: 2 })
		const running = Array.from({ length: 3 }, () => order(pool, 'sleep 100'))
		const started = performance.now()
		await assert.rejects(order(pool, ''), code('ERR_OVERLOADED'))
		assertTook(performance.now() - started, 50)
		await Promise.all(running)
		await pool.close()
	})

	it('has what waits for a full thread run in turns, each kind in the order that it came', async () => {
		const pool = await startFixture({ concurrency: 1 })
		const busy = order(pool, 'sleep 200')
		await sleep(50)
		const done: string[] = []
		const numbers = [1, 2, 3, 4, 5]
		await Promise.all([
			busy,
			...numbers.map((n) => order(pool, '').then(() => done.push(`new ${n}`))),
			...numbers.map((n) => order(pool, '', true).then(() => done.push(`promised ${n}`))),
		])
		assert.deepEqual(
			done,
			numbers.flatMap((n) => [`new ${n}`, `promised ${n}`]),
		)
		await pool.close()
	})

	it('shows workers nothing of the environment', async () => {
		const pool = await startFixture()
		const { environment } = (await order(pool, '')) as unknown as { environment: string[] }
		assert.deepEqual(environment, [])
		await pool.close()
	})

	it('lets running tasks finish when it is closed, and takes no more', async () => {
		const pool = await startFixture()
		const running = order(pool, 'sleep 100')
		const closing = pool.close()
		await assert.rejects(order(pool, ''), code('ERR_BROKER_CLOSED'))
		await running
		await closing
	})

	it('lets the tasks of all threads finish when it is closed, however long after the first', async () => {
		const pool = await startPair()
		const running = [50, 400].map((ms) => order(pool, `sleep ${ms}`))
		await sleep(20)
		await pool.close()
		await Promise.all(running)
	})
})
