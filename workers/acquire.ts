import { BrokerError } from '../src/errors.js'
import type { AcquireParams, AcquireResult } from '../src/wire.js'
import { accountOf } from './account.js'
import { commitCache, openCache } from './blobs.js'
import { redisStore, settings } from './context.js'
import { createMsalClient, readTokenCache, translateMsalError } from './msal-client.js'
import { CarriedStore } from './partition-store.js'
import { authority, clientAssertion, providerCall, toWireToken } from './provider.js'
import { findAccessToken, holdsOnly, type TokenCacheJson } from './token-cache.js'

/** Answers a miss: from the stored blob when it holds a valid token, else by one refresh. */
export async function acquire(params: AcquireParams): Promise<AcquireResult> {
	const { partition, homeAccountId, scopes } = params
	const carried = redisStore
		? undefined
		: new CarriedStore(new Map(params.stored ? [[partition, params.stored]] : []))
	const store = redisStore ?? (carried as CarriedStore)
	const stored = await store.read(partition)
	const cache = await openCache(store, partition, stored)
	const account = accountOf(cache, homeAccountId)

	if (!params.forceRefresh && params.claims === undefined) {
		const wanted = { clientId: settings.clientId, homeAccountId, scopes, margin: settings.expiryMargin }
		const token = findAccessToken(cache, wanted, Date.now())
		if (token) return { outcome: 'cached', token, account }
	}

	const refreshed = await refresh(params, cache)
	const answered = accountOf(refreshed.cache, homeAccountId)
	if (answered.objectId !== account.objectId || answered.tenantId !== account.tenantId)
		throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider answered for another account.')
	try {
		await commitCache(store, partition, stored?.version ?? 0, refreshed.cache)
	} catch (error) {
		// The provider has given a token: its caller gets it, although it could not be kept.
		if (!(error instanceof BrokerError) || error.code !== 'ERR_STORE_UNAVAILABLE') throw error
		process.emitWarning('a refreshed token could not be stored', 'KoaMsalWarning')
	}
	return {
		outcome: 'refreshed',
		token: refreshed.token,
		account: answered,
		...(carried?.written !== undefined && { sealed: carried.written }),
	}
}

async function refresh(params: AcquireParams, cache: TokenCacheJson) {
	const { homeAccountId, scopes } = params
	const known = await authority()
	const network = providerCall()
	const client = createMsalClient(settings, known, network, clientAssertion(known, params.clientAssertion))
	client.getTokenCache().deserialize(JSON.stringify(cache))
	const account = (await client.getTokenCache().getAllAccounts()).find(
		(one) => one.homeAccountId === homeAccountId,
	)
	if (!account)
		throw new BrokerError('ERR_SIGNED_OUT', 'The stored tokens are not this account’s. Sign in again.')
	const result = await client
		.acquireTokenSilent({
			account,
			scopes: [...scopes],
			correlationId: params.correlationId,
			// Without it MSAL would answer with the held token that we have already found too old.
			forceRefresh: true,
			...(params.claims !== undefined && { claims: params.claims }),
		})
		.catch((error: unknown) => {
			throw translateMsalError(error, network, 'refresh', scopes)
		})
	const refreshed = readTokenCache(client)
	// A provider that answers with somebody else's tokens is believed by MSAL, and would be stored.
	if (result?.account?.homeAccountId !== homeAccountId || !holdsOnly(refreshed, homeAccountId))
		throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider answered for another account.')
	return { cache: refreshed, token: toWireToken(result) }
}
