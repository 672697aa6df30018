import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BrokerError } from '../src/index.js'
import { accountOf } from '../workers/account.js'
import {
	findAccessToken,
	findRefreshToken,
	holdsOnly,
	latestExpiry,
	mailIn,
	mergeTokenCaches,
	parseTokenCache,
	sameRefreshToken,
	type TokenCacheJson,
	withMail,
	withoutRefreshTokens,
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

/** A cache as msal-node writes it. */
const jwt = (claims: object) =>
	`e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${Buffer.from('x').toString('base64url')}`
const identity = { home_account_id: homes[0], environment: 'login.example', realm: 'tenant' }
const genuine = JSON.stringify({
	Account: {
		'ada.tenant-login.example-tenant': {
			...identity,
			local_account_id: 'ada',
			username: 'ada@contoso.example',
			authority_type: 'MSSTS',
			tenantProfiles: ['{"tenantId":"tenant"}'],
		},
	},
	IdToken: {
		'ada.tenant-login.example-idtoken-client-1-tenant---': {
			...identity,
			client_id: clients[0],
			credential_type: 'IdToken',
			secret: jwt({
				oid: 'ada',
				tid: 'tenant',
				sub: 's',
				preferred_username: 'ada@contoso.example',
				name: 'Ada',
			}),
		},
	},
	AccessToken: {
		'ada.tenant-login.example-accesstoken-client-1-tenant-user.read--': {
			...identity,
			client_id: clients[0],
			credential_type: 'AccessToken',
			secret: 'the access token',
			target: 'User.Read openid',
			cached_at: String(now / 1000),
			expires_on: String(now / 1000 + 3600),
			refresh_on: String(now / 1000 + 1800),
			token_type: 'Bearer',
		},
	},
	RefreshToken: {
		'ada.tenant-login.example-refreshtoken-client-1----': {
			...identity,
			client_id: clients[0],
			credential_type: 'RefreshToken',
			secret: 'the refresh token',
		},
	},
	AppMetadata: {
		'appmetadata-login.example-client-1': { client_id: clients[0], environment: 'login.example' },
	},
})

/** The same numbers for the same seed (mulberry32): a failure can be run again. */
function random(seed: number): (below: number) => number {
	let state = seed
	return (below) => {
		state = (state + 0x6d2b79f5) | 0
		let t = Math.imul(state ^ (state >>> 15), 1 | state)
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
	}
}

/** What is put in the place of anything, as JSON. */
const oddities = [
	'null',
	'42',
	'-1',
	'1e999',
	'true',
	'""',
	'[]',
	'{}',
	'[null]',
	'"\\u0000"',
	'"__proto__"',
	'{"toString":1,"valueOf":1}',
	'{"toString":null}',
	'{"a":null}',
	'{"__proto__":{"polluted":1}}',
	'{"constructor":{"prototype":{"polluted":1}}}',
	'{"hasOwnProperty":1}',
	'{"then":1}',
	'{"length":1e9}',
	`"${jwt({})}"`,
	`"${jwt([])}"`,
	`"${jwt({ oid: { toString: 1 }, tid: 7, sub: null, preferred_username: [], name: {} })}"`,
	'"a.bnVsbA.c"',
	'"..."',
	`${'[1,'.repeat(50)}1${']'.repeat(50)}`,
	`${'{"a":'.repeat(50)}1${'}'.repeat(50)}`,
	'"charles.tenant"',
	'"ada.tenant"',
	'"client-1"',
	'"AccessToken"',
	'"Infinity"',
	'"1e300"',
	'"9999999999"',
	'"User.Read"',
]
const oddKeys = [
	'__proto__',
	'constructor',
	'prototype',
	'hasOwnProperty',
	'toString',
	'then',
	'',
	'0',
	'AccessToken',
]

/** One JSON text out of another: some node replaced, removed, renamed or repeated; or the text itself damaged. */
function mutate(text: string, pick: (below: number) => number): string {
	const any = <T>(list: readonly T[]): T => list[pick(list.length)] as T
	if (pick(5) === 0) {
		const at = pick(text.length)
		switch (pick(4)) {
			case 0:
				return text.slice(0, at)
			case 1:
				return text.slice(0, at) + String.fromCharCode(pick(128)) + text.slice(at + 1)
			case 2:
				return text.slice(0, at) + any(oddities) + text.slice(at + pick(20))
			default:
				return text.slice(at) + text.slice(0, at)
		}
	}
	// JSON.parse makes own `__proto__` keys and JSON.stringify writes them; markers stand for raw JSON.
	let root: unknown
	try {
		root = JSON.parse(text)
	} catch {
		return any(oddities)
	}
	const raw = new Map<string, string>()
	const marker = () => {
		const name = `@raw${raw.size}@`
		raw.set(`"${name}"`, any(oddities))
		return name
	}
	let node = root
	for (let depth = pick(4); ; depth--) {
		if (typeof node !== 'object' || node === null) return any(oddities)
		const keys = Object.keys(node)
		const holder = node as Record<string, unknown>
		const key = keys.length > 0 ? any(keys) : any(oddKeys)
		const child = Object.hasOwn(holder, key) ? holder[key] : undefined
		if (depth > 0 && typeof child === 'object' && child !== null) {
			node = child
			continue
		}
		const define = (name: string, value: unknown) =>
			Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true })
		switch (pick(4)) {
			case 0:
				define(key, marker())
				break
			case 1:
				delete holder[key]
				break
			case 2:
				define(any(oddKeys), pick(2) ? child : marker())
				break
			default:
				define(key, marker())
				define(any(oddKeys), marker())
		}
		break
	}
	let made = JSON.stringify(root)
	for (const [name, json] of raw) made = made.replace(name, () => json)
	return made
}

