import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { answersOf, assertSignedIn, deliver } from '../support/answers.js'
import { expire, readCache } from '../support/expire.js'
import { freePort } from '../support/redis.js'
import { createLink } from '../support/redis-link.js'
import { createSetting, type Session, type Setting } from './setting.js'

// The promise is about a hundred rounds; elsewhere some show that it works.
const rounds = Number(process.env.ROUNDS ?? (process.env.TEST_SUITE === 'faults' ? 100 : 10))

/** Under strict rotation: a refresh that is not stored is a session that is lost. */
describe('G5: SIGTERM while 50 sessions are being refreshed', { timeout: 600_000 }, () => {
	let setting: Setting
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		sessions = await Promise.all(Array.from({ length: 50 }, () => setting.signIn()))
	})
	after(() => setting.close())

	const expireAll = () => Promise.all(sessions.map((session) => expire(setting.where(session))))

	it(`finishes and stores them all, takes no more, and ends: ${rounds} rounds`, async () => {
		const { standIn } = setting.world
		let next = setting.start()
		for (let round = 1; round <= rounds; round++) {
			await expireAll()
			const one = await next
			// While this one waits for the provider.
			next = setting.start()
			standIn.clearLog()
			standIn.inject({ grant: 'refresh_token', delayMs: 400, times: sessions.length })
			const ended = once(one.child, 'exit')
			const pending = one.acquire(sessions)
			// From before the first refresh has reached the provider to after the last one has.
			await sleep((300 / rounds) * round)
			one.child.kill('SIGTERM')
			const asked = performance.now()
			await sleep(50)
			const others = pending.then(
				() => 'the others are done',
				() => {},
			)
			const refused = one.acquire(sessions.slice(0, 1))
			assert.equal(await Promise.race([others, refused.then(() => 'at once')]), 'at once')
			const [reply] = await refused
			assert.equal(reply && 'error' in reply && reply.error, 'ERR_BROKER_CLOSED', `round ${round}`)

			const replies = await pending
			assert.deepEqual(await ended, [0, null], `round ${round}`)
			assert.ok(performance.now() - asked < 10_000)
			standIn.clearFaults()
			for (const [at, session] of sessions.entries()) {
				const reply = replies[at]
				assert.ok(reply && 'token' in reply, `round ${round}: ${JSON.stringify(reply)}`)
				const stored = await readCache(setting.where(session))
				const tokens = Object.values(stored?.cache.AccessToken ?? {}).map(({ secret }) => secret?.slice(-24))
				assert.ok(tokens.includes(reply.token), `round ${round}: what was given out is stored`)
			}
			assert.equal(standIn.count('token', 'refresh_token'), sessions.length)
			const left = await setting.redis.client().keys('*:l:*')
			assert.deepEqual(left, [], 'no lease is left behind')
		}
		await expireAll()
		const last = await (await next).acquire(sessions)
		assert.ok(
			last.every((reply) => 'token' in reply),
			`every session goes on: ${JSON.stringify(last.filter((reply) => 'error' in reply))}`,
		)
	})

	it('ends at once when it is told a second time, though the provider hangs, and loses nobody either', async () => {
		const { standIn } = setting.world
		await expireAll()
		const one = await setting.start()
		standIn.clearLog()
		standIn.inject({ grant: 'refresh_token', hang: true, times: sessions.length })
		const ended = once(one.child, 'exit')
		const cut = assert.rejects(one.acquire(sessions))
		for (const end = performance.now() + 5000; standIn.count('token', 'refresh_token') === 0; await sleep(10))
			assert.ok(performance.now() < end, 'the provider was asked')
		one.child.kill('SIGTERM')
		// It waits for the provider, as long as that may take.
		assert.equal(await Promise.race([ended, sleep(1000)]), undefined)
		one.child.kill('SIGTERM')
		const asked = performance.now()
		assert.deepEqual(await ended, [null, 'SIGTERM'])
		assert.ok(performance.now() - asked < 2000, `${performance.now() - asked} ms`)
		await cut

		standIn.clearFaults()
		const replies = await (await setting.start()).acquire(sessions)
		assert.deepEqual(
			replies.filter((reply) => 'error' in reply),
			[],
			'each lease that it left is over by itself',
		)
	})

	it('answers the sign-ins that are under way, whose sessions are stored last, and takes no more', async () => {
		const { standIn } = setting.world
		const link = await createLink(setting.redis.path)
		const answers = answersOf(standIn)
		try {
			const port = await freePort()
			const origin = `http://localhost:${port}`
			const auth = {
				...setting.options().auth,
				knownAuthorities: [standIn.host],
				redirectUri: `${origin}/user/authorized`,
			}
			const one = await setting.start({ port, auth, redis: { host: '127.0.0.1', port: link.port } })
			const begun = await Promise.all(
				Array.from({ length: 10 }, async () => {
					const browser = answers.browser()
					return [browser, await answers.answerOf(browser, { origin })] as const
				}),
			)
			// From the tokens to the session it takes a while.
			link.delay(100)
			standIn.clearLog()
			standIn.inject({ grant: 'authorization_code', delayMs: 500, times: begun.length })
			const delivered = begun.map(([browser, fields]) => deliver(browser, { origin }, fields))
			while (standIn.count('token', 'authorization_code') < begun.length) await sleep(10)
			const ended = once(one.child, 'exit')
			one.child.kill('SIGTERM')
			const asked = performance.now()
			await sleep(100)
			await assert.rejects(fetch(origin), 'no new connection')
			for (const answer of await Promise.all(delivered)) assertSignedIn(answer)
			assert.deepEqual(await ended, [0, null])
			assert.ok(performance.now() - asked < 10_000)
		} finally {
			await answers.close()
			await link.close()
		}
	})
})
