import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { redisTokenStore } from '../../src/index.js'
import { secret } from '../cluster/setting.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { times } from './account.js'

describe('H7: a client that hangs up', { timeout: 60_000 }, () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let cookies: string[]
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ rotation: 'strict' }), startRedis()])
		app = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ path: redis.path }),
			refresh: { maxInFlight: 1 },
			configure: (koa, { broker }) =>
				koa.use(async (ctx, next) => {
					if (ctx.path !== '/refresh') return next()
					const hangUp = new AbortController()
					ctx.res.once('close', () => hangUp.abort())
					// Gone already, while the session was read.
					if (ctx.req.socket.destroyed) hangUp.abort()
					const { signal } = hangUp
					ctx.body = (await broker.acquireSilent(ctx.session, { forceRefresh: true, signal })).outcome
				}),
		})
		cookies = await Promise.all(times(4, signIn))
	})
	after(async () => {
		await app?.close()
		await Promise.all([redis?.stop(), world?.close()])
	})

	async function signIn(): Promise<string> {
		const browser = app.browser()
		await app.signIn(browser)
		const cookie = browser.jar.cookies.find(({ name }) => name.startsWith('msal-'))
		return `${cookie?.name}=${cookie?.value}`
	}
	/** What it is answered, and how its client hangs up. */
	function request(cookie: string | undefined) {
		const client = new AbortController()
		const answer = fetch(`${app.origin}/refresh`, {
			headers: { cookie: cookie ?? '' },
			signal: client.signal,
		}).then(
			(response) => response.text(),
			() => 'hung up',
		)
		return { answer, hangUp: () => client.abort() }
	}
	const refreshes = () => world.standIn.count('token', 'refresh_token')
	const underWay = sleep.bind(undefined, 150)

	it('H7: while its refresh is queued: it is dropped, unless somebody else waits for it', async () => {
		world.standIn.clearLog()
		world.standIn.inject({ on: 'token', delayMs: 800 })
		const [running, alone, patient, shared] = cookies
		const first = request(running)
		await underWay()
		const [left, waits, one, other] = [alone, patient, shared, shared].map(request)
		await underWay()
		left?.hangUp()
		one?.hangUp()
		const answers = await Promise.all([first, left, waits, one, other].map((each) => each?.answer))
		assert.deepEqual(answers, ['refreshed', 'hung up', 'refreshed', 'hung up', 'inflight'])
		assert.equal(refreshes(), 3, 'one for each session that was waited for')
		assert.equal(await request(alone).answer, 'refreshed', 'who comes back begins anew')
	})

	it('H7: while its refresh runs: it is completed and stored', async () => {
		world.standIn.clearLog()
		world.standIn.inject({ on: 'token', delayMs: 500 })
		const { answer, hangUp } = request(cookies[0])
		await underWay()
		hangUp()
		assert.equal(await answer, 'hung up')
		// Somebody else, whose turn it is when that is done.
		assert.equal(await request(cookies[1]).answer, 'refreshed')
		assert.equal(refreshes(), 2)
		// The provider takes each refresh token once: this one is what the first refresh brought.
		assert.equal(await request(cookies[0]).answer, 'refreshed')
	})

	it('H7: hundreds of times: leaves nothing behind that keeps others waiting', async () => {
		// Longer than all the rounds: whoever got the slot between two of them would go on, as one that has begun does.
		world.standIn.inject({ on: 'token', delayMs: 3000 })
		const first = request(cookies[0])
		await underWay()
		world.standIn.clearLog()
		for (let round = 0; round < 20; round++) {
			const many = times(10, () => request(cookies[1 + (round % 3)]))
			await sleep(10)
			for (const { hangUp } of many) hangUp()
			await Promise.all(many.map(({ answer }) => answer))
		}
		assert.equal(await first.answer, 'refreshed')
		const started = performance.now()
		assert.equal(await request(cookies[1]).answer, 'refreshed')
		assert.ok(performance.now() - started < 1000)
	})
})
