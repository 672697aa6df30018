import { createHash, randomUUID } from 'node:crypto'
import { BrokerError } from '../src/errors.js'
import { monotonic } from '../src/monotonic.js'
import type {
	AcquireAnswer,
	AcquireParams,
	AcquireResult,
	SignedInAccount,
	StoredBlob,
	WireToken,
} from '../src/wire.js'
import { accountOf } from './account.js'
import { commitCache, endDamaged, isOutdated, openCache, sealCache, signedOut } from './blobs.js'
import { ownAuthority, redisStore, settings } from './context.js'
import { CarriedStore, type Opening, type PartitionStore } from './partition-store.js'
import { type Refreshed, RefreshFailure, refresh } from './refresh.js'
import { throttledFor } from './throttling.js'
import {
	findAccessToken,
	refreshTokenFingerprint,
	sameRefreshToken,
	type TokenCacheJson,
	withoutRefreshTokens,
} from './token-cache.js'
import { enterAnew } from './user-index.js'

/** One partition, one task: what is done to it, and the lease under which. */
interface Work {
	readonly store: PartitionStore
	readonly params: AcquireParams
	readonly holder: string
	/** Whether the lease is ours and has to be given back. */
	leased: boolean
	/** Fingerprints of the refresh tokens that an unsaved blob descends from. */
	refreshedFrom: readonly string[]
	/** Which names the user index has it under, as far as it was told. */
	mark: string | undefined
	/** Whose it is, once that is known. */
	account: SignedInAccount | undefined
}

/**
 * One step of answering a miss: from the stored blob when it holds a valid token, else by a refresh if the task
 * may have one and gets the lease. It waits for nothing but the store and the provider: whoever has to wait for
 * a slot or for somebody else's refresh does so on the main thread, so that no worker is kept by waiting.
 */
export async function acquire(params: AcquireParams): Promise<AcquireAnswer> {
	const queued = Math.max(0, monotonic() - params.sentAt)
	const carried = redisStore ? undefined : new CarriedStore(params.stored, params.heldOff)
	const work: Work = {
		store: redisStore ?? (carried as CarriedStore),
		params,
		holder: randomUUID(),
		leased: false,
		refreshedFrom: [],
		mark: undefined,
		account: undefined,
	}
	try {
		const answer = await answerFrom(work)
		if (answer.state !== 'done') return answer
		return { ...answer, queued, ...(carried?.written !== undefined && { sealed: carried.written }) }
	} catch (error) {
		if (carried && error instanceof BrokerError)
			return { state: 'failed', ...tellOwner(carried, work, error) }
		throw error
	} finally {
		// Whatever happened: a lease that is left behind keeps every process from the session until it runs out.
		if (work.leased) await work.store.release(params.partition, work.holder).catch(() => {})
		if (work.account && work.mark !== undefined)
			await enterAnew(work.account, params.partition, work.mark).catch(() => {})
	}
}

/** What a failed task says to the main thread, which has the memory store. */
function tellOwner({ written, holdOff }: CarriedStore, { account }: Work, error: BrokerError) {
	const left = account && error.code === 'ERR_IDP_UNAVAILABLE' ? throttledFor(account.tenantId) : 0
	return {
		error: error.toWire(),
		...(written !== undefined && { sealed: written }),
		...(left > 0
			? { holdOff: { whose: 'tenant' as const, milliseconds: left } }
			: holdOff > 0 && { holdOff: { whose: 'session' as const, milliseconds: holdOff } }),
	}
}

type Untimed = Exclude<AcquireAnswer, { state: 'done' }> | Omit<AcquireResult, 'queued'>

async function answerFrom(work: Work): Promise<Untimed> {
	const { params } = work
	// A token that lives beyond this answers the request; a forced one, and one for claims, only by a refresh.
	const forced = params.forceRefresh || params.claims !== undefined
	const enough = Math.max(Date.now() + settings.expiryMargin, params.replaces ?? 0)
	return answerOpened(work, await openOrUnsaved(work, enough), forced, enough)
}

