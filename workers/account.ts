import type { JWTPayload } from 'jose'
import { BrokerError } from '../src/errors.js'
import { isId, isPlainText, toPlainText } from '../src/plain-text.js'
import type { SignedInAccount } from '../src/wire.js'
import { mailIn, type TokenCacheJson } from './token-cache.js'

/**
 * Who somebody is, from the claims of a verified id_token. An id that is none is empty, and whoever sees that refuses
 * it: what was cut or mended would be somebody else's. A name by which people are found is left out for the same reason.
 * @param mail what Microsoft Graph says it is, if known
 */
export function toAccount(homeAccountId: string, claims: JWTPayload, mail?: string): SignedInAccount {
	const whole = (value: unknown) => (isPlain(value) ? value : undefined)
	const id = (value: unknown) => (isId(value) ? value : '')
	const username = whole(claims.preferred_username) ?? ''
	const upn = whole(claims.upn)
	const name = toPlainText(claims.name, longestName)
	const loginHint = whole(claims.login_hint)
	return {
		homeAccountId,
		tenantId: id(claims.tid),
		// Personal accounts have no oid in some answers; their sub is as immutable.
		objectId: id(claims.oid ?? claims.sub),
		username,
		...(upn !== undefined && upn !== username && { upn }),
		...(name !== '' && { name }),
		...(mail !== undefined && { mail }),
		...(loginHint !== undefined && { loginHint }),
	}
}

/** Characters of a name at most. */
const longestName = 256

function isPlain(value: unknown): value is string {
	return typeof value === 'string' && value !== '' && value.length <= longestName && isPlainText(value)
}

/**
 * Who a sealed cache belongs to: its id_token was verified when it was put there.
 * @throws ERR_SIGNED_OUT when it holds none of this account's
 */
export function accountOf(cache: TokenCacheJson, homeAccountId: string): SignedInAccount {
	const account = findAccount(cache, homeAccountId)
	if (!account)
		throw new BrokerError('ERR_SIGNED_OUT', 'The stored tokens are not this account’s. Sign in again.')
	return account
}

/** Whose a cache is that is one person's. */
export function ownerOf(cache: TokenCacheJson): SignedInAccount | undefined {
	const homeAccountId = Object.values(cache.Account ?? {})[0]?.home_account_id
	return homeAccountId === undefined ? undefined : findAccount(cache, homeAccountId)
}

function findAccount(cache: TokenCacheJson, homeAccountId: string): SignedInAccount | undefined {
	const claims = claimsOf(cache, homeAccountId)
	const account = claims && toAccount(homeAccountId, claims, mailIn(cache, homeAccountId))
	return account && account.tenantId !== '' && account.objectId !== '' ? account : undefined
}

/** What the account's id_token says; `undefined` when there is none, or none that can be read. */
export function claimsOf(cache: TokenCacheJson, homeAccountId: string): JWTPayload | undefined {
	for (const entry of Object.values(cache.IdToken ?? {})) {
		if (entry.home_account_id !== homeAccountId || typeof entry.secret !== 'string') continue
		try {
			return payloadOf(entry.secret)
		} catch {
			return undefined
		}
	}
	return undefined
}

/** Of a token that was verified before it was stored, or that came from the provider itself: it is only read. */
function payloadOf(jwt: string): JWTPayload {
	const [, payload = '', ...rest] = jwt.split('.')
	const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
	if (rest.length !== 1 || typeof claims !== 'object' || claims === null || Array.isArray(claims))
		throw new TypeError('not a JWT')
	return claims as JWTPayload
}
