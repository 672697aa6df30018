import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { HealthChecks } from '../../src/health.js'
import { createHealthRoutes, type Health, redisTokenStore } from '../../src/index.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { order, startPool } from '../support/worker-pool.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** What the promise allows until a probe tells the truth, in milliseconds. */
const inTime = 2000

describe('the probes (J3)', { timeout: 120_000 }, () => {
	let world: World
	let redis: TestRedis
	let app: Application
	before(async () => {
		world = await createWorld()
		redis = await startRedis()
		app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			// Middleware runs in the order of app.use(), and probes are to be in front.
			configure: (koa, { broker }) => void koa.middleware.unshift(createHealthRoutes(broker)),
		})
	})
	after(async () => {
		await app?.close()
		await redis?.stop()
		await world?.close()
	})

	const probe = async (path: string) => {
		const response = await fetch(`${app.origin}${path}`, { signal: AbortSignal.timeout(inTime) })
		return { status: response.status, headers: response.headers, body: (await response.json()) as Health }
	}
	/** Milliseconds until `/ready` has that status; `/live` is 200 all the while. */
	const untilReady = async (status: number) => {
		const started = performance.now()
		for (;;) {
			const [ready, live] = await Promise.all([probe('/ready'), probe('/live')])
			assert.equal(live.status, 200)
			const taken = performance.now() - started
			if (ready.status === status) return taken
			assert.ok(taken < 3 * inTime, `still ${ready.status} after ${taken} ms`)
			await sleep(20)
		}
	}

	it('say that all is well, and nothing secret', async () => {
		const { status, headers, body } = await probe('/ready')
		assert.equal(status, 200)
		assert.deepEqual(body, {
			ready: true,
			workers: { ok: true, threads: 1, wanted: 1 },
			store: { ok: true },
			provider: { ok: true },
		})
		assert.equal(headers.get('cache-control'), 'no-store')
		assert.equal(headers.get('set-cookie'), null)
		const live = await probe('/live')
		assert.deepEqual([live.status, live.body], [200, { live: true }])
		assert.equal((await fetch(`${app.origin}/ready`, { method: 'HEAD' })).status, 200)
		assert.equal(
			(await fetch(`${app.origin}/ready`, { method: 'POST' })).headers.get('x-frame-options'),
			null,
		)
	})

	it('E1: tell within two seconds that Redis is gone, and that it is back', async () => {
		await redis.kill()
		assert.ok((await untilReady(503)) < inTime)
		const { headers, body } = await probe('/ready')
		assert.equal(headers.get('retry-after'), '1')
		assert.equal(body.workers.ok, true)
		assert.equal(body.store.code, 'ERR_STORE_UNAVAILABLE')
		const { since } = body.store
		await sleep(600)
		assert.equal((await probe('/ready')).body.store.since, since, 'the outage began when it began')
		await redis.restart()
		assert.ok((await untilReady(200)) < inTime)
	})

	it('E3: tell within two seconds that Redis hangs, and that it goes on', async () => {
		process.kill(redis.pid, 'SIGSTOP')
		try {
			assert.ok((await untilReady(503)) < inTime)
		} finally {
			process.kill(redis.pid, 'SIGCONT')
		}
		assert.ok((await untilReady(200)) < inTime)
	})

	it('say how the last call to the provider went, and are ready all the same', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		world.standIn.inject({ status: 503, times: 10 })
		assert.equal((await browser.get(`${app.origin}/token?force`)).status, 503)
		await sleep(600)
		const { status, body } = await probe('/ready')
		assert.deepEqual([status, body.provider.ok, body.provider.code], [200, false, 'ERR_IDP_UNAVAILABLE'])
		world.standIn.clearFaults()
		// The provider has asked for a pause.
		while ((await browser.get(`${app.origin}/token?force`)).status !== 200) await sleep(200)
		await sleep(600)
		assert.deepEqual((await probe('/ready')).body.provider, { ok: true })
	})

	it('cost the store one question in half a second, however many ask', async () => {
		await sleep(600)
		const monitor = await redis.monitor()
		const started = performance.now()
		await Promise.all(Array.from({ length: 50 }, () => fetch(`${app.origin}/ready`)))
		const pings = (await monitor.commands()).filter(([name]) => name?.toLowerCase() === 'ping')
		monitor.stop()
		const halves = Math.ceil((performance.now() - started) / 500)
		assert.ok(
			pings.length >= 1 && pings.length <= halves,
			`${pings.length} pings in ${halves} halves of a second`,
		)
	})

	it('tell that no worker thread loads', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
		const obstacle = join(folder, 'obstacle')
		const pool = await startPool('unloadable-worker', {}, { namespace: obstacle })
		const checks = new HealthChecks(pool)
		try {
			assert.equal((await checks.look()).ready, true)
			writeFileSync(obstacle, '')
			await assert.rejects(order(pool, 'exit'))
			const started = performance.now()
			let health = await checks.look()
			while (health.ready) {
				await sleep(20)
				health = await checks.look()
			}
			assert.ok(performance.now() - started < inTime)
			const { since, ...workers } = health.workers
			assert.ok(since)
			assert.deepEqual(workers, { ok: false, code: 'ERR_WORKER_FAILED', threads: 0, wanted: 1 })
		} finally {
			await pool.close()
			rmSync(folder, { recursive: true })
		}
	})

	it('tell that the broker was closed', async () => {
		await app.broker.close()
		assert.equal((await probe('/ready')).status, 503)
		assert.equal((await probe('/live')).status, 200)
	})
})
