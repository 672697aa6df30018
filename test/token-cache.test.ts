import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BrokerError } from '../src/index.js'
import {
	findAccessToken,
	findRefreshToken,
	holdsOnly,
	latestExpiry,
	mailIn,
	mergeTokenCaches,
	parseTokenCache,
	type TokenCacheJson,
	withMail,
	withRefreshed,
} from '../workers/token-cache.js'

const homes = ['ada.tenant', 'charles.tenant'] as const
const clients = ['client-1', 'client-2'] as const
const now = 1_800_000_000_000

type Entry = Record<string, string>
type Cache = Record<string, Record<string, Entry>>

const scopes = (maxLength: number) =>
	fc.uniqueArray(
		fc.constantFrom('User.Read', 'user.read', 'Mail.Read', 'https://graph.example/Files.Read', 'openid'),
		{ maxLength },
	)
const seconds = (spread: number) =>
	fc.integer({ min: -spread, max: spread }).map((s) => String(now / 1000 + s))

const accessToken: fc.Arbitrary<Entry> = fc.record(
	{
		home_account_id: fc.constantFrom(...homes),
		client_id: fc.constantFrom(...clients),
		realm: fc.constantFrom('tenant', 'tenant', 'Tenant', 'other'),
		credential_type: fc.constantFrom(
			'AccessToken',
			'AccessToken',
			'AccessToken_With_AuthScheme',
			'RefreshToken',
		),
		secret: fc.oneof({ weight: 9, arbitrary: fc.uuid() }, { weight: 1, arbitrary: fc.constant('') }),
		target: scopes(4).map((list) => ['profile', ...list].join(' ')),
		expires_on: fc.oneof(
			{ weight: 9, arbitrary: seconds(600) },
			{ weight: 1, arbitrary: fc.constant('banana') },
		),
		refresh_on: seconds(600),
		token_type: fc.constantFrom('Bearer', 'pop'),
		requestedClaimsHash: fc.constantFrom('', 'a-hash'),
	},
	{
		requiredKeys: [
			'home_account_id',
			'client_id',
			'realm',
			'credential_type',
			'secret',
			'target',
			'expires_on',
		],
	},
)
const credential: fc.Arbitrary<Entry> = fc.record({
	home_account_id: fc.constantFrom(...homes),
	secret: fc.uuid(),
})

/** Few keys, so that two caches meet in some; among them names that every object has. */
const keyed = (entry: fc.Arbitrary<Entry>) =>
	fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'constructor', 'hasOwnProperty', 'toString'), entry, {
		maxKeys: 5,
	})

/** As a cache comes: out of a text. */
const caches: fc.Arbitrary<TokenCacheJson> = fc
	.record(
		{
			Account: keyed(credential),
			IdToken: keyed(credential),
			AccessToken: keyed(accessToken),
			RefreshToken: keyed(credential),
			AppMetadata: keyed(credential),
			FutureSection: keyed(credential),
			toString: keyed(credential),
			constructor: keyed(credential),
		},
		{ requiredKeys: [] },
	)
	.map((cache) => parseTokenCache(JSON.stringify(cache)))

function deepFreeze<T>(value: T): T {
	if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
		Object.freeze(value)
		Object.values(value).forEach(deepFreeze)
	}
	return value
}

const sectionOf = (cache: TokenCacheJson, section: string) =>
	Object.hasOwn(cache, section) ? (cache as Cache)[section] : undefined

