import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type BrokerError, redisTokenStore } from '../../src/index.js'
import { createApplication, createWorld } from '../support/application.js'
import { startRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const taskTimeout = 1500

describe('F3: a sign-in whose answer comes too late', { timeout: 60_000 }, () => {
	for (const [what, delay] of [
		['after the caller was told', taskTimeout + 700],
		['while the caller is told', taskTimeout - 5],
	] as const)
		it(`${what}: leaves no tokens, and the session before it alone`, async (t) => {
			const [world, redis] = await Promise.all([createWorld(), startRedis()])
			const app = await createApplication(world, {
				secrets,
				store: redisTokenStore({ path: redis.path }),
				network: { caFile: world.caFile, timeout: 5000 },
				pool: { threads: 1, taskTimeout },
			})
			t.after(async () => {
				await app.close()
				await Promise.all([redis.stop(), world.close()])
			})
			const browser = app.browser()
			await app.signIn(browser)
			const keys = async () => (await redis.client().keys('*:t:*')).sort()
			const before = await keys()
			assert.equal(before.length, 1)
			world.standIn.inject({ grant: 'authorization_code', delayMs: delay })
			// The provider knows them by now.
			const answer = await browser.follow(`${app.origin}/user/login`)
			// What comes in the last moment may come in time.
			if (answer.status !== 200) {
				assert.equal(answer.status, 503)
				assert.equal((app.errors.at(-1) as BrokerError).code, 'ERR_OVERLOADED')
				await sleep(2000)
				assert.deepEqual(await keys(), before)
			}
			assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
		})
})

describe('a sign-in while the broker closes', { timeout: 60_000 }, () => {
	it('F3: that waits for its turn is refused with its code unused, and nobody’s work is cut', async (t) => {
		const [world, redis] = await Promise.all([createWorld(), startRedis()])
		const app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			// A quarter of the places is for sign-ins: two.
			pool: { threads: 1, concurrency: 8 },
		})
		t.after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		const browsers = [app.browser(), app.browser(), app.browser()]
		for (const browser of browsers) await browser.follow(`${app.origin}/user/login`)
		const codes = () => world.standIn.log.filter(({ grant }) => grant === 'authorization_code').length
		world.standIn.clearLog()
		for (const delayMs of [900, 1800]) world.standIn.inject({ grant: 'authorization_code', delayMs })
		const answers = Promise.all(browsers.map((browser) => browser.press('Ada Lovelace')))
		for (const end = performance.now() + 5000; codes() < 2; await sleep(10))
			assert.ok(performance.now() < end)
		await sleep(200)
		await app.broker.close()
		const statuses = (await answers).map(({ status }) => status).sort()
		assert.equal(codes(), 2)
		assert.equal(statuses[2], 503)
		assert.ok(app.errors.some((error) => (error as BrokerError).code === 'ERR_BROKER_CLOSED'))
		// Of the others: their tokens, as they were done.
		assert.equal((await redis.client().keys('*:t:*')).length, 2)
	})
})

describe('a clock that is set while somebody signs in', { timeout: 60_000 }, () => {
	it('ends no deadline between the threads', async (t) => {
		const [world, redis] = await Promise.all([createWorld(), startRedis()])
		const app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		t.after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		// The main thread's is a minute behind the worker's, which asks when the provider has answered.
		const now = Date.now
		t.mock.method(Date, 'now', () => now() - 60_000)
		assert.equal((await app.signIn(app.browser())).status, 200)
	})
})
