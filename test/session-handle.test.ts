import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { API, clientIds, clientSecrets } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { BrokerError, redisTokenStore, type SessionLike } from '../src/index.js'
import { type ApiStub, createApiStub, fingerprintOf } from './support/api-stub.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const scopes = [`${API}/access_as_user`]

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('the handle of a session (AsyncMSAL, from_request)', () => {
	let world: World
	let api: ApiStub
	let app: Application
	before(async () => {
		world = await createWorld()
		api = await createApiStub(world.standIn.tls)
		app = await createApplication(world, { secrets, downstream: { allowedHosts: [api.host] } })
	})
	after(async () => {
		await app.close()
		await Promise.all([api.close(), world.close()])
	})

	it('says who is signed in (name, authenticated), and acquires their tokens (get_token)', async () => {
		await app.signIn(app.browser())
		const handle = app.broker.forSession(app.seen.session)
		assert.equal(handle.authenticated, true)
		assert.equal(handle.name, 'Ada Lovelace')
		assert.equal(handle.account?.objectId, people.ada.oid)
		assert.equal(handle.account?.tenantId, world.standIn.tenantId)
		const token = await handle.acquireSilent()
		assert.equal(token, await app.broker.acquireSilent(app.seen.session))
		assert.ok((await handle.acquireSilent({ scopes })).scopes.includes(scopes[0] as string))
	})

	it('sees that nobody is signed in, and that somebody was signed out', async () => {
		for (const nobody of [null, undefined, {}, { msal: {} }]) {
			const handle = app.broker.forSession(nobody)
			assert.deepEqual([handle.authenticated, handle.account, handle.name], [false, undefined, undefined])
			await assert.rejects(handle.acquireSilent(), code('ERR_SIGNED_OUT'))
		}
		await app.signIn(app.browser())
		const session: { msal?: unknown } = { ...app.seen.session }
		const handle = app.broker.forSession(session)
		await app.broker.signOut(session)
		await assert.rejects(handle.acquireSilent(), code('ERR_SIGNED_OUT'))
		delete session.msal
		assert.equal(handle.authenticated, false)
	})

	it('calls with each of its verbs (request, get, post, put, patch, delete)', async () => {
		await app.signIn(app.browser())
		const handle = app.broker.forSession(app.seen.session)
		api.clear()
		const body = { a: 1 }
		for (const answer of [
			handle.get(api.origin, { scopes }),
			handle.post(api.origin, { scopes, body }),
			handle.put(api.origin, { scopes, body }),
			handle.patch(api.origin, { scopes, body }),
			handle.delete(api.origin, { scopes }),
			handle.request(api.origin, { scopes, method: 'OPTIONS' }),
			handle.request(api.origin, { scopes }),
		])
			assert.deepEqual(await (await answer).json(), { path: '/' })
		assert.deepEqual(api.calls.map(({ method, body }) => `${method} ${body}`).sort(), [
			'DELETE ',
			'GET ',
			'GET ',
			'OPTIONS ',
			'PATCH {"a":1}',
			'POST {"a":1}',
			'PUT {"a":1}',
		])
	})
})

describe('several brokers in one process (AsyncMSAL, app_kwargs)', () => {
	const tenantId = '22222222-2222-4333-8444-555555555555'
	let contoso: World
	let fabrikam: World
	let redis: TestRedis
	let api: ApiStub
	/** Two registrations of one tenant on one Redis, with the same secrets, and one of another. */
	let web: Application
	let twin: Application
	let abroad: Application
	before(async () => {
		;[contoso, fabrikam, redis] = await Promise.all([createWorld(), createWorld({ tenantId }), startRedis()])
		api = await createApiStub(contoso.standIn.tls)
		const store = () => redisTokenStore({ path: redis.path })
		const { privateKey, thumbprintSha256 } = contoso.certificate
		web = await createApplication(contoso, {
			secrets,
			store: store(),
			downstream: { allowedHosts: [api.host] },
		})
		twin = await createApplication(contoso, {
			secrets,
			store: store(),
			auth: {
				clientId: clientIds.certificate,
				clientCertificate: { privateKey, thumbprintSha256 },
			},
		})
		abroad = await createApplication(fabrikam, {
			secrets,
			store: store(),
			auth: { clientId: clientIds.web, clientSecret: clientSecrets.web },
		})
	})
	after(async () => {
		await Promise.all([web.close(), twin.close(), abroad.close()])
		await Promise.all([api.close(), redis.stop(), contoso.close(), fabrikam.close()])
	})

	it('keep people, tokens and settings apart', async () => {
		await web.signIn(web.browser(), 'Ada Lovelace')
		await twin.signIn(twin.browser(), 'Grace Hopper')
		const [ada, grace] = [web.seen.session, twin.seen.session]
		const tokens = await Promise.all([
			web.broker.forSession(ada).acquireSilent(),
			twin.broker.forSession(grace).acquireSilent(),
		])
		assert.deepEqual(
			tokens.map(({ accessToken }) => {
				const { oid, appid, azp } = decodeJwt(accessToken)
				return [oid, azp ?? appid]
			}),
			[
				[people.ada.oid, clientIds.web],
				[people.grace.oid, clientIds.certificate],
			],
		)

		// The same person and the same registration's id, in another tenant.
		await abroad.signIn(abroad.browser(), 'Ada Lovelace')
		const foreign = await abroad.broker.forSession(abroad.seen.session).acquireSilent()
		assert.equal(decodeJwt(foreign.accessToken).tid, tenantId)
		assert.equal(decodeJwt(tokens[0].accessToken).tid, contoso.standIn.tenantId)

		// A host that one of them may call.
		await (await web.broker.forSession(ada).get(api.origin, { scopes })).json()
		await assert.rejects(
			twin.broker.forSession(grace).get(api.origin, { scopes }),
			code('ERR_FORBIDDEN_TARGET'),
		)
		const expected = fingerprintOf(await web.broker.forSession(ada).acquireSilent({ scopes }))
		assert.deepEqual(
			api.calls.map(({ authorization }) => authorization),
			[expected],
		)
	})

	it('do not open each other’s sessions', async () => {
		await web.signIn(web.browser(), 'Ada Lovelace')
		const session: SessionLike = web.seen.session
		await web.broker.acquireSilent(session)
		await assert.rejects(twin.broker.acquireSilent(session), code('ERR_SIGNED_OUT'))
		await assert.rejects(abroad.broker.acquireSilent(session), code('ERR_SIGNED_OUT'))
		assert.equal((await web.broker.acquireSilent(session)).outcome, 'hit', 'and end none')
	})

	it('serve one browser side by side, and sign it out for themselves alone', async () => {
		const browser = web.browser()
		await web.signIn(browser, 'Ada Lovelace')
		// The provider knows her by now.
		await browser.follow(`${twin.origin}/user/login`)
		const token = async (app: Application) => (await browser.get(`${app.origin}/token`)).status
		assert.deepEqual([await token(web), await token(twin)], [200, 200])
		await web.broker.signOut(web.seen.session)
		assert.deepEqual([await token(web), await token(twin)], [401, 200])
		const kept = await twin.broker.acquireSilent(twin.seen.session, { forceRefresh: true })
		assert.equal(kept.outcome, 'refreshed')
	})
})
