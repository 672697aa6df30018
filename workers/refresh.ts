import { BrokerError } from '../src/errors.js'
import type { SignedInAccount, WireToken } from '../src/wire.js'
import { accountOf } from './account.js'
import { settings } from './context.js'
import { createMsalClient, readTokenCache, translateMsalError } from './msal-client.js'
import { authority, clientAssertion, providerCall, toWireToken } from './provider.js'
import { heedThrottling, rememberThrottling } from './throttling.js'
import { holdsOnly, type TokenCacheJson } from './token-cache.js'

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

/** One call to the provider with the refresh token of this cache. @throws RefreshFailure, BrokerError */
export async function refresh(cache: TokenCacheJson, request: RefreshRequest): Promise<Refreshed> {
	const { account, scopes } = request
	await heedThrottling(account.tenantId, request.partition)
	const known = await authority()
	const network = providerCall()
	const client = createMsalClient(settings, known, network, clientAssertion(known, request.clientAssertion))
	// Looked at before the refresh token is used: what MSAL makes of it later is the provider's answer's doing.
	const msalAccount = holdsOnly(cache, account.homeAccountId) && (await loadAccount(client, cache, account))
	if (!msalAccount)
		throw new BrokerError('ERR_SIGNED_OUT', 'The stored tokens are not this account’s. Sign in again.')
	try {
		const result = await client.acquireTokenSilent({
			account: msalAccount,
			scopes: [...scopes],
			correlationId: request.correlationId,
			// Without it MSAL would answer with the held token that we have already found too old.
			forceRefresh: true,
			...(request.claims !== undefined && { claims: request.claims }),
		})
		const refreshed = readTokenCache(client)
		const answered = accountOf(refreshed, account.homeAccountId)
		// A provider that answers with somebody else's tokens is believed by MSAL, and would be stored.
		if (
			result?.account?.homeAccountId !== account.homeAccountId ||
			!holdsOnly(refreshed, account.homeAccountId) ||
			answered.objectId !== account.objectId ||
			answered.tenantId !== account.tenantId
		)
			throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider answered for another account.')
		return { cache: refreshed, token: toWireToken(result), account: answered }
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

/** Gives MSAL the cache; `undefined` when it finds no such account, or cannot read it: it throws whatever comes. */
async function loadAccount(
	client: ReturnType<typeof createMsalClient>,
	cache: TokenCacheJson,
	{ homeAccountId }: SignedInAccount,
) {
	try {
		client.getTokenCache().deserialize(JSON.stringify(cache))
		const accounts = await client.getTokenCache().getAllAccounts()
		return accounts.find((one) => one.homeAccountId === homeAccountId)
	} catch {
		return undefined
	}
}

/** Without a code of Entra's, `invalid_grant` has only RFC 6749's meaning: the refresh token is no good. */
function isDeadly({ errorNo, subError }: { errorNo?: string; subError?: string }): boolean {
	return errorNo ? deadly.has(Number(errorNo)) : !subError
}
