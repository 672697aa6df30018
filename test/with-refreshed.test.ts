import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConfidentialClientApplication, type INetworkModule } from '@azure/msal-node'
import fc from 'fast-check'
import { clientId, clientSecret, tenantId, tokensOf } from '../bench/people.js'
import { createSessionMaker } from '../bench/sessions.js'
import {
	findRefreshToken,
	parseTokenCache,
	type TokenCacheJson,
	withRefreshed,
} from '../workers/token-cache.js'

const host = 'login.example'
const authority = `https://${host}/${tenantId}`
const startedAt = Math.floor(Date.now() / 1000)
const authorityMetadata = JSON.stringify({
	issuer: `${authority}/v2.0`,
	authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
	token_endpoint: `${authority}/oauth2/v2.0/token`,
	jwks_uri: `${authority}/discovery/v2.0/keys`,
})
const world = { origin: `https://${host}`, host, authority, authorityMetadata, caFile: '', startedAt }
const { cache: signedIn } = createSessionMaker({ operation: 'refresh' }, world).session(1)
const tokens = tokensOf(1, 'refreshed', `${authority}/v2.0`, startedAt)

/** A real client of MSAL whose provider answers this. */
function createClient(answer: object): ConfidentialClientApplication {
	const networkClient: INetworkModule = {
		sendGetRequestAsync: () => assert.fail('nothing is to be got'),
		sendPostRequestAsync: async <T>() => ({ status: 200, headers: {}, body: structuredClone(answer) as T }),
	}
	return new ConfidentialClientApplication({
		auth: { clientId, clientSecret, authority, knownAuthorities: [host], authorityMetadata },
		system: { networkClient },
	})
}

const read = (client: ConfidentialClientApplication) => parseTokenCache(client.getTokenCache().serialize())

/** What MSAL makes of a refresh when it has the whole cache. */
async function refreshByMsal(text: string, answer: object): Promise<TokenCacheJson> {
	const client = createClient(answer)
	client.getTokenCache().deserialize(text)
	const [account] = await client.getTokenCache().getAllAccounts()
	assert.ok(account)
	await client.acquireTokenSilent({ account, scopes: ['User.Read'], forceRefresh: true })
	return read(client)
}

async function refreshHere(text: string, answer: object): Promise<TokenCacheJson> {
	const client = createClient(answer)
	const cache = parseTokenCache(text)
	const refreshToken = findRefreshToken(cache, clientId)
	assert.ok(refreshToken)
	await client.acquireTokenByRefreshToken({ refreshToken, scopes: ['User.Read'], forceCache: true })
	return withRefreshed(cache, read(client))
}

const known = ['User.Read', 'Mail.Read', 'api://one/Read', 'api://one/Write', 'user.read']
const targets = fc
	// The same scope twice in one answer makes MSAL's own arithmetic go wrong.
	.uniqueArray(fc.constantFrom(...known), { minLength: 1, maxLength: 3, selector: (s) => s.toLowerCase() })
	.chain((scopes) => fc.constantFrom(scopes, ['openid', 'profile', ...scopes]))
	.map((scopes) => scopes.join(' '))

/** Somebody's cache with so many more access tokens. */
function withTokens(held: readonly { target: string; realm: string; id: number }[]): string {
	const cache = JSON.parse(signedIn) as Record<string, Record<string, Record<string, string>>>
	const [token] = Object.values(cache.AccessToken ?? {})
	const home = token?.home_account_id
	cache.AccessToken = {}
	for (const { target, realm, id } of held) {
		const key = `${home}-${host}-accesstoken-${clientId}-${realm}-${target.toLowerCase()}-`
		cache.AccessToken[key] = { ...token, target, realm, secret: `token ${id}` }
	}
	// As MSAL names it today: what it writes itself then takes its place.
	const [refresh] = Object.values(cache.RefreshToken ?? {})
	cache.RefreshToken = { [`${home}-${host}-refreshtoken-${clientId}---`]: refresh ?? {} }
	return JSON.stringify(cache)
}

