import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BrokerError } from '../../src/index.js'
import { accountOf } from '../../workers/account.js'
import {
	findAccessToken,
	holdsOnly,
	latestExpiry,
	mergeTokenCaches,
	parseTokenCache,
	sameRefreshToken,
	type TokenCacheJson,
	withoutRefreshTokens,
} from '../../workers/token-cache.js'

const homes = ['ada.tenant', 'charles.tenant'] as const
const clients = ['client-1', 'client-2'] as const
const now = 1_800_000_000_000

type Entry = Record<string, string>
type Cache = Record<string, Record<string, Entry>>

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
