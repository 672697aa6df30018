import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

/** Milliseconds between two looks at the provider's keys for ids that are not among them. */
const rest = 30_000

describe('sign-ins with a key that nobody knows', { timeout: 60_000 }, () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		// Each thread has looked at the keys for itself.
		app = await createApplication(world, { pool: { threads: 1 } })
	})
	after(async () => {
		await app?.close()
		await world?.close()
	})

	it('F6: cost the provider one look in half a minute, and then the next', async () => {
		const { standIn } = world
		const looks = () => standIn.count('keys')
		const signIn = async () => (await app.signIn(app.browser())).status
		assert.equal(await signIn(), 200)
		standIn.clearLog()
		standIn.inject({
			grant: 'authorization_code',
			times: 1000,
			rewrite: async (answer) => ({
				...answer,
				id_token: await standIn.signIdToken(decodeJwt(String(answer.id_token)), { key: 'unknown' }),
			}),
		})
		assert.equal(await signIn(), 400)
		const first = performance.now()
		assert.equal(looks(), 1)
		while (looks() === 1) {
			assert.ok(performance.now() < first + rest + 3000, 'another look after half a minute')
			await sleep(500)
			assert.equal(await signIn(), 400)
		}
		assert.ok(performance.now() > first + rest - 500, `after ${performance.now() - first} ms`)
		assert.equal(looks(), 2)
		for (let i = 0; i < 3; i++) assert.equal(await signIn(), 400)
		assert.equal(looks(), 2)
		standIn.clearFaults()
		assert.equal(await signIn(), 200)
	})
})
