import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import type { Person } from '../../dev/people.js'
import { createTokenBroker, type TokenBroker } from '../../src/index.js'
import { redisTokenStore } from '../../src/redis-token-store.js'
import { readCache } from '../support/expire.js'
import { createSetting, type Session, type Setting } from './setting.js'

const calls = 10_000
/** Calls that are under way at a time. */
const lanes = 50

const everybody: readonly Person[] = Array.from({ length: 500 }, (_, i) => ({
	oid: `0e000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
	upn: `person${i}@contoso.example`,
	name: `Person ${i}`,
}))

/** The same numbers in every run: a failure can be looked at again. */
function numbers(seed: number): (below: number) => number {
	let state = seed
	return (below) => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
		return Math.floor((state / 2 ** 32) * below)
	}
}

describe('D13: 500 people whose calls are mixed in one worker thread', { timeout: 170_000 }, () => {
	let setting: Setting
	let broker: TokenBroker
	const sessions: { readonly session: Session; readonly person: Person }[] = []
	before(async () => {
		setting = await createSetting({ people: everybody, rotation: 'strict' })
		const { redis, ...options } = setting.options({
			pool: { threads: 1 },
			// Next to nothing is held in memory: nearly every call reads its blob from the store.
			cache: { maxEntries: 20 },
		})
		broker = await createTokenBroker({ ...options, store: redisTokenStore(redis) })
		const waiting = [...everybody]
		const signInNext = async (): Promise<void> => {
			for (let person = waiting.pop(); person !== undefined; person = waiting.pop())
				sessions.push({ session: await setting.signIn(person.upn), person })
		}
		await Promise.all(Array.from({ length: 20 }, signInNext))
	})
	after(async () => {
		await broker.close()
		await setting.close()
	})

	it(`${calls} times everybody gets their own token, and each blob is one person's at the end`, async (t) => {
		const random = numbers(20_261_123)
		const outcomes: Record<string, number> = {}
		let left = calls
		const lane = async (): Promise<void> => {
			while (left-- > 0) {
				const { session, person } = sessions[random(sessions.length)] as (typeof sessions)[number]
				const forceRefresh = random(20) === 0
				const token = await broker.acquireSilent(session, { forceRefresh })
				outcomes[token.outcome] = (outcomes[token.outcome] ?? 0) + 1
				assert.equal(decodeJwt(token.accessToken).oid, person.oid)
				assert.equal(token.account.objectId, person.oid)
				assert.equal(token.account.username, person.upn)
			}
		}
		await Promise.all(Array.from({ length: lanes }, lane))
		t.diagnostic(JSON.stringify(outcomes))
		assert.ok((outcomes.cached ?? 0) > calls / 2, 'most came from the store')

		assert.equal(new Set(sessions.map(({ session }) => session.msal.partition)).size, everybody.length)
		for (const { session, person } of sessions) {
			const home = `${person.oid}.${setting.world.standIn.tenantId}`
			const cache = (await readCache(setting.where(session)))?.cache
			for (const section of ['Account', 'IdToken', 'AccessToken', 'RefreshToken']) {
				const entries = Object.values(cache?.[section] ?? {})
				assert.equal(entries.length, 1, section)
				assert.equal(entries[0]?.home_account_id, home, section)
				if (section === 'IdToken' || section === 'AccessToken')
					assert.equal(decodeJwt(entries[0]?.secret ?? '').oid, person.oid, section)
			}
		}
	})
})