async function answerOpened(work: Work, opening: Opening, forced: boolean, enough: number): Promise<Untimed> {
	const { store, params } = work
	const { partition, homeAccountId, otherThan } = params
	if (opening.state === 'gone') throw signedOut()
	if (opening.state === 'damaged') throw await endDamaged(store, partition)
	if (opening.state === 'held-off') throw BrokerError.fromWire(opening.error)
	if (opening.state === 'busy') {
		if (!opening.stored) return { state: 'busy' }
		const cache = await openCache(store, partition, opening.stored)
		return {
			state: 'busy',
			held: fingerprint(findToken(params, cache, accountOf(cache, homeAccountId), enough)),
		}
	}
	const { stored, leased } = opening
	work.leased = leased
	const cache = await openCache(store, partition, stored)
	const account = accountOf(cache, homeAccountId)
	if (!ownAuthority.accepts(cache, account))
		throw new BrokerError('ERR_SIGNED_OUT', 'The stored tokens are of another authority. Sign in again.')
	work.mark = opening.mark
	work.account = account
	const token = findToken(params, cache, account, enough)
	// What changed the blob may have been about another token, or none: the version says nothing.
	if (token && (!forced || (otherThan !== undefined && fingerprint(token) !== otherThan))) {
		await sealAnew(work, stored, cache)
		return { state: 'done', outcome: 'cached', token, account }
	}
	const held = fingerprint(token)
	if (leased) return refreshLeased(work, stored, cache, account, held)
	if (params.lease === 'never') return { state: 'needs-refresh' }
	// The blob holds a valid token, for something else: so no lease came with it.
	const again = await store.open(partition, {
		holder: work.holder,
		leaseUnlessBeyond: Number.POSITIVE_INFINITY,
		known: stored,
		readIfBusy: readsIfBusy(params),
	})
	if (again.state !== 'open' || again.stored.version !== stored.version)
		return answerOpened(work, again, forced, enough)
	work.leased = true
	return refreshLeased(work, stored, cache, account, held)
}

function findToken(
	{ homeAccountId, scopes }: AcquireParams,
	cache: TokenCacheJson,
	account: SignedInAccount,
	beyond: number,
): WireToken | undefined {
	const realms = [account.tenantId.toLowerCase(), ownAuthority.tenant]
	return findAccessToken(cache, { clientId: settings.clientId, homeAccountId, realms, scopes, beyond })
}

/** Tells tokens apart without telling them. */
function fingerprint(token: WireToken | undefined): string {
	return token ? createHash('sha256').update(token.accessToken).digest('base64url') : ''
}

/** Whether it is still to be found out which token the one who waits does not want. */
function readsIfBusy({ forceRefresh, claims, otherThan }: AcquireParams): boolean {
	return forceRefresh && claims === undefined && otherThan === undefined
}

/** A blob that is only read has to be sealed under the newest secret as well, before the older one is taken away. */
async function sealAnew(work: Work, stored: StoredBlob, cache: TokenCacheJson): Promise<void> {
	const { store, params, holder } = work
	if (settings.secrets.length === 1 || !isOutdated(params.partition, stored)) return
	await commitCache(store, params.partition, work.leased ? holder : undefined, stored.version, cache).then(
		() => {
			work.leased = false
		},
		() => {},
	)
}

