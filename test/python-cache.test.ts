import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createOwnAuthority } from '../workers/own-authority.js'
import { bringOver } from '../workers/python-cache.js'
import { isProven, withRefreshed } from '../workers/token-cache.js'
import { type PythonTokens, pythonCache } from './support/python-session.js'

const clientId = '11111111-2222-3333-4444-555555555555'
const tid = '22222222-2222-4333-8444-555555555555'
const oid = '0d000000-0000-4000-8000-000000000001'
const authority = `https://login.microsoftonline.com/${tid}`
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claims = {
	aud: clientId,
	tid,
	oid,
	sub: 'a-subject',
	preferred_username: 'ada@contoso.example',
	name: 'Ada',
}
const idTokenOf = (changes: object = {}) =>
	`${encoded({ alg: 'RS256' })}.${encoded({ ...claims, ...changes })}.c2ln`
const tokens = {
	clientId,
	environment: 'login.microsoftonline.com',
	homeAccountId: `${oid}.${tid}`,
	idToken: idTokenOf(),
	refreshToken: 'a-refresh-token',
} satisfies PythonTokens
const own = (where = authority, allowedTenants: readonly string[] | 'any' = 'any') => ({
	clientId,
	authority: where,
	accepts: createOwnAuthority({ authority: where, allowedTenants }).accepts,
})
type Cache = ReturnType<typeof pythonCache>
const bring = (cache: Cache, at = own()) => bringOver(JSON.stringify(cache), at)
const brought = (cache: Cache, at = own()) => {
	const result = bring(cache, at)
	assert.ok(typeof result === 'object', String(result))
	return result
}
const only = (section: Record<string, Record<string, unknown>> | undefined) => {
	const [entry, ...more] = Object.values(section ?? {})
	assert.ok(entry && more.length === 0)
	return entry
}

describe('a token cache of MSAL-Python', () => {
	it('becomes one of ours, with the same person and refresh token', () => {
		const { cache, account } = brought(pythonCache(tokens))
		assert.deepEqual(account, {
			homeAccountId: tokens.homeAccountId,
			tenantId: tid,
			objectId: oid,
			username: 'ada@contoso.example',
			name: 'Ada',
		})
		assert.deepEqual(Object.keys(cache.Account ?? {}), [`${oid}.${tid}-login.microsoftonline.com-${tid}`])
		assert.deepEqual(Object.keys(cache.RefreshToken ?? {}), [
			`${oid}.${tid}-login.microsoftonline.com-refreshtoken-${clientId}---`,
		])
		assert.equal(only(cache.RefreshToken as never).secret, tokens.refreshToken)
	})

	it('brings no access token, and says who somebody is without the provider’s signature', () => {
		const { cache } = brought(pythonCache(tokens))
		assert.deepEqual(cache.AccessToken, {})
		assert.ok(!JSON.stringify(cache).includes('c2ln'))
		assert.equal(isProven(cache), false)
		assert.equal(isProven({ IdToken: { it: { secret: tokens.idToken } } }), true)
		assert.equal(isProven({}), false)
	})

	it('has all that it said of the person replaced by what the provider says, whatever that calls itself', () => {
		const { cache } = brought(pythonCache(tokens))
		const said = { ...only(cache.IdToken as never), environment: 'login.windows.net', secret: tokens.idToken }
		const refreshed = withRefreshed(cache, { IdToken: { 'another key': said } })
		assert.deepEqual(refreshed.IdToken, { 'another key': said })
		assert.equal(isProven(refreshed), true)
		assert.equal(isProven(withRefreshed(cache, { IdToken: {} })), false)
	})

	it('is taken whatever the authority was called in it: common, a domain, another name of the cloud', () => {
		for (const changes of [
			{ realm: 'common' },
			{ realm: 'contoso.example' },
			{ environment: 'sts.windows.net' },
		]) {
			const { cache } = brought(pythonCache({ ...tokens, ...changes }))
			assert.equal(only(cache.IdToken as never).realm, tid)
		}
	})

	it('has a host without its port, which ours has', () => {
		const { cache } = brought(
			pythonCache({ ...tokens, environment: 'login.example' }),
			own(`https://login.example:8443/${tid}`),
		)
		assert.equal(only(cache.Account as never).environment, 'login.example:8443')
	})

	it('has several refresh tokens after several consents: the newest counts', () => {
		const cache = pythonCache(tokens)
		const [[key = '', first] = []] = Object.entries(cache.RefreshToken ?? {})
		cache.RefreshToken = {
			newest: { ...first, secret: 'the newest', last_modification_time: '9999999999' },
			[key]: { ...first },
			damaged: { ...first, secret: 'of no time', last_modification_time: 'soon' },
		}
		assert.equal(only(brought(cache).cache.RefreshToken as never).secret, 'the newest')
	})

	it('may hold what the application got for itself', () => {
		const cache = pythonCache(tokens)
		cache.AccessToken = {
			own: { home_account_id: null, credential_type: 'AccessToken', secret: 'x', target: '' },
		}
		brought(cache)
	})

	it('is not taken from another client, another authority, or without a refresh token', () => {
		const other = pythonCache({ ...tokens, clientId: 'another-client' })
		assert.equal(bring(other), 'another client')
		assert.equal(bring(pythonCache({ ...tokens, idToken: idTokenOf({ aud: 'another' }) })), 'another client')
		assert.equal(
			bring(pythonCache({ ...tokens, environment: 'login.elsewhere.example' })),
			'another authority',
		)
		assert.equal(
			bring(pythonCache({ ...tokens, idToken: idTokenOf({ tid: 'another-tenant' }) })),
			'another authority',
		)
		assert.equal(
			bring(pythonCache(tokens), own(`https://login.microsoftonline.com/common`, ['t'])),
			'another authority',
		)
		assert.equal(bring({ ...pythonCache(tokens), RefreshToken: {} }), 'no refresh token')
	})

	it('with tokens of two people is nobody’s', () => {
		const cache = pythonCache(tokens)
		cache.Account = { ...cache.Account, other: { ...only(cache.Account), home_account_id: 'other.person' } }
		assert.equal(bring(cache), 'several people')
	})

	it('that is damaged or hostile is damaged, and no more', () => {
		const deep = `{"Account":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`
		for (const text of [
			'',
			'null',
			'[]',
			'"text"',
			'{',
			'{}',
			'{"Account":[]}',
			'{"Account":{"a":null}}',
			deep,
		])
			assert.equal(bringOver(text, own()), 'damaged', text.slice(0, 40))
		const cache = pythonCache(tokens)
		for (const idToken of ['', 'a', 'a.b.c', `${encoded({})}.${encoded(null)}.x`])
			assert.equal(bring(withSecret(cache, idToken)), 'damaged', idToken)
		assert.equal(bring(pythonCache({ ...tokens, idToken: idTokenOf({ oid: '', sub: '' }) })), 'damaged')
		assert.equal(bring(pythonCache({ ...tokens, idToken: idTokenOf({ tid: 'a/b c' }) })), 'damaged')
		const polluted = `{"__proto__":{"Account":{}},"Account":{"__proto__":{"home_account_id":"x"}}}`
		assert.equal(bringOver(polluted, own()), 'damaged')
	})
})

function withSecret(cache: Cache, secret: string): Cache {
	const entries = Object.entries(cache.IdToken ?? {}).map(([key, entry]) => [key, { ...entry, secret }])
	return { ...cache, IdToken: Object.fromEntries(entries) }
}