describe('mergeTokenCaches', () => {
	it('G6: keeps every entry of both, the newer where both have one, of known and unknown sections', () => {
		fc.assert(
			fc.property(caches, caches, (older, newer) => {
				const merged = mergeTokenCaches(deepFreeze(older), deepFreeze(newer))
				const sections = new Set([...Object.keys(older), ...Object.keys(newer)])
				assert.deepEqual(new Set(Object.keys(merged)), sections)
				for (const section of sections) {
					const [before = {}, after = {}] = [sectionOf(older, section), sectionOf(newer, section)]
					const now = sectionOf(merged, section) ?? {}
					const keys = new Set([...Object.keys(before), ...Object.keys(after)])
					assert.deepEqual(new Set(Object.keys(now)), keys)
					for (const key of keys) assert.equal(now[key], Object.hasOwn(after, key) ? after[key] : before[key])
				}
			}),
			{ numRuns: 2000 },
		)
	})

	it('does the same again whatever the grouping, and nothing with nothing or with itself', () => {
		fc.assert(
			fc.property(caches, caches, caches, (a, b, c) => {
				assert.deepEqual(
					mergeTokenCaches(mergeTokenCaches(a, b), c),
					mergeTokenCaches(a, mergeTokenCaches(b, c)),
				)
				assert.deepEqual(mergeTokenCaches(a, a), a)
				assert.deepEqual(mergeTokenCaches({}, a), a)
				assert.deepEqual(mergeTokenCaches(a, {}), a)
			}),
			{ numRuns: 500 },
		)
	})

	it('G6: loses no credential that only one of two writers has', () => {
		fc.assert(
			fc.property(caches, caches, (mine, theirs) => {
				const secretsOf = (cache: TokenCacheJson) =>
					Object.entries(cache).flatMap(([section, entries = {}]) =>
						Object.entries(entries).map(([key, { secret }]) => [`${section}/${key}`, secret] as const),
					)
				const merged = new Map(secretsOf(mergeTokenCaches(mine, theirs)))
				const newer = new Map(secretsOf(theirs))
				for (const [name, secret] of secretsOf(mine))
					if (!newer.has(name)) assert.equal(merged.get(name), secret)
				for (const [name, secret] of newer) assert.equal(merged.get(name), secret)
			}),
			{ numRuns: 1000 },
		)
	})

	it('changes no prototype, whatever the sections and entries are called', () => {
		fc.assert(
			fc.property(caches, caches, (older, newer) => {
				const merged = mergeTokenCaches(older, newer)
				assert.equal(Object.getPrototypeOf(merged), Object.prototype)
				for (const entries of Object.values(merged))
					assert.equal(Object.getPrototypeOf(entries), Object.prototype)
				assert.deepEqual(Object.keys(Object.prototype), [])
			}),
		)
	})
})

describe('findAccessToken', () => {
	const wants = fc.record({
		clientId: fc.constantFrom(...clients),
		homeAccountId: fc.constantFrom(...homes),
		realms: fc.constantFrom(...([['tenant', 'common'], ['other']] as string[][])),
		scopes: scopes(2),
		beyond: fc.integer({ min: now - 400_000, max: now + 400_000 }),
	})
	type Wanted = typeof wants extends fc.Arbitrary<infer T> ? T : never
	const lower = (text: string) => text.toLowerCase()

	/** The rule, written down a second time. */
	const answers = (entry: Entry, { clientId, homeAccountId, realms, scopes, beyond }: Wanted) =>
		entry.home_account_id === homeAccountId &&
		entry.client_id === clientId &&
		realms.includes(lower(entry.realm ?? '')) &&
		entry.credential_type === 'AccessToken' &&
		!entry.requestedClaimsHash &&
		entry.secret !== '' &&
		Number(entry.expires_on) * 1000 > beyond &&
		scopes.length > 0 &&
		scopes.every(
			(scope) =>
				(scope === 'openid' && scopes.length > 1) ||
				lower(entry.target ?? '')
					.split(' ')
					.includes(lower(scope)),
		)

	it('D16: gives a token of this account and client, for all scopes, that lives long enough, or none', () => {
		let found = 0
		fc.assert(
			fc.property(caches, wants, (cache, wanted) => {
				const token = findAccessToken(deepFreeze(cache), wanted)
				const suitable = Object.values((cache as Cache).AccessToken ?? {}).filter((e) => answers(e, wanted))
				assert.equal(token !== undefined, suitable.length > 0)
				if (!token) return
				found++
				const entry = suitable.find(({ secret }) => secret === token.accessToken)
				assert.ok(entry, 'one of the suitable')
				assert.equal(token.expiresOn, Number(entry.expires_on) * 1000)
				assert.deepEqual(token.scopes, (entry.target ?? '').split(' '))
				assert.equal(token.refreshOn, entry.refresh_on && Number(entry.refresh_on) * 1000)
			}),
			{ numRuns: 10_000 },
		)
		assert.ok(found > 40, `the property was about ${found} tokens`)
	})

	const entry = {
		home_account_id: homes[0],
		client_id: clients[0],
		realm: 'tenant',
		credential_type: 'AccessToken',
		secret: 'token',
		target: 'User.Read Mail.Read openid',
		expires_on: String(now / 1000 + 3600),
	}
	const wanted: Wanted = {
		clientId: clients[0],
		homeAccountId: homes[0],
		realms: ['tenant', 'common'],
		scopes: ['user.read'],
		beyond: now,
	}
	const find = (change: object, wants: object = {}) =>
		findAccessToken({ AccessToken: { a: { ...entry, ...change } } } as TokenCacheJson, {
			...wanted,
			...wants,
		})?.accessToken

	it('gives the plain one', () => {
		assert.equal(find({}), 'token')
		assert.equal(find({ requestedClaimsHash: '' }), 'token')
		assert.equal(find({ realm: 'common' }), 'token')
		assert.equal(find({}, { scopes: ['MAIL.READ', 'offline_access', 'user.read'] }), 'token')
		assert.equal(find({}, { scopes: ['OpenID', 'offline_access'] }), 'token')
		assert.equal(find({}, { scopes: ['https://graph.microsoft.com/User.Read'] }), 'token')
		assert.equal(find({ target: 'https://graph.microsoft.com/User.Read' }), 'token')
	})

	for (const [what, change, wants] of [
		['another account', { home_account_id: homes[1] }, {}],
		['another client', { client_id: clients[1] }, {}],
		['a token of another tenant', { realm: 'other' }, {}],
		['a token of no tenant', { realm: undefined }, {}],
		['an entry without an account', { home_account_id: undefined }, {}],
		[
			'a proof-of-possession token',
			{ credential_type: 'AccessToken_With_AuthScheme', token_type: 'pop' },
			{},
		],
		['a token for claims', { requestedClaimsHash: 'hash' }, {}],
		['an empty token', { secret: '' }, {}],
		['a number for a token', { secret: 1 }, {}],
		['scopes that are a list', { target: ['User.Read'] }, {}],
		['a token with fewer scopes', { target: 'Mail.Read' }, {}],
		['a token with a scope that only begins like the wanted', { target: 'User.Read.All' }, {}],
		[
			'a resource’s token for OpenID Connect’s scopes alone',
			{ target: 'api://one/Read' },
			{ scopes: ['openid', 'profile'] },
		],
		['a token with fewer of those', {}, { scopes: ['openid', 'profile'] }],
		['a token for no scope of an access token', {}, { scopes: ['offline_access'] }],
		['a token that ends then', {}, { beyond: Number(entry.expires_on) * 1000 }],
		['no expiry', { expires_on: undefined }, {}],
		['an expiry that is no number', { expires_on: 'banana' }, {}],
		['an expiry in no year of a calendar', { expires_on: '1e300' }, {}],
		['an infinite expiry', { expires_on: 'Infinity' }, {}],
		['an expiry that cannot be a number', { expires_on: { toString: 1, valueOf: 1 } }, {}],
	] as const)
		it(`D16: never ${what}`, () => assert.equal(find(change, wants), undefined))
})

