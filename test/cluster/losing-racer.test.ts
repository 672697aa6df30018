import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Reply } from '../fixtures/broker-process.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { type Cache, expire, readCache, type Whereabouts, writeCache } from '../support/expire.js'
import { createSetting, type Session, type Setting } from './setting.js'

const stored = async (where: Whereabouts) => {
	const found = await readCache(where)
	assert.ok(found)
	return found
}
const fingerprint = (cache: Cache) =>
	Object.values(cache.AccessToken ?? {}).map(({ secret }) => secret?.slice(-24))
const token = (reply: Reply | undefined) => {
	assert.ok(reply && 'token' in reply, JSON.stringify(reply))
	return reply.token
}

/** Under strict rotation, where a refresh token that is thrown away is a session that is lost. */
describe('G10: a refresh that is refused because another one was faster', () => {
	let setting: Setting
	let loser: BrokerProcess
	let other: BrokerProcess
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		;[loser, other] = await Promise.all([setting.start(), setting.start()])
	})
	after(() => setting.close())

	/** A session whose stored blob is an old one; `newer` is what the faster one will have stored. */
	async function outrun(): Promise<{ session: Session; where: Whereabouts; newer: Cache; version: number }> {
		const session = await setting.signIn()
		const where = setting.where(session)
		await expire(where)
		const old = await stored(where)
		const [first] = await other.acquire([session])
		token(first)
		const { cache: newer } = await stored(where)
		await writeCache(where, old.version + 10, old.cache)
		setting.world.standIn.clearLog()
		// The provider never sees the old refresh token, so it has no cause to end the whole grant.
		setting.world.standIn.inject({
			grant: 'refresh_token',
			delayMs: 500,
			error: { error: 'invalid_grant', code: 70000 },
		})
		return { session, where, newer, version: old.version + 11 }
	}
	const refreshes = () => setting.world.standIn.count('token', 'refresh_token')

	for (const request of [undefined, { forceRefresh: true }])
		it(`is answered with the newer token${request ? ', also when it was to be a fresh one' : ''}`, async () => {
			const { session, where, newer, version } = await outrun()
			const pending = loser.acquire([session, session], request)
			await sleep(250)
			await writeCache(where, version, newer)
			const [reply, joined] = await pending
			assert.equal(token(reply), fingerprint(newer)[0])
			assert.equal(token(joined), token(reply))
			assert.equal(refreshes(), 1, 'the refused one')
			assert.deepEqual((await stored(where)).cache, newer)
			await expire(where)
			token((await other.acquire([session]))[0])
		})

	it('is done again with the newer refresh token when the newer access token is of no use', async () => {
		const { session, where, newer, version } = await outrun()
		for (const entry of Object.values(newer.AccessToken ?? {})) entry.expires_on = '1'
		const pending = loser.acquire([session])
		await sleep(250)
		await writeCache(where, version, newer)
		const [reply] = await pending
		assert.ok(!fingerprint(newer).includes(token(reply)))
		assert.equal(refreshes(), 2)
		assert.ok(fingerprint((await stored(where)).cache).includes(token(reply)))
		await expire(where)
		token((await other.acquire([session]))[0])
	})

	it('keeps what it refreshed anew, although its lease had passed to the faster one', async () => {
		const { session, where, newer, version } = await outrun()
		for (const entry of Object.values(newer.AccessToken ?? {})) entry.expires_on = '1'
		const pending = loser.acquire([session])
		await sleep(250)
		await where.redis.del(`${where.namespace}:l:{${where.partition}}`)
		await writeCache(where, version, newer)
		const [reply] = await pending
		assert.ok(fingerprint((await stored(where)).cache).includes(token(reply)))
		await expire(where)
		token((await other.acquire([session]))[0])
	})

	it('waits for the faster one, when that is not done yet', async () => {
		const { session, where, newer, version } = await outrun()
		const lease = `${where.namespace}:l:{${where.partition}}`
		const pending = loser.acquire([session])
		await sleep(250)
		await where.redis.set(lease, 'a process that was faster', 'PX', 5000)
		await sleep(500)
		await writeCache(where, version, newer)
		await where.redis.del(lease)
		const [reply] = await pending
		assert.equal(token(reply), fingerprint(newer)[0])
		assert.equal(refreshes(), 1, 'the refused one')
		assert.deepEqual((await stored(where)).cache, newer)
	})

	it('means interaction when nobody was faster', async () => {
		const { session, where } = await outrun()
		const before = await stored(where)
		const [reply] = await loser.acquire([session])
		assert.equal(reply && 'error' in reply && reply.error, 'ERR_INTERACTION_REQUIRED')
		assert.equal(refreshes(), 1)
		assert.deepEqual(await stored(where), before)
	})
})
