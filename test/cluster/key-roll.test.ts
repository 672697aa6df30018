import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Reply } from '../fixtures/broker-process.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { expire, readCache } from '../support/expire.js'
import { createSetting, type Session, type Setting, secret } from './setting.js'

const old = secret
const next = 'the next secret, more than 32 bytes of it: 9876543210'

describe('D5: secrets that are rolled', { timeout: 100_000 }, () => {
	let setting: Setting
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' }, { cache: { maxEntries: 1 } })
		sessions = await Promise.all(Array.from({ length: 20 }, () => setting.signIn()))
	})
	after(() => setting.close())

	const opensUnder = (session: Session, key: string) =>
		readCache(setting.where(session, key)).then(
			(found) => found !== undefined,
			() => false,
		)

	it('pod by pod, under load: nobody is signed out, and every blob ends under the new one', async (t) => {
		const counts = { calls: 0, refreshed: 0 }
		const bad: Reply[] = []
		/** Calls for every session, one after another, again and again, until it is told to stop. */
		const load = (one: BrokerProcess) => {
			let stop = false
			let turns = 0
			const ended = (async () => {
				for (; !stop; turns++)
					for (const [at, session] of sessions.entries()) {
						const forceRefresh = (turns + at) % 7 === 0
						const [reply] = await one.acquire([session], { forceRefresh })
						counts.calls++
						if (!reply || !('token' in reply)) bad.push(reply as Reply)
						else if (reply.objectId !== session.msal.account.objectId) bad.push(reply)
						else if (reply.outcome === 'refreshed') counts.refreshed++
					}
			})()
			return {
				/** A whole turn begins and ends after this call. */
				async turn() {
					for (const until = turns + 2; turns < until; ) await sleep(10)
				},
				async stop() {
					stop = true
					await ended
				},
			}
		}
		const pods: ({ process: BrokerProcess } & ReturnType<typeof load>)[] = []
		const startPod = async (secrets: readonly string[]) => {
			const process = await setting.start({ secrets })
			return { process, ...load(process) }
		}
		pods.push(await startPod([old]), await startPod([old]))
		for (const secrets of [[old, next], [next, old], [next]]) {
			for (const at of pods.keys()) {
				// The new pod is there before the old one goes, and the two lists are in use together for a while.
				const before = pods[at]
				pods[at] = await startPod(secrets)
				await pods[at]?.turn()
				await before?.stop()
				await before?.process.close()
				assert.deepEqual(bad, [], `rolling to ${secrets.length} secrets`)
			}
			// Only now may the next secrets come: every blob has been looked at under these.
			await Promise.all(pods.map((pod) => pod.turn()))
		}
		await Promise.all(pods.map(({ stop }) => stop()))
		assert.deepEqual(bad, [])
		for (const session of sessions) {
			assert.ok(await opensUnder(session, next), 'under the new secret')
			assert.ok(!(await opensUnder(session, old)), 'and not under the old one')
		}
		t.diagnostic(JSON.stringify(counts))
		await Promise.all(pods.map(({ process }) => process.close()))
	})

	describe('out of order: a process that has only the old one meets a blob under the new one', () => {
		for (const expired of [false, true])
			it(`and answers signed out, leaves it alone, and is in nobody’s way${expired ? ', also when it would be refreshed' : ''}`, async () => {
				const behind = await setting.start({ secrets: [old] })
				const ahead = await setting.start({ secrets: [next, old] })
				const session = await setting.signIn()
				const [first] = await ahead.acquire([session], { forceRefresh: true })
				assert.ok(first && 'token' in first, JSON.stringify(first))
				if (expired) await expire(setting.where(session, next))
				const dump = async () =>
					(await setting.redis.dump()).filter((line) => line.includes(`{${session.msal.partition}}`))
				const before = (await dump()).filter((line) => line.includes(':t:'))
				assert.equal(before.length, 1)
				for (const forceRefresh of [false, true]) {
					const [reply] = await behind.acquire([session], { forceRefresh })
					assert.equal(reply && 'error' in reply && reply.error, 'ERR_SIGNED_OUT')
					assert.deepEqual(await dump(), before, 'neither deleted nor overwritten, and no lease')
				}
				const asked = performance.now()
				const [reply] = await ahead.acquire([session])
				assert.ok(reply && 'token' in reply, JSON.stringify(reply))
				assert.ok(performance.now() - asked < 900, 'without waiting for a lease to end')
				await Promise.all([behind.close(), ahead.close()])
			})
	})
})