/** Everything that a worker does with an opened blob before MSAL sees it. @returns how far the text came */
function use(text: string): 'refused' | 'nobody' | 'no token' | 'token' {
	let cache: TokenCacheJson
	try {
		cache = parseTokenCache(text)
	} catch (error) {
		assert.ok(error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT', String(error))
		return 'refused'
	}
	assert.equal(typeof holdsOnly(cache, homes[0]), 'boolean')
	const latest = latestExpiry(cache)
	assert.ok(Number.isFinite(latest) && latest >= 0)
	assert.ok(sameRefreshToken(cache, cache))
	assert.deepEqual(withoutRefreshTokens(cache).RefreshToken, {})
	const merged = mergeTokenCaches(parseTokenCache(genuine), cache)
	assert.equal(Object.getPrototypeOf(merged), Object.prototype)
	const token = findAccessToken(cache, {
		clientId: clients[0],
		homeAccountId: homes[0],
		realms: ['tenant'],
		scopes: ['User.Read'],
		beyond: now,
	})
	if (token) {
		const { accessToken, expiresOn, refreshOn, scopes, tokenType } = token
		assert.ok(typeof accessToken === 'string' && accessToken !== '' && typeof tokenType === 'string')
		assert.ok(expiresOn > now && !Number.isNaN(new Date(expiresOn).getTime()), `${expiresOn}`)
		assert.ok(refreshOn === undefined || !Number.isNaN(new Date(refreshOn).getTime()), `${refreshOn}`)
		assert.ok(Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string'))
		const owners = Object.values(cache.AccessToken ?? {}).filter(({ secret }) => secret === accessToken)
		assert.ok(owners.some((owner) => owner.home_account_id === homes[0] && owner.client_id === clients[0]))
	}
	try {
		const account = accountOf(cache, homes[0])
		assert.equal(account.homeAccountId, homes[0])
		assert.ok(Object.values(account).every((value) => typeof value === 'string' && value.length <= 256))
	} catch (error) {
		assert.ok(error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT', String(error))
		return 'nobody'
	}
	return token ? 'token' : 'no token'
}

describe('a cache that was tampered with, under the right key (D16)', () => {
	it('reads the one that was not', () => assert.equal(use(genuine), 'token'))

	it('D16: is refused with ERR_SIGNED_OUT or read cleanly, 60,000 times, and pollutes nothing', () => {
		const seen = { refused: 0, nobody: 0, 'no token': 0, token: 0 }
		for (let seed = 1; seed <= 60_000; seed++) {
			const pick = random(seed)
			let text = genuine
			for (let times = 1 + pick(4); times > 0; times--) text = mutate(text, pick)
			try {
				seen[use(text)]++
			} catch (error) {
				throw new Error(`seed ${seed}: ${text.slice(0, 2000)}`, { cause: error })
			}
		}
		assert.equal(({} as { polluted?: unknown }).polluted, undefined)
		assert.deepEqual(Object.keys(Object.prototype), [])
		for (const [outcome, times] of Object.entries(seen)) assert.ok(times > 1000, `${outcome}: ${times}`)
	})

	it('D16: may be of 10,000 accounts, of other environments, very large or very deep', () => {
		const entries = JSON.parse(genuine) as Cache
		const many = (section: string) =>
			Object.fromEntries(
				Array.from({ length: 10_000 }, (_, i) => [
					`k${i}`,
					{
						...Object.values(entries[section] ?? {})[0],
						home_account_id: `user${i}.tenant`,
						environment: `e${i}`,
					},
				]),
			)
		const crowd = Object.fromEntries(Object.keys(entries).map((section) => [section, many(section)]))
		assert.equal(use(JSON.stringify(crowd)), 'nobody')
		const among = mergeTokenCaches(crowd as unknown as TokenCacheJson, entries as unknown as TokenCacheJson)
		assert.equal(use(JSON.stringify(among)), 'token')
		assert.equal(use(genuine.replaceAll('login.example', 'evil.example')), 'token')
		assert.equal(use(genuine.replace('"the refresh token"', `"${'x'.repeat(5_000_000)}"`)), 'token')
		const deep = (levels: number) => {
			const value = `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
			return use(genuine.replace('"cached_at"', () => `"deep":${value},"cached_at"`))
		}
		assert.equal(deep(20), 'token')
		assert.equal(deep(40), 'refused')
		assert.equal(deep(100_000), 'refused')
	})
})
