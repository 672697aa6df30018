import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BrokerError } from '../src/index.js'
import { order, startPool } from './support/worker-pool.js'

const startFixture = (pool: Parameters<typeof startPool>[1] = {}) => startPool('worker', pool)
const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('the worker pool', () => {
	it('says at once that its workers do not load', async () => {
		const started = performance.now()
		await assert.rejects(startPool('broken-worker', { taskTimeout: 1000 }), code('ERR_WORKER_FAILED'))
		assert.ok(performance.now() - started < 3000)
	})

	it('H1: fails only the tasks of a worker that dies, as retryable, and is back within a second', async () => {
		const pool = await startFixture()
		await assert.rejects(order(pool, 'exit'), (error) => {
			assert.ok(error instanceof BrokerError)
			assert.deepEqual([error.code, error.status], ['ERR_WORKER_FAILED', 503])
			assert.ok(error.retryAfter)
			return true
		})
		const started = performance.now()
		await order(pool, '')
		assert.ok(performance.now() - started < 1000)
		await pool.close()
	})

	it('H2: lives on when an idle worker throws', async () => {
		const pool = await startFixture()
		await order(pool, 'late')
		await new Promise((resolve) => setTimeout(resolve, 100))
		await order(pool, '')
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
		assert.ok(performance.now() - started < 600)
		await order(pool, '')
		await pool.close()
	})

	it('refuses what does not fit into its queue, at once', async () => {
		const pool = await startFixture({ concurrency: 1, maxQueue: 2 })
		const running = Array.from({ length: 3 }, () => order(pool, 'sleep 100'))
		const started = performance.now()
		await assert.rejects(order(pool, ''), code('ERR_OVERLOADED'))
		assert.ok(performance.now() - started < 50)
		await Promise.all(running)
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
})