describe('findRefreshToken', () => {
	const withSecret = (secret: unknown): TokenCacheJson =>
		({ RefreshToken: { key: { client_id: 'client-1', secret } } }) as unknown as TokenCacheJson

	it('D16: passes over what RFC 6749 lets no refresh token be, and so cannot be sent', () => {
		assert.equal(findRefreshToken(withSecret('0.AbC-_~ !'), 'client-1'), '0.AbC-_~ !')
		for (const secret of ['', '\ud800', 'a\r\nb', 'ä', '\x7f', null, 1, {}])
			assert.equal(findRefreshToken(withSecret(secret), 'client-1'), undefined, JSON.stringify(secret))
	})
})

describe('holdsOnly', () => {
	it('is true exactly when every account and credential is that account’s', () => {
		fc.assert(
			fc.property(caches, fc.constantFrom(...homes), (cache, home) => {
				const sections = ['Account', 'IdToken', 'AccessToken', 'RefreshToken']
				const all = sections.flatMap((section) => Object.values(sectionOf(cache, section) ?? {}))
				assert.equal(
					holdsOnly(cache, home),
					all.every((entry) => entry.home_account_id === home),
				)
			}),
			{ numRuns: 1000 },
		)
	})

	it('D16: does not overlook one foreign entry among ten thousand, or one without an owner', () => {
		const cache = (last: object) => ({
			RefreshToken: Object.fromEntries(
				Array.from({ length: 10_000 }, (_, i) => [
					`k${i}`,
					i === 9_999 ? last : { home_account_id: homes[0] },
				]),
			),
		})
		assert.equal(holdsOnly(cache({ home_account_id: homes[0] }), homes[0]), true)
		assert.equal(holdsOnly(cache({ home_account_id: homes[1] }), homes[0]), false)
		assert.equal(holdsOnly(cache({}), homes[0]), false)
	})
})

