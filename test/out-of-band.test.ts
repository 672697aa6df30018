import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { API, clientIds, clientSecrets, TENANT_ID } from '../dev/directory.js'
import type { Person } from '../dev/people.js'
import {
	BrokerError,
	createTokenBroker,
	type KoaMsalOptions,
	memoryTokenStore,
	type OutOfBandUse,
	redisTokenStore,
	type TokenBroker,
} from '../src/index.js'
import { namespace, type Session, secret, signIn } from './cluster/setting.js'
import { createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const tenantId = TENANT_ID
const person = (n: number, upn: string): Person => ({
	oid: `0d000000-0000-4000-8000-00000000020${n}`,
	upn,
	name: `Person ${n}`,
})
const nora = person(1, 'nora@contoso.example')
const john = person(2, 'john@contoso.example')
const twin = person(3, 'twin@contoso.example')
const other = person(4, 'other@contoso.example')
const gone = person(5, 'gone@contoso.example')
const everybody = [nora, john, twin, other, gone]

/** Scopes that nobody has consented to. */
const unconsented = [`${API}/reports.read`]
const scopes = ['User.Read']
const noConsent = { grant: 'refresh_token', error: { error: 'invalid_grant', code: 65001 } }

const code = (expected: string) => (error: unknown) => {
	assert.ok(error instanceof BrokerError, String(error))
	assert.equal(error.code, expected)
	return true
}

for (const kind of ['memory', 'Redis'] as const)
	describe(`a token of somebody who is not there (redis_tools.get_session), ${kind}`, () => {
		let world: World
		let redis: TestRedis
		let broker: TokenBroker
		let uses: OutOfBandUse[]
		const listener = (message: unknown) => void uses.push(message as OutOfBandUse)

		before(async () => {
			;[world, redis] = await Promise.all([createWorld({ people: everybody }), startRedis()])
			broker = await start({ outOfBand: { scopes: [...scopes, 'Mail.Read', ...unconsented] } })
			subscribe('koa-msal:out-of-band', listener)
		})
		after(async () => {
			unsubscribe('koa-msal:out-of-band', listener)
			await broker.close()
			await Promise.all([redis.stop(), world.close()])
		})
		beforeEach(() => {
			uses = []
			world.standIn.clearLog()
		})
		afterEach(async () => {
			world.standIn.clearFaults()
			for (const { oid } of everybody) await broker.sessions.revoke({ tenantId, objectId: oid })
		})

		const start = (settings: Partial<KoaMsalOptions> = {}) =>
			createTokenBroker({
				auth: {
					clientId: clientIds.web,
					clientSecret: clientSecrets.web,
					authority: world.standIn.authority,
					redirectUri: 'http://localhost/user/authorized',
				},
				secrets: [secret],
				network: { caFile: world.caFile },
				pool: { threads: 1 },
				store: kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore(),
				...settings,
			})
		const signedIn = ({ upn }: Person) => signIn(world, broker, upn)
		const refreshed = (session: Session) => broker.acquireSilent(session, { scopes, forceRefresh: true })
		const idOf = ({ oid }: Person) => ({ tenantId, objectId: oid })

		it('is refused until the setting allows its scopes, before anybody is looked for', async () => {
			await signedIn(nora)
			const off = await start()
			try {
				for (const [from, asked] of [
					[off, scopes],
					[broker, ['Sites.Read.All']],
					[broker, [...scopes, 'Sites.Read.All']],
					[broker, ['openid', 'offline_access']],
				] as const) {
					const before = from.statistics.tasks
					await assert.rejects(from.forUser(idOf(nora), { scopes: asked }), code('ERR_FORBIDDEN'))
					assert.equal(from.statistics.tasks, before)
					const { correlationId, ...use } = uses.pop() as OutOfBandUse
					assert.match(correlationId, /^[\da-f-]{36}$/)
					assert.deepEqual(use, { ...idOf(nora), scopes: asked, outcome: 'failed', error: 'ERR_FORBIDDEN' })
				}
			} finally {
				await off.close()
			}
		})

		it('is that of exactly the user who is named, and its use is told, without the token', async () => {
			await signedIn(john)
			await signedIn(nora)
			const correlationId = 'the job of this night'
			const users = [idOf(nora), { tenantId, username: nora.upn }, { tenantId, mail: nora.upn.toUpperCase() }]
			for (const user of users) {
				const { accessToken, account, outcome } = await broker.forUser(user, { scopes, correlationId })
				assert.equal(account.objectId, nora.oid)
				assert.deepEqual(uses.pop(), { ...idOf(nora), scopes, correlationId, outcome })
				assert.ok(!JSON.stringify(uses).includes(accessToken))
			}
			for (const mail of ['ora@contoso.example', 'nora@contoso', '*'])
				await assert.rejects(broker.forUser({ tenantId, mail }, { scopes }), code('ERR_NOT_FOUND'), mail)
			assert.ok(uses.every((use) => use.error === 'ERR_NOT_FOUND' && !('objectId' in use)))
			assert.equal(uses.length, 3)
		})

		it('is held, for the next job and for the person', async () => {
			const session = await signedIn(nora)
			const first = await broker.forUser(idOf(nora), { scopes, forceRefresh: true })
			const calls = world.standIn.count('token')
			const second = await broker.forUser(idOf(nora), { scopes })
			assert.deepEqual([first.outcome, second.outcome], ['refreshed', 'hit'])
			const own = await broker.acquireSilent(session)
			assert.deepEqual([own.outcome, own.accessToken], ['hit', first.accessToken])
			assert.equal(world.standIn.count('token'), calls)
		})

		it('comes from the newest session, also when an older one was used last', async () => {
			const older = await signedIn(nora)
			const newest = await signedIn(nora)
			const [old, fresh] = [await refreshed(newest), await refreshed(older)]
			const { accessToken } = await broker.forUser(idOf(nora), { scopes })
			assert.notEqual(old.accessToken, fresh.accessToken)
			assert.equal(accessToken, old.accessToken)
		})

		it('comes from the next session when the newest can’t get it, or has ended', async () => {
			await signedIn(nora)
			const newest = await signedIn(nora)
			world.standIn.inject(noConsent)
			const { accessToken, outcome } = await broker.forUser(idOf(nora), { scopes, forceRefresh: true })
			assert.equal(outcome, 'refreshed')
			assert.notEqual((await broker.acquireSilent(newest)).accessToken, accessToken)
			await broker.signOut(newest)
			assert.equal((await broker.forUser(idOf(nora), { scopes })).accessToken, accessToken)
			await broker.sessions.revoke(idOf(nora))
			await assert.rejects(broker.forUser(idOf(nora), { scopes }), code('ERR_NOT_FOUND'))
		})

		it('wants the person when no session of theirs can get it', async () => {
			await signedIn(nora)
			await signedIn(nora)
			world.standIn.clearLog()
			await assert.rejects(broker.forUser(idOf(nora), { scopes: unconsented }), (error) => {
				assert.deepEqual((error as BrokerError).scopes, unconsented)
				return code('ERR_INTERACTION_REQUIRED')(error)
			})
			assert.equal(world.standIn.count('token'), 2, 'both were tried')
			assert.equal(uses.pop()?.error, 'ERR_INTERACTION_REQUIRED')
		})

		it('is not sought in the next session when the provider is down', async () => {
			await signedIn(gone)
			await signedIn(gone)
			world.standIn.clearLog()
			world.standIn.inject({ status: 503 })
			const asked = broker.forUser(idOf(gone), { scopes, forceRefresh: true })
			await assert.rejects(asked, code('ERR_IDP_UNAVAILABLE'))
			assert.equal(world.standIn.count('token'), 1)
			assert.equal(uses.pop()?.error, 'ERR_IDP_UNAVAILABLE')
		})

		it('is nobody’s when two users go by one name, and by id it is the one’s', async () => {
			await signedIn(twin)
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => {
					const claims = { ...decodeJwt(String(answer.id_token)), preferred_username: twin.upn.toUpperCase() }
					return { ...answer, id_token: await world.standIn.signIdToken(claims) }
				},
			})
			await signedIn(other)
			const named = broker.forUser({ tenantId, mail: twin.upn }, { scopes })
			await assert.rejects(named, code('ERR_AMBIGUOUS_USER'))
			assert.ok(!('objectId' in (uses.pop() as OutOfBandUse)))
			assert.equal((await broker.forUser(idOf(other), { scopes })).account.objectId, other.oid)
		})

		it('is not asked for by half, nor without scopes', async () => {
			for (const [user, request] of [
				[{ tenantId }, { scopes }],
				[{ objectId: nora.oid }, { scopes }],
				[{ ...idOf(nora), mail: nora.upn }, { scopes }],
				[idOf(nora), undefined],
				[idOf(nora), {}],
				[idOf(nora), { scopes: [] }],
				[idOf(nora), { scopes: 'User.Read' }],
			])
				await assert.rejects(broker.forUser(user as never, request as never), code('ERR_BAD_REQUEST'))
			assert.deepEqual(uses, [])
		})

		it('does not lengthen the session, and is written back', async () => {
			const { msal } = await signedIn(nora)
			const client = redis.client()
			const key = `${namespace}:t:{${msal.partition}}`
			if (kind === 'Redis') await client.pexpire(key, 100_000)
			const before = await broker.sessions.find(idOf(nora))
			const version = Number(await client.hget(key, 'v'))
			const { outcome, accessToken } = await broker.forUser(idOf(nora), { scopes, forceRefresh: true })
			assert.equal(outcome, 'refreshed')
			const after = await broker.sessions.find(idOf(nora))
			assert.equal(after.length, 1)
			// The clock of this process and that of Redis.
			assert.ok(Number(after[0]?.expiresOn) <= Number(before[0]?.expiresOn) + 50)
			if (kind === 'memory') return
			assert.ok((await client.pttl(key)) <= 100_000)
			assert.equal(Number(await client.hget(key, 'v')), version + 1)
			const another = await start()
			const stored = await another.acquireSilent({ msal })
			await another.close()
			assert.deepEqual([stored.outcome, stored.accessToken], ['cached', accessToken])
		})
	})
