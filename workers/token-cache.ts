import { createHash } from 'node:crypto'
import { canonicalScope } from '../src/canonical-scope.js'
import { BrokerError } from '../src/errors.js'
import type { WireToken } from '../src/wire.js'

/**
 * MSAL's unified cache schema (the JSON that `TokenCache.serialize()` writes), as far as this library reads
 * it itself. Sections and entries that it does not know are carried along untouched.
 */
export interface TokenCacheJson {
	Account?: Record<string, CacheEntry>
	IdToken?: Record<string, CacheEntry>
	AccessToken?: Record<string, CacheEntry>
	RefreshToken?: Record<string, CacheEntry>
	AppMetadata?: Record<string, CacheEntry>
	/** Not MSAL's: what Microsoft Graph said of the account at sign-in. */
	DirectoryUser?: Record<string, CacheEntry>
	[section: string]: Record<string, CacheEntry> | undefined
}

interface CacheEntry {
	readonly home_account_id?: string
	readonly environment?: string
	readonly realm?: string
	readonly credential_type?: string
	readonly client_id?: string
	readonly secret?: string
	readonly target?: string
	readonly token_type?: string
	readonly cached_at?: string
	readonly expires_on?: string
	readonly refresh_on?: string
	readonly requestedClaimsHash?: string
	readonly mail?: string
}

/** Scopes of OpenID Connect itself: every request carries them and they choose no resource. */
const oidcScopes = new Set(['openid', 'profile', 'email', 'offline_access'])

/**
 * @throws ERR_SIGNED_OUT when the text is no token cache: MSAL would throw a raw `SyntaxError` or `TypeError`,
 * or read entries off a prototype.
 */
export function parseTokenCache(text: string): TokenCacheJson {
	let value: unknown
	try {
		value = JSON.parse(text)
	} catch {
		throw notACache()
	}
	if (!isPlainObject(value)) throw notACache()
	for (const [name, section] of Object.entries(value)) {
		const needed = neededFields.get(name)
		if (!isPlainObject(section)) throw notACache()
		for (const key in section) if (!isReadable(section[key], needed)) throw notACache()
	}
	return value as TokenCacheJson
}

/** Fields that MSAL compares, splits or sends as text without a look at what they are. */
const textFields = new Set([
	'home_account_id',
	'environment',
	'realm',
	'client_id',
	'credential_type',
	'secret',
	'target',
])

/** The field of each section's entries without which MSAL fails, in part after it has used the refresh token. */
const neededFields = new Map([
	['Account', 'home_account_id'],
	['IdToken', 'secret'],
	['AccessToken', 'target'],
	['RefreshToken', 'secret'],
])

function isReadable(entry: unknown, needed: string | undefined): boolean {
	if (!isPlainObject(entry) || (needed !== undefined && !entry[needed])) return false
	for (const field in entry) {
		const value = entry[field]
		if (typeof value === 'string') continue
		if (needed !== undefined && textFields.has(field)) return false
		if (typeof value === 'object' && value !== null && isDeeperThan(deepest, value)) return false
	}
	return true
}

/** Levels in an entry. MSAL writes two; what can be read at many thousands can no longer be written. */
const deepest = 32

function isDeeperThan(levels: number, value: object): boolean {
	if (levels === 0) return true
	for (const inner of Object.values(value))
		if (typeof inner === 'object' && inner !== null && isDeeperThan(levels - 1, inner)) return true
	return false
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
	return (
		typeof value === 'object' && value !== null && !Array.isArray(value) && !Object.hasOwn(value, '__proto__')
	)
}

function notACache(): BrokerError {
	return new BrokerError('ERR_SIGNED_OUT', 'The stored tokens cannot be read. Sign in again.')
}

/**
 * Looks a valid access token up without building an MSAL client, which costs more than four times as much.
 * @param wanted.scopes matched as MSAL does: OpenID Connect's own count only where no others are wanted, and an entry
 * has to carry them then. A resource's token, for which Entra grants none of them, is not for such a request.
 * @param wanted.realms the tenants by whose name it may go, in lower case: a guest has tokens of several
 * @param wanted.beyond the token must still live then, in milliseconds since the epoch
 */