describe('the mail address in a cache', () => {
	const ada = 'ada.tenant'
	const entry = { home_account_id: ada, client_id: 'client-1', secret: 'x', target: 'User.Read' }
	const before: TokenCacheJson = { AccessToken: { a: entry } }
	const after: TokenCacheJson = { AccessToken: { b: { ...entry, secret: 'y' } } }

	it('is one person’s, until it is taken out or another takes its place', () => {
		const known = withMail(before, ada, 'ada@example')
		assert.deepEqual([mailIn(known, ada), mailIn(known, 'charles.tenant')], ['ada@example', undefined])
		assert.equal(mailIn(withMail(known, ada, 'lovelace@example'), ada), 'lovelace@example')
		assert.deepEqual(withMail(known, ada), before)
		assert.deepEqual(mailIn(parseTokenCache(JSON.stringify(known)), ada), 'ada@example')
	})

	it('stays through a refresh, whichever of the two was stored first', () => {
		const known = withMail(before, ada, 'ada@example')
		for (const cache of [withRefreshed(known, after), withRefreshed(after, known)])
			assert.equal(mailIn(cache, ada), 'ada@example')
	})

	it('is none where something else stands in its place', () => {
		for (const mail of ['', 5, {}, undefined] as unknown as string[])
			assert.equal(mailIn({ DirectoryUser: { [ada]: { mail } } }, ada), undefined)
		for (const name of ['__proto__', 'constructor'])
			assert.equal(mailIn({ DirectoryUser: {} }, name), undefined)
	})
})

describe('latestExpiry', () => {
	it('is the largest of the expiries that are numbers, else 0', () => {
		fc.assert(
			fc.property(caches, (cache) => {
				const times = Object.values((cache as Cache).AccessToken ?? {})
					.map((entry) => Number(entry.expires_on) * 1000)
					.filter((time) => !Number.isNaN(time))
					.sort((a, b) => b - a)
				assert.equal(latestExpiry(cache), times[0] ?? 0)
			}),
		)
	})

	it('D16: does not give up on 200,000 entries, nor on an expiry that cannot be a number', () => {
		const AccessToken = Object.fromEntries(
			Array.from({ length: 200_000 }, (_, i) => [`k${i}`, { expires_on: String(i) }]),
		)
		assert.equal(latestExpiry({ AccessToken }), 199_999_000)
		const odd =
			'{"AccessToken":{"a":{"target":"x","expires_on":{"toString":1,"valueOf":1}},"b":{"target":"x","expires_on":"7"}}}'
		assert.equal(latestExpiry(parseTokenCache(odd)), 7000)
	})
})

describe('parseTokenCache', () => {
	const signedOut = (error: unknown) => error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT'

	it('gives back what a cache holds, unknown sections as well', () => {
		fc.assert(fc.property(caches, (cache) => assert.deepEqual(parseTokenCache(JSON.stringify(cache)), cache)))
	})

	for (const text of [
		'',
		' ',
		'not json',
		'{',
		'{"AccessToken":{',
		'null',
		'true',
		'42',
		'"text"',
		'[]',
		'[{}]',
		'{"AccessToken":null}',
		'{"AccessToken":[]}',
		'{"AccessToken":"x"}',
		'{"AccessToken":{"a":null}}',
		'{"AccessToken":{"a":[]}}',
		'{"AccessToken":{"a":7}}',
		'{"AccessToken":{"a":{}}}',
		'{"AccessToken":{"a":{"target":7}}}',
		'{"Account":{"a":{"home_account_id":7}}}',
		'{"Account":{"a":{"home_account_id":"x","environment":{"toString":1}}}}',
		'{"RefreshToken":{"a":{"secret":""}}}',
		'{"RefreshToken":{"a":{"home_account_id":"x"}}}',
		'{"IdToken":{"a":{"secret":"a.b.c","realm":7}}}',
		'{"hasOwnProperty":1}',
		'{"hasOwnProperty":{"a":1}}',
		'{"Unknown":1}',
		'{"__proto__":{}}',
		'{"__proto__":{"polluted":{}}}',
		'{"AccessToken":{"__proto__":{"polluted":"x"}}}',
		'{"AccessToken":{"a":{"__proto__":{"polluted":"x"}}}}',
		`${'['.repeat(100_000)}${']'.repeat(100_000)}`,
	])
		it(`D16: refuses ${JSON.stringify(text.slice(0, 60))} with ERR_SIGNED_OUT, quoting nothing of it`, () => {
			assert.throws(
				() => parseTokenCache(text),
				(error) => {
					assert.ok(signedOut(error))
					assert.equal((error as Error).cause, undefined)
					assert.equal((error as Error).message, 'The stored tokens cannot be read. Sign in again.')
					return true
				},
			)
		})

	it('takes any text and either refuses it or gives plain objects', () => {
		fc.assert(
			fc.property(
				fc.oneof(
					fc.json(),
					fc.string(),
					fc.json({ maxDepth: 3 }).map((x) => `{"A":{"b":${x}}}`),
				),
				(text) => {
					let cache: TokenCacheJson
					try {
						cache = parseTokenCache(text)
					} catch (error) {
						assert.ok(signedOut(error))
						return
					}
					for (const section of Object.values(cache))
						for (const entry of Object.values(section ?? {}))
							assert.ok(!Array.isArray(entry) && entry !== null)
				},
			),
			{ numRuns: 2000 },
		)
	})
})
