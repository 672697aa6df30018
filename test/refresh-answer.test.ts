import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { BrokerError } from '../src/index.js'
import { createSetting, type Session, type Setting } from './cluster/setting.js'
import { expire, readCache } from './support/expire.js'

type Answer = Record<string, unknown>

describe('the answer to a refresh', () => {
	let setting: Setting
	before(async () => {
		// Strict: a refresh token that is thrown away ends the grant.
		setting = await createSetting({ rotation: 'strict' })
	})
	after(() => setting.close())

	/** Somebody whose token has expired, and whose next refresh is answered like this. */
	async function answered(rewrite: (answer: Answer) => Answer | Promise<Answer>): Promise<Session> {
		const session = await setting.signIn()
		await expire(setting.where(session))
		setting.world.standIn.inject({ grant: 'refresh_token', times: 1, rewrite: rewrite as never })
		return session
	}

	const without = (name: string) => (answer: Answer) =>
		Object.fromEntries(Object.entries(answer).filter(([key]) => key !== name))

	for (const missing of ['id_token', 'client_info'])
		it(`may come without ${missing}, and the next one is refreshed from it`, async () => {
			const session = await answered(without(missing))
			const refreshed = await setting.broker.acquireSilent(session)
			assert.equal(refreshed.outcome, 'refreshed')
			assert.deepEqual(refreshed.account, session.msal.account)
			await expire(setting.where(session))
			const next = await setting.broker.acquireSilent(session)
			assert.equal(next.outcome, 'refreshed')
			assert.notEqual(next.accessToken, refreshed.accessToken)
			const stored = await readCache(setting.where(session))
			assert.equal(Object.keys(stored?.cache.AccessToken ?? {}).length, 1)
			assert.equal(Object.keys(stored?.cache.RefreshToken ?? {}).length, 1)
		})

	const other = '99999999-2222-4333-8444-555555555555'
	for (const [what, change] of [
		['tenant', { tid: other }],
		['user', { oid: other }],
		['subject', { sub: 'somebody else' }],
		['user of another tenant', { tid: other, oid: other, sub: 'somebody else' }],
	] as const)
		it(`is refused when its id_token is of another ${what}, and nothing of it is stored`, async () => {
			const { standIn } = setting.world
			const session = await answered(async (answer) => ({
				...answer,
				id_token: await standIn.signIdToken({ ...decodeJwt(String(answer.id_token)), ...change }),
			}))
			const before = await readCache(setting.where(session))
			await assert.rejects(
				setting.broker.acquireSilent(session),
				(error) => error instanceof BrokerError && error.code === 'ERR_IDP_PROTOCOL',
			)
			assert.deepEqual(await readCache(setting.where(session)), before)
		})
})
