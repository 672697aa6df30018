import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import Koa from 'koa'
import type { Browser } from '../../dev/cookie-jar-browser.js'
import { HealthChecks } from '../../src/health.js'
import {
	createHealthRoutes,
	type Health,
	redisTokenStore,
	type SessionLike,
	type TokenBroker,
} from '../../src/index.js'
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
			network: { caFile: world.caFile, timeout: 4000 },
			store: redisTokenStore({ path: redis.path }),
			// The probe's task goes to the idle one, and the provider hangs under the other.
			pool: { threads: 2 },
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
			workers: { ok: true, threads: 2, wanted: 2 },
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

	for (const [what, ...commands] of [
		['is read-only', ['REPLICAOF', '127.0.0.1', '9'], ['REPLICAOF', 'NO', 'ONE']],
		['is full', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
	] as const)
		it(`E8: tell within two seconds that Redis ${what}, and that it takes writes again`, async () => {
			const admin = redis.client()
			for (const [at, [name, ...rest]] of commands.entries()) {
				await admin.call(name, ...rest)
				assert.ok((await untilReady(at === 0 ? 503 : 200)) < inTime)
			}
		})

	it('F3: tell within two seconds that the provider hangs, and are ready all the same', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		world.standIn.inject({ hang: true, times: 10 })
		const began = performance.now()
		const hanging = browser.get(`${app.origin}/token?force`)
		try {
			for (let told = true; told; await sleep(20)) {
				const { status, body } = await probe('/ready')
				told = body.provider.ok
				assert.equal(status, 200)
				assert.ok(performance.now() - began < inTime)
			}
		} finally {
			world.standIn.clearFaults()
		}
		assert.equal((await hanging).status, 503)
		while ((await browser.get(`${app.origin}/token?force`)).status !== 200) await sleep(200)
		await sleep(600)
		assert.deepEqual((await probe('/ready')).body.provider, { ok: true })
	})

	it('say how the last call to the provider went, and are ready all the same', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		world.standIn.inject({ status: 200, body: '<!doctype html><title>Sign in to this network</title>' })
		assert.equal((await browser.get(`${app.origin}/token?force`)).status, 502)
		await sleep(600)
		assert.equal((await probe('/ready')).body.provider.code, 'ERR_IDP_PROTOCOL')
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
		const pings = (await monitor.commands()).filter(
			([name, key]) => name?.toLowerCase() === 'set' && key?.endsWith(':p'),
		)
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
		const server = new Koa()
			.use(createHealthRoutes({ health: () => checks.look() } as TokenBroker))
			.listen(0, '127.0.0.1')
		await once(server, 'listening')
		const { port } = server.address() as AddressInfo
		const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
		try {
			assert.equal((await ask('/ready')).status, 200)
			writeFileSync(obstacle, '')
			await assert.rejects(order(pool, 'exit'))
			const started = performance.now()
			for (; (await ask('/ready')).status !== 503; await sleep(20))
				assert.ok(performance.now() - started < inTime)
			assert.equal((await ask('/live')).status, 200)
			const { since, ...workers } = ((await (await ask('/ready')).json()) as Health).workers
			assert.ok(since)
			assert.deepEqual(workers, { ok: false, code: 'ERR_WORKER_FAILED', threads: 0, wanted: 1 })
			rmSync(obstacle)
			const mended = performance.now()
			// The pauses between two tries have grown by now.
			for (; (await ask('/ready')).status !== 200; await sleep(20))
				assert.ok(performance.now() - mended < 2 * inTime)
		} finally {
			server.close()
			await pool.close()
			rmSync(folder, { recursive: true })
		}
	})

	it('H5: tell within two seconds of a thread that loops', async () => {
		const pool = await startPool('worker', { threads: 2, taskTimeout: 4000 })
		const checks = new HealthChecks(pool)
		const threads = async () => (await checks.look()).workers.threads
		try {
			assert.equal(await threads(), 2)
			const looping = assert.rejects(order(pool, 'loop'))
			const started = performance.now()
			for (; (await threads()) !== 1; await sleep(20)) assert.ok(performance.now() - started < inTime)
			assert.equal((await checks.look()).workers.ok, true)
			await looping
			const ended = performance.now()
			for (; (await threads()) !== 2; await sleep(20)) assert.ok(performance.now() - ended < inTime)
		} finally {
			await pool.close()
		}
	})

	it('F3: are ready while more sign-ins hang at the provider than there is room for', async (t) => {
		const limited = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			network: { caFile: world.caFile, timeout: 4000 },
			pool: { threads: 1, concurrency: 16 },
		})
		t.after(() => limited.close())
		const [browser, ...others] = Array.from({ length: 31 }, () => limited.browser())
		await limited.signIn(browser as Browser)
		const stored = limited.seen.session as SessionLike
		world.standIn.inject({ grant: 'authorization_code', hang: true, times: 100 })
		const answers = others.map((other) => limited.signIn(other))
		await sleep(1500)
		const started = performance.now()
		const { workers, ready } = await limited.broker.health()
		assert.deepEqual([ready, workers.ok], [true, true])
		assert.equal((await limited.broker.acquireSilent(stored, { forceRefresh: true })).outcome, 'refreshed')
		assert.ok(performance.now() - started < 1000)
		for (const { status } of await Promise.all(answers)) assert.equal(status, 503)
		world.standIn.clearFaults()
	})

	it('H6: are ready under more load than is taken: another process would do no better', async () => {
		const pool = await startPool('unloadable-worker', { concurrency: 1, maxQueue: 20 })
		const checks = new HealthChecks(pool)
		try {
			const codes: string[] = []
			const load = Array.from({ length: 60 }, () =>
				order(pool, 'sleep 100').catch(({ code }) => codes.push(code)),
			)
			assert.equal((await checks.look()).ready, true)
			await Promise.all(load)
			assert.deepEqual(new Set(codes), new Set(['ERR_OVERLOADED']))
		} finally {
			await pool.close()
		}
	})

	it('tell that the broker was closed', async () => {
		await app.broker.close()
		assert.equal((await probe('/ready')).status, 503)
		assert.equal((await probe('/live')).status, 200)
	})
})
