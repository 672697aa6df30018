import { BrokerError } from '../src/errors.js'
import { monotonic } from '../src/monotonic.js'
import { isId } from '../src/plain-text.js'
import type { RedeemParams, RedeemResult, StoredBlob, UsedTransaction } from '../src/wire.js'
import { ownerOf, toAccount } from './account.js'
import { openCache, sealCache } from './blobs.js'
import { ownAuthority, redisStore, sealer, settings } from './context.js'
import { toMembershipClaims } from './membership-claims.js'
import { createMsalClient, readTokenCache, translateMsalError } from './msal-client.js'
import { CarriedStore } from './partition-store.js'
import { authority, clientAssertion, providerCall, toWireToken } from './provider.js'
import { holdsOnly, mergeTokenCaches, type TokenCacheJson, withMail } from './token-cache.js'
import { enterSession, leaveSession, markOf } from './user-index.js'
import { verifyIdToken } from './verify-id-token.js'

/** Redeems an authorization code, once: claims the transaction, verifies who it is, stores the new partition. */
export async function redeem(params: RedeemParams): Promise<RedeemResult> {
	if (redisStore && params.claim) {
		const { transaction, returnTo, until, lifetime } = params.claim
		const value = sealUse(transaction, { returnTo, partition: params.partition, until })
		const earlier = await redisStore.claim({ transaction, value, lifetime })
		if (earlier !== undefined) return { claimed: false, value: earlier }
	}
	try {
		return await redeemClaimed(params)
	} catch (error) {
		if (redisStore && params.claim) {
			const { transaction } = params.claim
			// A credential that is refused leaves the code unused: it is tried again with a newer one. Otherwise a second
			// post of the same form must not look like a success.
			const unused = error instanceof BrokerError && error.code === 'ERR_CLIENT_REJECTED'
			await (unused ? redisStore.unclaim(transaction) : redisStore.failClaim(transaction)).catch(() => {})
		}
		throw error
	}
}

function sealUse(transaction: string, use: UsedTransaction): string {
	return sealer.seal('used-transaction', transaction, JSON.stringify(use))
}

async function redeemClaimed(params: RedeemParams): Promise<RedeemResult> {
	const known = await authority()
	const network = providerCall()
	const client = createMsalClient(settings, known, network, clientAssertion(known, params.clientAssertion))
	const result = await client
		.acquireTokenByCode({
			code: params.code,
			codeVerifier: params.codeVerifier,
			nonce: params.nonce,
			redirectUri: params.redirectUri,
			scopes: [...params.scopes],
			correlationId: params.correlationId,
			...(params.claims !== undefined && { claims: params.claims }),
		})
		.catch((error: unknown) => {
			throw translateMsalError(error, network, 'redeem', params.scopes)
		})
	const claims = await verifyIdToken(result.idToken, params, result.accessToken, settings, known)
	const homeAccountId = result.account?.homeAccountId
	let cache = readTokenCache(client)
	if (!isId(homeAccountId) || !holdsOnly(cache, homeAccountId))
		throw new BrokerError('ERR_LOGIN_REJECTED', 'The provider’s answer does not say whose it is.')

	const account = toAccount(homeAccountId, claims)
	const previous = params.previous && (await readPrevious(params.previous))
	// Addresses change hands: whoever has this one is asked anew at each sign-in.
	if (previous && holdsOnly(previous, homeAccountId) && ownAuthority.accepts(previous, account))
		cache = mergeTokenCaches(withMail(previous, homeAccountId), cache)
	const { sealed, expiresOn } = sealCache(params.partition, cache)
	// Whoever signs in was told to try again: neither are these tokens anybody's, nor is the session before them over.
	if (params.claim && monotonic() >= params.claim.deadline)
		throw new BrokerError('ERR_OVERLOADED', 'The sign-in has taken too long.')
	// The index first: what it says too much is found out when it is read.
	await enterSession(account, params.partition, Date.now() + params.lifetime)
	await redisStore?.create(params.partition, {
		sealed,
		expiresOn,
		lifetime: params.lifetime,
		mark: markOf(account),
	})
	if (params.claim) {
		const { transaction, returnTo } = params.claim
		const done = sealUse(transaction, { returnTo, partition: params.partition })
		// Until it says so itself, it counts as under way.
		await redisStore?.settleClaim(transaction, done).catch(() => {})
	}
	const left =
		params.previous && (await leavePrevious(params.previous.partition, previous).catch(() => 'left' as const))
	return {
		claimed: true,
		account,
		claims: toMembershipClaims(claims),
		token: toWireToken(result),
		...(left === 'left' && { leavesPrevious: true }),
		...(!redisStore && { sealed }),
	}
}

/** The cache of the session that the sign-in started from, if it is there. */
async function readPrevious(previous: {
	readonly partition: string
	readonly stored?: StoredBlob
}): Promise<TokenCacheJson | undefined> {
	const { partition, stored } = previous
	const store = redisStore ?? new CarriedStore(stored)
	try {
		const opening = await store.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
		return await openCache(store, partition, opening.state === 'open' ? opening.stored : undefined)
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return undefined
		throw error
	}
}

/** Its partition goes, and so does its place in the index; the web session is its owner's to end. */
async function leavePrevious(partition: string, cache: TokenCacheJson | undefined): Promise<void> {
	const account = cache && ownerOf(cache)
	await Promise.all([redisStore?.remove(partition), account && leaveSession(account, partition)])
}