const secretsOf = (cache: TokenCacheJson, section: 'AccessToken' | 'RefreshToken' | 'IdToken') =>
	Object.entries(cache[section] ?? {})
		.map(([key, { secret }]) => `${section === 'IdToken' ? '' : key} ${secret}`)
		.sort()

describe('what a refresh brought, in the cache', () => {
	const answer = {
		token_type: 'Bearer',
		expires_in: 3600,
		access_token: tokens.accessToken,
		id_token: tokens.idToken,
		client_info: tokens.clientInfo,
	}

	it('is as MSAL would have put it there, whatever was held and whatever is granted', async () => {
		let replaced = 0
		const held = fc.array(
			fc.record({ target: targets, realm: fc.constantFrom(tenantId, 'other'), id: fc.nat(9) }),
			{ maxLength: 5 },
		)
		await fc.assert(
			fc.asyncProperty(held, targets, fc.boolean(), async (tokensHeld, scope, rotates) => {
				const text = withTokens(tokensHeld)
				const given = { ...answer, scope, ...(rotates && { refresh_token: 'the next one' }) }
				const [msals, ours] = await Promise.all([refreshByMsal(text, given), refreshHere(text, given)])
				for (const section of ['AccessToken', 'RefreshToken', 'IdToken'] as const)
					assert.deepEqual(secretsOf(ours, section), secretsOf(msals, section))
				assert.deepEqual(Object.keys(ours.Account ?? {}), Object.keys(msals.Account ?? {}))
				const before = Object.keys(parseTokenCache(text).AccessToken ?? {})
				if (before.some((key) => !ours.AccessToken?.[key])) replaced++
			}),
			{ numRuns: 150 },
		)
		assert.ok(replaced > 10, `in ${replaced} runs a token was replaced`)
	})

	it('takes the place of a token of Graph’s that was stored by the other name of its scope', () => {
		const held = { target: 'User.Read', realm: tenantId, id: 1 }
		const fresh = { target: 'https://graph.microsoft.com/User.Read', realm: tenantId, id: 2 }
		const parse = (one: typeof held) => parseTokenCache(withTokens([one]))
		const cache = withRefreshed(parse(held), parse(fresh))
		assert.deepEqual(
			Object.values(cache.AccessToken ?? {}).map(({ secret }) => secret),
			['token 2'],
		)
	})

	it('replaces a refresh token that was stored under another name of the cloud', () => {
		const cache: TokenCacheJson = {
			RefreshToken: {
				old: { client_id: clientId, environment: 'login.microsoftonline.com', secret: 'old' },
				others: { client_id: 'another client', secret: 'other' },
			},
		}
		const answered = { RefreshToken: { new: { client_id: clientId, secret: 'new' } } }
		assert.deepEqual(Object.keys(withRefreshed(cache, answered).RefreshToken ?? {}), ['others', 'new'])
		assert.deepEqual(Object.keys(withRefreshed(cache, {}).RefreshToken ?? {}), ['old', 'others'])
	})
})

describe('the refresh token to use', () => {
	const find = (...entries: object[]) =>
		findRefreshToken(
			{ RefreshToken: Object.fromEntries(entries.map((entry, at) => [`${at}`, entry])) } as TokenCacheJson,
			clientId,
		)
	const inSeconds = (seconds: number) => String(Math.floor(Date.now() / 1000) + seconds)

	it('is this client’s, and has not ended', () => {
		assert.equal(find({ client_id: 'other', secret: 'a' }, { client_id: clientId, secret: 'b' }), 'b')
		assert.equal(find({ client_id: clientId, secret: 'a', expires_on: inSeconds(60) }), 'a')
		assert.equal(find({ client_id: clientId, secret: 'a', expires_on: inSeconds(-60) }), undefined)
		for (const secret of ['', undefined, 1]) assert.equal(find({ client_id: clientId, secret }), undefined)
		assert.equal(find(), undefined)
	})
})
