import { createHash } from 'node:crypto'
import { type JWTPayload, errors as joseErrors, jwtVerify } from 'jose'
import { BrokerError } from '../src/errors.js'
import { isId } from '../src/plain-text.js'
import type { RedeemParams, WorkerSettings } from '../src/wire.js'
import type { Authority } from './authority.js'

/** Seconds the provider's clock and ours may differ, as Entra itself forgives. */
const clockTolerance = 300

/**
 * The same, where a person was to prove anew who they are: with the five minutes, one who has done so four minutes
 * before would pass for one who has now.
 */
const authTimeTolerance = 60

/** Claims of a verified id_token that this library uses. */
export interface IdTokenClaims extends JWTPayload {
	readonly tid: string
	readonly oid: string
	readonly sub: string
}

/**
 * OpenID Connect Core 3.1.3.7. msal-node checks nonce alone: it takes an id_token of another issuer, for
 * another client, expired or unsigned.
 * @throws ERR_LOGIN_REJECTED when the token is not to be believed, ERR_IDP_UNAVAILABLE when the keys can't be had
 */
export async function verifyIdToken(
	idToken: string,
	expected: Pick<RedeemParams, 'nonce' | 'authenticatedSince'>,
	accessToken: string,
	settings: Pick<WorkerSettings, 'clientId' | 'allowedTenants'>,
	authority: Authority,
): Promise<IdTokenClaims> {
	const { payload, protectedHeader } = await jwtVerify(idToken, authority.keys, {
		algorithms: ['RS256'],
		audience: settings.clientId,
		clockTolerance,
		requiredClaims: ['iss', 'sub', 'exp', 'iat', 'nonce', 'tid'],
	}).catch((error: unknown): never => {
		if (error instanceof BrokerError) throw error
		const code = error instanceof joseErrors.JOSEError ? error.code : 'unknown'
		if (code === 'ERR_JWKS_TIMEOUT' || code === 'ERR_JOSE_GENERIC')
			throw new BrokerError('ERR_IDP_UNAVAILABLE', 'The keys of the provider cannot be fetched.', {
				cause: error,
			})
		throw refused(`${code}`, error)
	})
	const { iss, tid, oid, sub, nonce: answered, aud, azp, at_hash: hash } = payload
	if (typeof tid !== 'string' || !/^[0-9a-z-]{1,64}$/i.test(tid)) throw refused('tid')
	if (iss !== fillTenant(authority.metadata.issuer, tid)) throw refused('iss')
	// Who somebody is, is tid and oid: a tid that the issuer does not vouch for is worth nothing.
	if (!new URL(iss).pathname.split('/').includes(tid)) throw refused('tid')
	if (!isKeyFor(authority, protectedHeader.kid, iss, tid)) throw refused('the key is another issuer’s')
	if (settings.allowedTenants !== 'any' && !settings.allowedTenants.includes(tid))
		throw new BrokerError('ERR_LOGIN_REJECTED', 'People of your organization can’t sign in here.', {
			status: 403,
		})
	if (answered !== expected.nonce) throw refused('nonce')
	if (!isRecent(payload.auth_time, expected.authenticatedSince)) throw refused('auth_time')
	if (azp !== undefined && azp !== settings.clientId) throw refused('azp')
	if (Array.isArray(aud) && aud.length > 1 && azp === undefined) throw refused('aud')
	if (!isId(sub)) throw refused('sub')
	if (oid !== undefined && !isId(oid)) throw refused('oid')
	if (hash !== undefined && hash !== hashOf(accessToken)) throw refused('at_hash')
	return { ...payload, tid, sub, oid: oid ?? sub }
}

/** OpenID Connect Core 2 and 3.1.2.1: who asks for `max_age` is told `auth_time`, and has to look at it. */
function isRecent(authTime: unknown, since: number | undefined): boolean {
	if (since === undefined) return true
	return typeof authTime === 'number' && authTime >= since - authTimeTolerance
}

/** OpenID Connect Core 3.1.3.6, for RS256: the left half of the SHA-256. */
function hashOf(accessToken: string): string {
	return createHash('sha256').update(accessToken, 'ascii').digest().subarray(0, 16).toString('base64url')
}

/** The issuer of a multi-tenant authority is a template: `https://login.microsoftonline.com/{tenantid}/v2.0`. */
function fillTenant(issuer: string, tid: string): string {
	return issuer.replace('{tenantid}', tid)
}

/**
 * Entra's multi-tenant JWKS says for each key whose it is; a key of one tenant must not sign for another.
 * https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer
 */
function isKeyFor(authority: Authority, kid: string | undefined, iss: string, tid: string): boolean {
	const key = authority.keys.jwks()?.keys.find((candidate) => candidate.kid === kid)
	const issuer = key && 'issuer' in key ? key.issuer : undefined
	return issuer === undefined || (typeof issuer === 'string' && fillTenant(issuer, tid) === iss)
}

function refused(what: string, cause?: unknown): BrokerError {
	return new BrokerError('ERR_LOGIN_REJECTED', `The provider's id_token is not acceptable: ${what}.`, {
		cause,
	})
}