export function findAccessToken(
	cache: TokenCacheJson,
	wanted: {
		readonly clientId: string
		readonly homeAccountId: string
		readonly realms: readonly string[]
		readonly scopes: readonly string[]
		readonly beyond: number
	},
): WireToken | undefined {
	const asked = wanted.scopes.map(canonicalScope)
	const others = asked.filter((scope) => !oidcScopes.has(scope))
	// Nothing is granted by that name: it asks for a refresh token.
	const scopes = others.length > 0 ? others : asked.filter((scope) => scope !== 'offline_access')
	if (scopes.length === 0) return undefined
	for (const entry of Object.values(cache.AccessToken ?? {})) {
		if (entry.home_account_id !== wanted.homeAccountId || entry.client_id !== wanted.clientId) continue
		if (entry.credential_type !== 'AccessToken' || entry.requestedClaimsHash) continue
		if (typeof entry.realm !== 'string' || !wanted.realms.includes(entry.realm.toLowerCase())) continue
		const { secret, target } = entry
		const expiresOn = toTime(entry.expires_on)
		if (typeof secret !== 'string' || typeof target !== 'string' || secret === '') continue
		if (!(expiresOn > wanted.beyond)) continue
		const granted = target.split(' ')
		const held = new Set(granted.map(canonicalScope))
		if (!scopes.every((scope) => held.has(scope))) continue
		const refreshOn = toTime(entry.refresh_on)
		return {
			accessToken: secret,
			expiresOn,
			...(refreshOn > 0 && { refreshOn }),
			scopes: granted,
			tokenType: typeof entry.token_type === 'string' ? entry.token_type : 'Bearer',
		}
	}
	return undefined
}

/**
 * The cache, as JSON of this many bytes at most if it can be: the oldest access tokens are left out, which can be had
 * again, as many as need be; and nothing else, which can't.
 */
export function withinBytes(cache: TokenCacheJson, most: number): TokenCacheJson {
	let surplus = Buffer.byteLength(JSON.stringify(cache)) - most
	if (surplus <= 0) return cache
	const oldestFirst = Object.entries(cache.AccessToken ?? {})
		.map(([key, entry]) => ({ key, entry, time: toTime(entry.cached_at) || toTime(entry.expires_on) || 0 }))
		.sort((a, b) => a.time - b.time)
	const left = new Set<string>()
	for (const { key, entry } of oldestFirst) {
		if (surplus <= 0) break
		left.add(key)
		surplus -= Buffer.byteLength(JSON.stringify({ [key]: entry })) - 1
	}
	const AccessToken = Object.fromEntries(
		Object.entries(cache.AccessToken ?? {}).filter(([key]) => !left.has(key)),
	)
	return { ...cache, AccessToken }
}

/** When the longest-lived access token expires, in milliseconds since the epoch; 0 when there is none. */
export function latestExpiry(cache: TokenCacheJson): number {
	let latest = 0
	for (const entry of Object.values(cache.AccessToken ?? {})) {
		const time = toTime(entry.expires_on)
		if (time > latest) latest = time
	}
	return latest
}

/** The largest time that a `Date` can have. */
const lastTime = 8.64e15

/** A time as the cache has it, in seconds as text, in milliseconds; `NaN` when it is none. */
function toTime(value: unknown): number {
	// Number() throws on an object whose `toString` and `valueOf` are no functions.
	const time = typeof value === 'string' || typeof value === 'number' ? Number(value) * 1000 : Number.NaN
	return time <= lastTime ? time : Number.NaN
}

/** The cache without refresh tokens: the provider has said that they are dead. */
export function withoutRefreshTokens(cache: TokenCacheJson): TokenCacheJson {
	return { ...cache, RefreshToken: {} }
}

/** Tells refresh tokens apart without telling them. */
export function refreshTokenFingerprint(cache: TokenCacheJson): string {
	const secrets = Object.values(cache.RefreshToken ?? {})
		.map(({ secret }) => (typeof secret === 'string' ? secret : ''))
		.sort()
	return createHash('sha256').update(JSON.stringify(secrets)).digest('base64url')
}

/** Whether both would refresh with the same token. */
export function sameRefreshToken(a: TokenCacheJson, b: TokenCacheJson): boolean {
	return refreshTokenFingerprint(a) === refreshTokenFingerprint(b)
}

/** Whether every account and credential in the cache is this account's: one partition, one person. */
export function holdsOnly(cache: TokenCacheJson, homeAccountId: string): boolean {
	for (const section of ['Account', 'IdToken', 'AccessToken', 'RefreshToken'] as const)
		for (const entry of Object.values(cache[section] ?? {}))
			if (entry.home_account_id !== homeAccountId) return false
	return true
}

