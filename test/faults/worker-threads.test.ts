import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerError } from '../../src/errors.js'
import type { WorkerPool } from '../../src/worker-pool.js'
import { order, startPool } from '../support/worker-pool.js'

const failed = (error: unknown) => {
	assert.ok(error instanceof BrokerError)
	assert.deepEqual([error.code, error.status, error.retryAfter], ['ERR_WORKER_FAILED', 503, 1])
	return true
}

describe('worker threads', { timeout: 60_000 }, () => {
	let pool: WorkerPool
	afterEach(() => pool.close())

	const start = async (...[worker, options, more]: Parameters<typeof startPool>) => {
		pool = await startPool(worker, { taskTimeout: 2000, ...options }, more)
	}

	/** The pool starts as soon as one has. */
	const bothLoaded = () => Promise.all(Array.from({ length: 8 }, () => order(pool, 'sleep 50')))

	it('H5: one that loops is ended at the deadline, fails what it had, and is replaced within a second', async () => {
		await start('worker')
		const started = performance.now()
		const beside = order(pool, 'sleep 30000')
		const results = await Promise.allSettled([order(pool, 'loop'), beside])
		for (const result of results) assert.equal(result.status, 'rejected')
		assert.ok(performance.now() - started < 2500, 'nobody waits longer than the deadline')
		await sleep(Math.max(0, 3000 - (performance.now() - started)))
		const answered = performance.now()
		await order(pool, '')
		assert.ok(performance.now() - answered < 500)
		assert.equal(pool.health.failures, 1)
	})

	it('H5: one that is only busy, or waits, is left alone', async () => {
		await start('worker', { taskTimeout: 10_000 })
		const busy = Array.from({ length: 30 }, () => order(pool, 'spin 100'))
		await Promise.all([order(pool, 'sleep 4000'), ...busy])
		assert.equal(pool.health.failures, 0)
	})

	it('H8: go on between tasks: what is to be done later is done', async () => {
		await start('worker')
		await order(pool, 'timer')
		await sleep(400)
		assert.deepEqual(await order(pool, '').then((value) => (value as { fired: number }).fired), 1)
	})

	it('H4: one that runs out of memory fails what it had, and is replaced within a second', async () => {
		await start('worker', { taskTimeout: 20_000 })
		const before = process.memoryUsage().heapUsed
		await assert.rejects(order(pool, 'grow'), failed)
		const started = performance.now()
		await order(pool, '')
		assert.ok(performance.now() - started < 1000)
		assert.ok(process.memoryUsage().heapUsed - before < 20 * 1_048_576)
	})

	it('that stop loading are tried again ever more slowly, and everything is refused at once meanwhile', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
		const obstacle = join(folder, 'obstacle')
		await start('unloadable-worker', { threads: 2 }, { namespace: obstacle })
		const warnings: string[] = []
		const onWarning = ({ message }: Error) => warnings.push(message)
		process.on('warning', onWarning)
		try {
			await bothLoaded()
			writeFileSync(obstacle, '')
			const ends = [order(pool, 'exit'), order(pool, 'exit')]
			await Promise.all(ends.map((end) => assert.rejects(end, failed)))
			for (const end = performance.now() + 3000; !pool.health.broken; await sleep(10))
				assert.ok(performance.now() < end, 'the breaker opens')

			const started = performance.now()
			for (let i = 0; i < 500; i++) await assert.rejects(order(pool, ''), failed)
			assert.ok(performance.now() - started < 500, 'refused at once')
			await sleep(1500)
			assert.ok(pool.health.failures < 20, `${pool.health.failures} threads were started`)
			assert.equal(warnings.filter((message) => /does not load/.test(message)).length, 1)

			rmSync(obstacle)
			const mended = performance.now()
			while (pool.health.broken) await sleep(20)
			assert.ok(performance.now() - mended < 5000)
			await order(pool, '')
			assert.deepEqual([pool.health.threads, pool.health.wanted], [2, 2])
		} finally {
			process.off('warning', onWarning)
			rmSync(folder, { recursive: true, force: true })
		}
	})

	it('of which one does not load leave the work to the other, and start no thread for each task', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
		const obstacle = join(folder, 'obstacle')
		await start('unloadable-worker', { threads: 2, concurrency: 4 }, { namespace: obstacle })
		try {
			await bothLoaded()
			writeFileSync(obstacle, '')
			await assert.rejects(order(pool, 'exit'), failed)
			const threads = () => pool.health.threads
			for (const end = performance.now() + 5000; threads() !== 1; await sleep(10))
				assert.ok(performance.now() < end, `${threads()} threads`)
			await order(pool, '')
			assert.equal(pool.health.broken, false)
			const { failures } = pool.health
			const many = await Promise.allSettled(Array.from({ length: 200 }, () => order(pool, 'sleep 50')))
			assert.ok(many.filter(({ status }) => status === 'fulfilled').length >= 4)
			assert.ok(pool.health.failures - failures < 5)
			rmSync(obstacle)
			for (const end = performance.now() + 15_000; threads() !== 2; await sleep(20))
				assert.ok(performance.now() < end)
		} finally {
			rmSync(folder, { recursive: true, force: true })
		}
	})

	it('that are replaced all together end what they do before, each of it', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
		const obstacle = join(folder, 'obstacle')
		await start(
			'unloadable-worker',
			{ threads: 3, concurrency: 1, taskTimeout: 20_000 },
			{ namespace: obstacle },
		)
		try {
			await Promise.all(Array.from({ length: 12 }, () => order(pool, 'sleep 100')))
			writeFileSync(obstacle, '')
			await assert.rejects(order(pool, 'exit'), failed)
			for (const end = performance.now() + 5000; pool.health.threads !== 2; await sleep(10))
				assert.ok(performance.now() < end, `${pool.health.threads} threads`)
			// The pool that takes the place of theirs is there long before the second of them ends.
			const running = [1500, 6000].map((ms) => order(pool, `sleep ${ms}`))
			rmSync(obstacle)
			await Promise.all(running)
			assert.equal(pool.health.threads, 3)
		} finally {
			rmSync(folder, { recursive: true, force: true })
		}
	})

	it('are closed while none loads', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
		const obstacle = join(folder, 'obstacle')
		await start('unloadable-worker', {}, { namespace: obstacle })
		writeFileSync(obstacle, '')
		await assert.rejects(order(pool, 'exit'), failed)
		for (const end = performance.now() + 5000; !pool.health.broken; await sleep(10))
			assert.ok(performance.now() < end)
		const started = performance.now()
		await pool.close()
		assert.ok(performance.now() - started < 1000)
		rmSync(folder, { recursive: true, force: true })
	})
})