/** Refreshes while the lease is ours, and stores the result, which gives the lease back. */
async function refreshLeased(
	work: Work,
	stored: StoredBlob,
	cache: TokenCacheJson,
	known: SignedInAccount,
	held: string,
): Promise<Untimed> {
	const { store, params, holder } = work
	const renewing = setInterval(() => {
		store.renew(params.partition, holder).catch(() => {})
	}, settings.refresh.lease * 0.3)
	try {
		const refreshed = await refresh(cache, { ...params, account: known })
		const { token, account } = refreshed
		work.account = account
		return {
			state: 'done',
			outcome: 'refreshed',
			token,
			account,
			...(await keep(work, stored.version, cache, refreshed)),
		}
	} catch (failure) {
		if (!(failure instanceof RefreshFailure)) throw failure
		if (failure.refusesGrant && (await isOutrun(work, stored.version, cache)))
			return { state: 'outrun', held }
		await settle(work, failure, stored.version, cache)
		throw failure.error
	} finally {
		clearInterval(renewing)
	}
}

/** Tells the others of a failure: a dead refresh token is removed, an unreachable provider is not tried at once. */
async function settle(
	work: Work,
	failure: RefreshFailure,
	version: number,
	cache: TokenCacheJson,
): Promise<void> {
	const { store, params, holder } = work
	const { error, refreshTokenIsDead, cooldown } = failure
	const settled = refreshTokenIsDead
		? commitCache(store, params.partition, holder, version, withoutRefreshTokens(cache))
		: error.code === 'ERR_IDP_UNAVAILABLE'
			? store.release(params.partition, holder, { error: error.toWire(), milliseconds: cooldown })
			: undefined
	await settled?.then(
		() => {
			work.leased = false
		},
		() => {},
	)
}

/** A refresh that succeeded is never lost: what the store can't take now goes back with the result, sealed. */
async function keep(
	work: Work,
	version: number,
	before: TokenCacheJson,
	{ cache }: Refreshed,
): Promise<Pick<AcquireResult, 'unsaved'>> {
	const { store, params, holder } = work
	const { partition } = params
	try {
		const answer = await commitCache(store, partition, holder, version, cache)
		if (answer === 'fenced')
			process.emitWarning('a refresh took longer than its lease; another one counts', 'KoaMsalWarning')
		work.leased = false
		return {}
	} catch (error) {
		if (!(error instanceof BrokerError) || error.code !== 'ERR_STORE_UNAVAILABLE') throw error
		// The lease stays for as long as it lasts: what the store has may be good for nobody any more.
		work.leased = false
	}
	const refreshedFrom = [...work.refreshedFrom, refreshTokenFingerprint(before)]
	return { unsaved: { version, ...sealCache(partition, cache), refreshedFrom, holder } }
}

/**
 * The store's partition; or, where the main thread keeps a newer blob that could not be written yet, that one. Without
 * the store nothing is refreshed, not even with what only we have: a write whose answer was lost may have been done,
 * and whoever reads it once the store is back would use a refresh token that we have used meanwhile.
 */
async function openOrUnsaved(work: Work, enough: number): Promise<Opening> {
	const { store, params, holder } = work
	const { unsaved } = params
	const leaseUnlessBeyond =
		params.lease === 'never' ? 'never' : params.lease === 'always' ? Number.POSITIVE_INFINITY : enough
	const opening = await store.open(params.partition, {
		holder,
		leaseUnlessBeyond,
		readIfBusy: readsIfBusy(params),
	})
	if (!unsaved || opening.state !== 'open' || opening.stored.version !== unsaved.version) return opening
	work.refreshedFrom = unsaved.refreshedFrom
	return { ...opening, stored: unsaved }
}

/**
 * A refresh token that was refused may have been used by somebody who was faster. Then theirs is in the store, or
 * they hold the lease that we have lost and will store it.
 */
async function isOutrun(
	{ store, params, holder }: Work,
	version: number,
	cache: TokenCacheJson,
): Promise<boolean> {
	try {
		const opening = await store.open(params.partition, {
			holder,
			leaseUnlessBeyond: Number.POSITIVE_INFINITY,
		})
		if (opening.state === 'busy') return true
		if (opening.state !== 'open' || opening.stored.version === version) return false
		return !sameRefreshToken(await openCache(store, params.partition, opening.stored), cache)
	} catch {
		return false
	}
}
