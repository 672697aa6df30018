import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerError } from '../src/errors.js'
import type { AcquireParams, AcquireResult, StoredBlob } from '../src/wire.js'
import { accountOf } from './account.js'
import { commitCache, isOutdated, openCache, sealCache, signedOut } from './blobs.js'
import { redisStore, settings } from './context.js'
import { CarriedStore, type Opening, type PartitionStore } from './partition-store.js'
import { type Refreshed, RefreshFailure, refresh } from './refresh.js'
import { RefreshSlots } from './refresh-slots.js'
import {
	findAccessToken,
	latestExpiry,
	sameRefreshToken,
	type TokenCacheJson,
	withoutRefreshTokens,
} from './token-cache.js'

const slots = new RefreshSlots(settings.refresh.maxInFlight)

/** Milliseconds between two looks at a partition that somebody else refreshes: the first, and the longest. */
const patience = { first: 15, longest: 200 }

/**
 * Answers a miss: from the stored blob when it holds a valid token, else by one refresh, of which there is one at
 * a time for a partition, whatever process asks. Who comes second waits for the first one's result and reads it.
 */
export async function acquire(params: AcquireParams): Promise<AcquireResult> {
	const began = performance.timeOrigin + performance.now()
	const lease = { wait: 0 }
	const result = await answer(params, lease)
	return {
		...result,
		timings: {
			queued: Math.max(0, began - params.sentAt),
			...(lease.wait > 0 && { leaseWait: lease.wait }),
		},
	}
}

type Untimed = Omit<AcquireResult, 'timings'>

async function answer(params: AcquireParams, lease: { wait: number }): Promise<Untimed> {
	const { partition } = params
	const carried = redisStore ? undefined : new CarriedStore(params.stored)
	const store = redisStore ?? (carried as CarriedStore)
	const holder = randomUUID()
	// A token that lives beyond this answers the request; a forced one, and one for claims, only by a refresh.
	const forced = params.forceRefresh || params.claims !== undefined
	const enough = Math.max(Date.now() + settings.expiryMargin, params.replaces ?? 0)
	let leaseUnlessBeyond = forced ? Number.POSITIVE_INFINITY : enough
	let newerThan: number | undefined
	let wait = patience.first
	let slot = false
	try {
		for (;;) {
			slot ||= slots.tryTake()
			const opening = await openOrUnsaved(store, params, {
				holder,
				leaseUnlessBeyond: slot ? leaseUnlessBeyond : 'never',
			})
			if (opening.state === 'held-off') throw BrokerError.fromWire(opening.error)
			if (opening.state === 'busy') {
				// A refresh that ends while we wait for it is ours too, unless we came with claims.
				if (params.claims === undefined) newerThan ??= opening.version
				if (Date.now() + wait > params.deadline) throw lateForLease()
				await sleep(wait)
				lease.wait += wait
				wait = Math.min(wait * 1.5, patience.longest)
				continue
			}
			if (opening.state === 'gone') throw signedOut()
			const { stored, leased } = opening
			const cache = await openCache(store, partition, stored)
			const account = accountOf(cache, params.homeAccountId)
			if (!forced || (newerThan !== undefined && stored.version > newerThan)) {
				const token = findAccessToken(cache, {
					clientId: settings.clientId,
					homeAccountId: params.homeAccountId,
					scopes: params.scopes,
					beyond: enough,
				})
				if (token) {
					const outdated = settings.secrets.length > 1 && isOutdated(partition, stored)
					if (outdated)
						await commitCache(store, partition, leased ? holder : undefined, stored.version, cache).catch(
							() => {},
						)
					else if (leased) store.release(partition, holder).catch(() => {})
					return {
						outcome: 'cached',
						token,
						account,
						...(carried?.written !== undefined && { sealed: carried.written }),
					}
				}
			}
			if (!leased) {
				leaseUnlessBeyond = Number.POSITIVE_INFINITY
				if (!slot) {
					await slots.take(params.deadline)
					slot = true
				}
				continue
			}
			return await refreshLeased(store, params, holder, stored, cache, carried)
		}
	} finally {
		if (slot) slots.give()
	}
}

