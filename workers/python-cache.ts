import { isId } from '../src/plain-text.js'
import type { SignedInAccount } from '../src/wire.js'
import { claimsOf, toAccount } from './account.js'
import type { OwnAuthority } from './own-authority.js'
import { parseTokenCache, type TokenCacheJson } from './token-cache.js'

/** Why a cache is not brought over. */
export type NotUsable =
	| 'damaged'
	| 'several people'
	| 'no refresh token'
	| 'another client'
	| 'another authority'

export interface BroughtOver {
	readonly cache: TokenCacheJson
	readonly account: SignedInAccount
}

/** What this application is, as far as a cache says whether it was made for it. */
export interface OwnRegistration {
	readonly clientId: string
	readonly authority: string
	readonly accepts: OwnAuthority['accepts']
}

type Entries = readonly Readonly<Record<string, unknown>>[]

/**
 * MSAL-Python's token cache as ours. Both write the unified schema, so most fields have the same names; what differs:
 * Python's keys end differently, its `environment` has no port, `realm` is what the authority was called (`common`)
 * and not the tenant that answered, a refresh token's key has its scopes in it, so that several may lie about.
 * https://github.com/AzureAD/microsoft-authentication-library-for-python/blob/dev/msal/token_cache.py
 *
 * Whoever could write into the original's Redis could write anything: only known fields are taken, and nothing that
 * they say is believed. So the access tokens stay behind, and the id_token loses its signature: the first refresh
 * brings new ones, and fails unless the provider names the same user.
 */
export function bringOver(text: string, own: OwnRegistration): BroughtOver | NotUsable {
	const python = parse(text)
	if (!python) return 'damaged'
	const homeAccountIds = new Set(entriesOf(python, 'Account').map((entry) => entry.home_account_id))
	const [homeAccountId] = homeAccountIds
	if (homeAccountIds.size > 1) return 'several people'
	if (!isId(homeAccountId)) return 'damaged'

	const mine = (entry: Entries[number]) => entry.home_account_id === homeAccountId
	const refreshTokens = entriesOf(python, 'RefreshToken').filter(mine)
	if (refreshTokens.length === 0) return 'no refresh token'
	const ofClient = refreshTokens.filter((entry) => entry.client_id === own.clientId)
	const refreshToken = ofClient.reduce<Entries[number] | undefined>(
		(newest, entry) => (newest && modified(newest) > modified(entry) ? newest : entry),
		undefined,
	)
	const idTokens = entriesOf(python, 'IdToken').filter(
		(entry) => mine(entry) && entry.client_id === own.clientId,
	)
	if (!refreshToken || idTokens.length === 0) return 'another client'

	let reason: NotUsable = 'damaged'
	for (const { secret, environment } of idTokens) {
		const claims = claimsOf(
			{ IdToken: { it: { home_account_id: homeAccountId, secret: String(secret) } } },
			homeAccountId,
		)
		const account = claims && toAccount(homeAccountId, claims)
		if (!account || account.objectId === '' || !/^[0-9a-z-]{1,64}$/i.test(account.tenantId)) continue
		if (claims.aud !== own.clientId) {
			reason = 'another client'
			continue
		}
		const cache = build(own, account, {
			environment: withPort(String(environment), own.authority),
			claims: String(secret).split('.')[1] ?? '',
			refreshToken: String(refreshToken.secret),
		})
		if (own.accepts(cache, account)) return { cache, account }
		reason = 'another authority'
	}
	return reason
}

/** The access tokens are not even looked at: one that the application got for itself has no account. */
function parse(text: string): TokenCacheJson | undefined {
	try {
		const { Account, IdToken, RefreshToken } = JSON.parse(text) as Record<string, unknown>
		return parseTokenCache(JSON.stringify({ Account, IdToken, RefreshToken }))
	} catch {
		return undefined
	}
}

function entriesOf(cache: TokenCacheJson, section: 'Account' | 'IdToken' | 'RefreshToken'): Entries {
	return Object.values(cache[section] ?? {}) as unknown as Entries
}

function modified({ last_modification_time: time }: Entries[number]): number {
	return Number(typeof time === 'string' ? time : 0) || 0
}

/** Our names for hosts have the port, where there is one. */
function withPort(environment: string, authority: string): string {
	const { host, hostname } = new URL(authority)
	return environment === hostname ? host : environment
}

const unsigned = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url')

/** Keys as msal-node makes them: what a refresh brings is to take the place of these. */
function build(
	{ clientId }: OwnRegistration,
	{ homeAccountId, tenantId, objectId, username, name }: SignedInAccount,
	{ environment, claims, refreshToken }: { environment: string; claims: string; refreshToken: string },
): TokenCacheJson {
	const whose = { home_account_id: homeAccountId, environment }
	const key = (...parts: readonly string[]) => [homeAccountId, environment, ...parts].join('-').toLowerCase()
	return {
		Account: {
			[key(homeAccountId.split('.')[1] || tenantId)]: {
				...whose,
				realm: tenantId,
				local_account_id: objectId,
				username,
				authority_type: 'MSSTS',
				...(name !== undefined && { name }),
			} as NonNullable<TokenCacheJson['Account']>[string],
		},
		IdToken: {
			[key('IdToken', clientId, tenantId, '', '')]: {
				...whose,
				credential_type: 'IdToken',
				client_id: clientId,
				realm: tenantId,
				secret: `${unsigned}.${claims}.`,
			},
		},
		AccessToken: {},
		RefreshToken: {
			[key('RefreshToken', clientId, '', '', '')]: {
				...whose,
				credential_type: 'RefreshToken',
				client_id: clientId,
				secret: refreshToken,
			},
		},
		AppMetadata: {},
	}
}
