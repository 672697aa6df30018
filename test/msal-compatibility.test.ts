import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { clientIds, createDirectory } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { redisTokenStore } from '../src/index.js'
import { createSealer } from '../src/sealing.js'
import type { SessionTicket } from '../src/session.js'
import { accountOf } from '../workers/account.js'
import { findAccessToken, holdsOnly, latestExpiry, parseTokenCache } from '../workers/token-cache.js'
import { createClient, REDIRECT_URI, signIn } from './dev/support/msal.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const sealer = createSealer([createSecretKey(Buffer.from(secret))], clientIds.web)
const scopes = ['User.Read']

describe('the cache schema of msal-node', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	let app: Application
	let ticket: SessionTicket
	let namespace: string
	// The application's own address and that of plain msal-node; on localhost the port does not count.
	const { pathname } = new URL(REDIRECT_URI)
	const { clients } = createDirectory({
		redirectUris: ['http://localhost/user/authorized', `http://localhost${pathname}`],
		postLogoutRedirectUris: ['http://localhost/'],
	})
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ refreshIn: 1800, clients }), startRedis()])
		app = await createApplication(world, { secrets: [secret], store: redisTokenStore({ path: redis.path }) })
		await app.signIn(app.browser())
		ticket = (app.seen.session as { msal: SessionTicket }).msal
		const [key = ''] = await redis.client().keys(`*:t:{${ticket.partition}}`)
		namespace = key.slice(0, key.indexOf(':t:'))
	})
	after(async () => {
		await app.close()
		await Promise.all([redis.stop(), world.close()])
	})

	async function blobOf(partition: string): Promise<string> {
		const sealed = (await redis.client().hget(`${namespace}:t:{${partition}}`, 'b')) ?? ''
		const opened = sealer.open('tokens', partition, sealed)
		assert.ok(opened.ok)
		return opened.plaintext
	}

	/** A session of this library whose partition holds what plain msal-node has written. */
	async function sessionOf(cache: string, account: SessionTicket['account']) {
		const partition = randomBytes(32).toString('base64url')
		const b = sealer.seal('tokens', partition, cache)
		const x = latestExpiry(parseTokenCache(cache))
		await redis.client().hset(`${namespace}:t:{${partition}}`, { v: 1, b, x })
		return { msal: { partition, account } }
	}

	for (const when of ['after a sign-in', 'after a refresh', 'after a refresh for a second resource'])
		it(`is written here so that plain msal-node reads it, ${when}`, async () => {
			if (when !== 'after a sign-in')
				await app.broker.acquireSilent(
					{ msal: ticket },
					when === 'after a refresh' ? { forceRefresh: true } : { scopes: ['Mail.Read'] },
				)
			const held = await app.broker.acquireSilent({ msal: ticket })
			const msal = createClient(world.standIn)
			msal.getTokenCache().deserialize(await blobOf(ticket.partition))
			const [account, ...others] = await msal.getTokenCache().getAllAccounts()
			assert.ok(account && others.length === 0)
			assert.deepEqual(
				[account.homeAccountId, account.localAccountId, account.username, account.tenantId],
				[ticket.account.homeAccountId, people.ada.oid, people.ada.upn, world.standIn.tenantId],
			)
			world.standIn.clearLog()
			const result = await msal.acquireTokenSilent({ account, scopes })
			assert.equal(world.standIn.count('token'), 0, 'from the cache')
			assert.deepEqual([result?.fromCache, result?.accessToken], [true, held.accessToken])
			assert.equal(result?.expiresOn?.getTime(), held.expiresOn.getTime())
			const refreshed = await msal.acquireTokenSilent({ account, scopes, forceRefresh: true })
			assert.equal(world.standIn.count('token', 'refresh_token'), 1, 'and refreshes from it')
			assert.notEqual(refreshed?.accessToken, held.accessToken)
		})

	it('is the same after plain msal-node has read and written it: nothing is lost', async () => {
		const before = await blobOf(ticket.partition)
		const msal = createClient(world.standIn)
		msal.getTokenCache().deserialize(before)
		const after = parseTokenCache(msal.getTokenCache().serialize())
		for (const [section, entries] of Object.entries(parseTokenCache(before)))
			assert.deepEqual(Object.keys(after[section] ?? {}).sort(), Object.keys(entries ?? {}).sort(), section)
	})

	it('written by plain msal-node is read here, and refreshed from', async () => {
		const msal = createClient(world.standIn)
		const result = await (await signIn(msal, world.standIn)).redeem()
		const homeAccountId = result.account?.homeAccountId ?? ''
		const text = msal.getTokenCache().serialize()
		const cache = parseTokenCache(text)
		const account = accountOf(cache, homeAccountId)
		assert.deepEqual(account, {
			homeAccountId,
			tenantId: world.standIn.tenantId,
			objectId: people.ada.oid,
			username: people.ada.upn,
			name: people.ada.name,
			...(account.loginHint !== undefined && { loginHint: account.loginHint }),
		})
		assert.ok(holdsOnly(cache, homeAccountId))
		const token = findAccessToken(cache, {
			clientId: clientIds.web,
			homeAccountId,
			realms: [world.standIn.tenantId],
			scopes,
			beyond: Date.now(),
		})
		assert.equal(token?.accessToken, result.accessToken)
		assert.equal(token?.expiresOn, result.expiresOn?.getTime())
		assert.equal(latestExpiry(cache), result.expiresOn?.getTime())
		assert.ok(
			token?.refreshOn && Math.abs(token.refreshOn - Date.now() - 1_800_000) < 60_000,
			'refresh_in is kept',
		)
		assert.equal(token.tokenType, 'Bearer')

		const session = await sessionOf(text, account)
		world.standIn.clearLog()
		const cached = await app.broker.acquireSilent(session)
		assert.deepEqual([cached.outcome, cached.accessToken], ['cached', result.accessToken])
		assert.equal(world.standIn.count('token'), 0)
		const refreshed = await app.broker.acquireSilent(session, { forceRefresh: true })
		assert.deepEqual([refreshed.outcome, refreshed.account.objectId], ['refreshed', people.ada.oid])
		assert.notEqual(refreshed.accessToken, result.accessToken)

		// There and back again.
		const back = createClient(world.standIn)
		back.getTokenCache().deserialize(await blobOf(session.msal.partition))
		const [known] = await back.getTokenCache().getAllAccounts()
		assert.ok(known)
		const silent = await back.acquireTokenSilent({ account: known, scopes })
		assert.deepEqual([silent?.fromCache, silent?.accessToken], [true, refreshed.accessToken])
	})

	it('of a token won with claims has it in the place of the plain one, which somebody has refused', async () => {
		const claims = JSON.stringify({ access_token: { xms_cc: { values: ['cp1'] } } })
		const msal = createClient(world.standIn)
		const result = await (await signIn(msal, world.standIn)).redeem()
		assert.ok(result.account)
		const special = await msal.acquireTokenSilent({ account: result.account, scopes, claims })
		const cache = parseTokenCache(msal.getTokenCache().serialize())
		const { homeAccountId } = result.account
		const found = findAccessToken(cache, {
			clientId: clientIds.web,
			homeAccountId,
			realms: [world.standIn.tenantId],
			scopes,
			beyond: Date.now(),
		})
		assert.notEqual(special?.accessToken, result.accessToken)
		assert.equal(found?.accessToken, special?.accessToken)
	})

	it('of a guest is read by the home account, and by nobody else’s', async () => {
		const msal = createClient(world.standIn)
		const result = await (await signIn(msal, world.standIn, { loginHint: people.emmy.upn })).redeem()
		const homeAccountId = result.account?.homeAccountId ?? ''
		const cache = parseTokenCache(msal.getTokenCache().serialize())
		assert.equal(accountOf(cache, homeAccountId).objectId, people.emmy.oid)
		assert.notEqual(homeAccountId, `${people.emmy.oid}.${world.standIn.tenantId}`)
		const wanted = {
			clientId: clientIds.web,
			realms: [world.standIn.tenantId],
			scopes,
			beyond: Date.now(),
		}
		assert.ok(findAccessToken(cache, { ...wanted, homeAccountId }))
		assert.equal(
			findAccessToken(cache, { ...wanted, homeAccountId: ticket.account.homeAccountId }),
			undefined,
		)
		assert.equal(findAccessToken(cache, { ...wanted, homeAccountId, clientId: clientIds.api }), undefined)
	})
})
