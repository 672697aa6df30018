import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, before, describe, it } from 'node:test'
import type { Acquisition } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

describe('the channel koa-msal:acquire', () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	it('tells how each token was come by, how long it took and who joined, but no token and no person', async () => {
		await app.signIn(app.browser())
		const { session } = app.seen
		const seen: Acquisition[] = []
		const listener = (message: unknown) => void seen.push(message as Acquisition)
		subscribe('koa-msal:acquire', listener)
		try {
			const { accessToken } = await app.broker.acquireSilent(session)
			await Promise.all([1, 2, 3].map(() => app.broker.acquireSilent(session, { forceRefresh: true })))
			world.standIn.inject({ status: 503 })
			await assert.rejects(app.broker.acquireSilent(session, { forceRefresh: true }))
			assert.deepEqual(
				seen.map(({ outcome, error }) => outcome ?? error),
				['hit', 'refreshed', 'inflight', 'inflight', 'ERR_IDP_UNAVAILABLE'],
			)
			const [hit, refreshed, joined] = seen
			assert.equal(hit?.duration, 0)
			assert.equal(refreshed?.joined, 2)
			assert.ok(refreshed?.duration && refreshed.duration > 0 && joined?.duration)
			assert.ok(refreshed.queued !== undefined && refreshed.queued < refreshed.duration)
			const text = JSON.stringify(seen)
			assert.ok(!text.includes(accessToken) && !text.includes('ada'))
		} finally {
			unsubscribe('koa-msal:acquire', listener)
		}
		await app.broker.acquireSilent(session)
		assert.equal(seen.length, 5)
	})
})
