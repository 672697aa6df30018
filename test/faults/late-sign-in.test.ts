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
