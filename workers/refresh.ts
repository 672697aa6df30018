import type { JWTPayload } from 'jose'
import { BrokerError } from '../src/errors.js'
import type { SignedInAccount, WireToken } from '../src/wire.js'
import { claimsOf, toAccount } from './account.js'
import { settings } from './context.js'
import { createMsalClient, readTokenCache, translateMsalError } from './msal-client.js'
import { authority, clientAssertion, providerCall, toWireToken } from './provider.js'
import { heedThrottling, rememberThrottling } from './throttling.js'
import { findRefreshToken, holdsOnly, isProven, type TokenCacheJson, withRefreshed } from './token-cache.js'

/** What one refresh needs of its task. */
export interface RefreshRequest {
	readonly partition: string
	readonly account: SignedInAccount
	readonly scopes: readonly string[]
	readonly claims?: string
	readonly correlationId: string
	readonly clientAssertion?: string
}

export interface Refreshed {
	readonly cache: TokenCacheJson
	readonly token: WireToken
	readonly account: SignedInAccount
}

/** Milliseconds for which others believe a failed refresh that the provider gave no time for. */
const failureCooldown = 1000

/** A refresh that failed, and what that says about the refresh token. */
export class RefreshFailure extends Error {
	constructor(
		readonly error: BrokerError,
		/** The provider will never take this refresh token again. */
		readonly refreshTokenIsDead: boolean,
		/** The provider refused the grant: perhaps because somebody else has used the refresh token since. */
		readonly refusesGrant: boolean,
		/** Milliseconds for which nobody should try this session again. */
		readonly cooldown: number,
	) {
		super(error.message)
	}
}

/**
 * AADSTS codes that end a refresh token for good, for whatever scopes: password changed, revoked, expired,
 * user disabled or deleted. Others with `invalid_grant` (65001: consent is missing) are about this request only.
 * https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */
const deadly = new Set([50173, 700082, 700084, 70008, 70043, 50057, 50034, 50133, 50089, 700081])

/**
 * One call to the provider with the refresh token of this cache. MSAL is given that token and nothing else: to read
 * a cache, look through it and write it again costs it four times as much as the exchange, and what it would make of
 * one that was tampered with shows only after the refresh token has been used.
 * @throws RefreshFailure, BrokerError
 */
export async function refresh(cache: TokenCacheJson, request: RefreshRequest): Promise<Refreshed> {
	const { account, scopes } = request
	const { homeAccountId } = account
	if (!holdsOnly(cache, homeAccountId))
		throw new BrokerError('ERR_SIGNED_OUT', 'The stored tokens are not this account’s. Sign in again.')
	const refreshToken = findRefreshToken(cache, settings.clientId)
	if (refreshToken === undefined)
		throw new BrokerError('ERR_INTERACTION_REQUIRED', 'There is no refresh token. Sign in again.', { scopes })
	await heedThrottling(account.tenantId, request.partition)
	const known = await authority().catch((error) => {
		// Whoever does not know the provider yet waits for it no more often than all others do.
		throw error instanceof BrokerError ? new RefreshFailure(error, false, false, failureCooldown) : error
	})
	const network = providerCall(clientInfoOf(homeAccountId))
	const client = createMsalClient(settings, known, network, clientAssertion(known, request.clientAssertion))
	try {
		const result = await client.acquireTokenByRefreshToken({
			refreshToken,
			scopes: [...scopes],
			// It knows no account, and is to keep the answer all the same.
			forceCache: true,
			correlationId: request.correlationId,
			// As MSAL itself does for a silent refresh: lets the provider answer from its backup in an outage.
			ccsCredential: { credential: homeAccountId, type: 'home_account_id' },
			...(request.claims !== undefined && { claims: request.claims }),
		})
		const answer = readTokenCache(client)
		// A provider that answers with somebody else's tokens is believed by MSAL, and would be stored.
		const came = claimsOf(answer, homeAccountId)
		if (!result || !isAbout(answer, came, cache, homeAccountId))
			throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider answered for another account.')
		// So far only a record of the original says whose they are.
		if (!came && !isProven(cache))
			throw new BrokerError('ERR_INTERACTION_REQUIRED', 'The provider does not say who this is. Sign in.', {
				scopes,
			})
		return {
			cache: withRefreshed(cache, answer),
			token: toWireToken(result),
			account: came ? toAccount(homeAccountId, came, account.mail) : account,
		}
	} catch (cause) {
		const { throttled } = network
		if (throttled) await rememberThrottling(throttled, account.tenantId, request.partition)
		const refusesGrant = !throttled && (cause as { errorCode?: unknown }).errorCode === 'invalid_grant'
		throw new RefreshFailure(
			translateMsalError(cause, network, 'refresh', scopes),
			refusesGrant && isDeadly(cause as { errorNo?: string; subError?: string }),
			refusesGrant,
			throttled?.whose === 'session' ? throttled.seconds * 1000 : failureCooldown,
		)
	}
}

/** MSAL's home account id as the provider would have said it (`client_info`); a `sub`, which it may be too, is none. */
function clientInfoOf(homeAccountId: string): string | undefined {
	const dot = homeAccountId.lastIndexOf('.')
	if (dot < 1) return undefined
	const info = { uid: homeAccountId.slice(0, dot), utid: homeAccountId.slice(dot + 1) }
	return Buffer.from(JSON.stringify(info)).toString('base64url')
}

/**
 * Whether an answer is the account's: by the name that all of it goes by, and by the id_token, if it brought one
 * (OpenID Connect Core, 12.2), which then names the same user as the one before.
 */
function isAbout(
	answer: TokenCacheJson,
	came: JWTPayload | undefined,
	before: TokenCacheJson,
	homeAccountId: string,
): boolean {
	if (!holdsOnly(answer, homeAccountId)) return false
	if (Object.keys(answer.IdToken ?? {}).length === 0) return true
	const known = claimsOf(before, homeAccountId)
	if (!came || !known) return false
	return ['tid', 'oid', 'sub'].every((claim) => came[claim] === known[claim])
}

/** Without a code of Entra's, `invalid_grant` has only RFC 6749's meaning: the refresh token is no good. */
function isDeadly({ errorNo, subError }: { errorNo?: string; subError?: string }): boolean {
	return errorNo ? deadly.has(Number(errorNo)) : !subError
}