/** Refreshes while the lease is ours, stores the result, gives the lease back. */
async function refreshLeased(
	store: PartitionStore,
	params: AcquireParams,
	holder: string,
	stored: StoredBlob,
	cache: TokenCacheJson,
	carried: CarriedStore | undefined,
): Promise<Untimed> {
	const { partition } = params
	const renewing = setInterval(() => {
		store.renew(partition, holder).catch(() => {})
	}, settings.refresh.lease * 0.3)
	try {
		const refreshed = await refreshOnce(store, params, holder, stored, cache)
		return {
			outcome: 'refreshed',
			token: refreshed.token,
			account: refreshed.account,
			...(await keep(store, params, holder, stored.version, refreshed)),
			...(carried?.written !== undefined && { sealed: carried.written }),
		}
	} finally {
		clearInterval(renewing)
	}
}

async function refreshOnce(
	store: PartitionStore,
	params: AcquireParams,
	holder: string,
	stored: StoredBlob,
	cache: TokenCacheJson,
): Promise<Refreshed> {
	const { partition, scopes, claims, correlationId, clientAssertion } = params
	const request = {
		partition,
		account: accountOf(cache, params.homeAccountId),
		scopes,
		correlationId,
		...(claims !== undefined && { claims }),
		...(clientAssertion !== undefined && { clientAssertion }),
	}
	try {
		return await refresh(cache, request)
	} catch (failure) {
		if (!(failure instanceof RefreshFailure)) {
			await store.release(partition, holder).catch(() => {})
			throw failure
		}
		// A refresh token that was refused may have been used by somebody who was faster: theirs is newer.
		if (failure.refusesGrant) {
			const newer = await reread(store, partition, holder, stored.version)
			if (newer && !sameRefreshToken(newer, cache)) return await refresh(newer, request).catch(unwrap)
		}
		const { error } = failure
		if (failure.refreshTokenIsDead)
			await commitCache(store, partition, holder, stored.version, withoutRefreshTokens(cache)).catch(() => {})
		else {
			const passes = error.code === 'ERR_IDP_UNAVAILABLE'
			await store
				.release(
					partition,
					holder,
					passes ? { error: error.toWire(), milliseconds: failure.cooldown } : undefined,
				)
				.catch(() => {})
		}
		throw error
	}
}

function unwrap(failure: unknown): never {
	throw failure instanceof RefreshFailure ? failure.error : failure
}

/** A refresh that succeeded is never lost: what the store can't take now goes back with the result, sealed. */
async function keep(
	store: PartitionStore,
	{ partition }: AcquireParams,
	holder: string,
	version: number,
	{ cache }: Refreshed,
): Promise<Pick<AcquireResult, 'unsaved'>> {
	try {
		const answer = await commitCache(store, partition, holder, version, cache)
		if (answer === 'fenced')
			process.emitWarning('a refresh took longer than its lease; another one counts', 'KoaMsalWarning')
		return {}
	} catch (error) {
		if (!(error instanceof BrokerError) || error.code !== 'ERR_STORE_UNAVAILABLE') throw error
		return { unsaved: { version, sealed: sealCache(partition, cache), expiresOn: latestExpiry(cache) } }
	}
}

/**
 * The store's partition; or, where the main thread keeps a newer blob that could not be written yet, that one.
 * @throws ERR_STORE_UNAVAILABLE when there is neither
 */
async function openOrUnsaved(
	store: PartitionStore,
	params: AcquireParams,
	request: Parameters<PartitionStore['open']>[1],
): Promise<Opening> {
	const unsaved = redisStore ? params.stored : undefined
	try {
		const opening = await store.open(params.partition, request)
		if (unsaved && opening.state === 'open' && opening.stored.version === unsaved.version)
			return { ...opening, stored: unsaved }
		return opening
	} catch (error) {
		if (!unsaved) throw error
		return { state: 'open', stored: unsaved, leased: request.leaseUnlessBeyond !== 'never' }
	}
}

async function reread(
	store: PartitionStore,
	partition: string,
	holder: string,
	version: number,
): Promise<TokenCacheJson | undefined> {
	const opening = await store.open(partition, { holder, leaseUnlessBeyond: 'never' }).catch(() => undefined)
	if (opening?.state !== 'open' || opening.stored.version === version) return undefined
	return openCache(store, partition, opening.stored)
}

function lateForLease(): BrokerError {
	return new BrokerError('ERR_OVERLOADED', 'Another process has been refreshing this session for too long.', {
		retryAfter: 2,
	})
}