/** The refresh token to use: of this client, and not one that has ended. Those of a family of clients are not. */
export function findRefreshToken(cache: TokenCacheJson, clientId: string): string | undefined {
	for (const { client_id, secret, expires_on } of Object.values(cache.RefreshToken ?? {})) {
		if (client_id !== clientId || typeof secret !== 'string') continue
		// RFC 6749, A.17: what is none cannot be sent.
		if (!/^[\x20-\x7e]+$/.test(secret)) continue
		if (expires_on === undefined || toTime(expires_on) > Date.now()) return secret
	}
	return undefined
}

/**
 * A cache with what a refresh brought, as MSAL would have stored it: an access token takes the place of those of its
 * account and tenant with which it shares a scope (of OpenID Connect's own, none counts), so that nobody keeps the
 * one that was refused; and a refresh token that of its client, whatever name of the cloud it was stored under. An
 * id_token takes the place of what a record of the original said of the person.
 */
export function withRefreshed(cache: TokenCacheJson, answer: TokenCacheJson): TokenCacheJson {
	const fresh = Object.values(answer.AccessToken ?? {})
	const clients = new Set(Object.values(answer.RefreshToken ?? {}).map(({ client_id }) => client_id))
	const says = Object.keys(answer.IdToken ?? {}).length > 0
	return mergeTokenCaches(
		{
			...cache,
			AccessToken: withoutEntries(cache.AccessToken, (entry) => fresh.some((one) => replaces(one, entry))),
			RefreshToken: withoutEntries(cache.RefreshToken, ({ client_id }) => clients.has(client_id)),
			IdToken: withoutEntries(cache.IdToken, (entry) => says && !isSigned(entry)),
		},
		answer,
	)
}

function withoutEntries(
	section: Record<string, CacheEntry> | undefined,
	drop: (entry: CacheEntry) => boolean,
): Record<string, CacheEntry> {
	return Object.fromEntries(Object.entries(section ?? {}).filter(([, entry]) => !drop(entry)))
}

const sameToken = ['home_account_id', 'client_id', 'credential_type'] as const

function replaces(fresh: CacheEntry, held: CacheEntry): boolean {
	if (!sameToken.every((field) => fresh[field] === held[field])) return false
	if (fresh.realm?.toLowerCase() !== held.realm?.toLowerCase()) return false
	const granted = new Set(scopesOf(fresh.target))
	return scopesOf(held.target).some((scope) => granted.has(scope))
}

/** Scopes that choose a resource, in the form in which they are compared. */
function scopesOf(target: string | undefined): string[] {
	return (target ?? '')
		.split(' ')
		.map(canonicalScope)
		.filter((scope) => scope !== '' && !oidcScopes.has(scope))
}

/** Whether an id_token is the provider's word; one that was imported from the original has no signature. */
export function isSigned({ secret }: { readonly secret?: string }): boolean {
	return typeof secret === 'string' && /\.[\w-]+$/.test(secret)
}

/** Whether the provider has said who somebody is, and not only a record of the original. */
export function isProven(cache: TokenCacheJson): boolean {
	const tokens = Object.values(cache.IdToken ?? {})
	return tokens.length > 0 && tokens.every(isSigned)
}

/** The account's mail address, as Microsoft Graph said it at sign-in. */
export function mailIn(cache: TokenCacheJson, homeAccountId: string): string | undefined {
	const mail = cache.DirectoryUser?.[homeAccountId]?.mail
	return typeof mail === 'string' && mail !== '' ? mail : undefined
}

/** The cache with this mail address of the account's, or without one. */
export function withMail(cache: TokenCacheJson, homeAccountId: string, mail?: string): TokenCacheJson {
	const { DirectoryUser: _, ...rest } = cache
	return mail === undefined ? rest : { ...rest, DirectoryUser: { [homeAccountId]: { mail } } }
}

/** Entries of both, entry by entry; where both have one, the second's. */
export function mergeTokenCaches(older: TokenCacheJson, newer: TokenCacheJson): TokenCacheJson {
	const merged: TokenCacheJson = { ...older }
	for (const [section, entries] of Object.entries(newer)) merged[section] = { ...older[section], ...entries }
	return merged
}
