import { BrokerError } from '../src/errors.js'
import { plaintextBytes } from '../src/sealing.js'
import type { StoredBlob } from '../src/wire.js'
import { sealer, settings } from './context.js'
import type { Commit, PartitionStore } from './partition-store.js'
import {
	latestExpiry,
	parseTokenCache,
	refreshTokenFingerprint,
	type TokenCacheJson,
	withinBytes,
	withRefreshed,
} from './token-cache.js'

const purpose = 'tokens'

/** How often a commit is tried when others keep being faster. */
const commitAttempts = 5

/** What is stored of a cache. */
export function sealCache(partition: string, cache: TokenCacheJson): Pick<Commit, 'sealed' | 'expiresOn'> {
	const fitting = withinBytes(cache, plaintextBytes(settings.maxBlobBytes))
	return {
		sealed: sealer.seal(purpose, partition, JSON.stringify(fitting)),
		expiresOn: latestExpiry(fitting),
	}
}

/**
 * Opens a partition's blob. One that fails under a key that we hold is removed; one under an unknown key or of
 * a newer format is another process's and stays.
 * @throws ERR_SIGNED_OUT
 */
export async function openCache(
	store: PartitionStore,
	partition: string,
	stored: StoredBlob | undefined,
): Promise<TokenCacheJson> {
	if (!stored) throw signedOut()
	const opened = sealer.open(purpose, partition, stored.sealed)
	if (opened.ok) return parseTokenCache(opened.plaintext)
	if (opened.reason === 'damaged') await store.remove(partition)
	throw unreadable(opened.reason)
}

/** Removes what stands where a partition's blob should. @returns what its person is told */
export async function endDamaged(store: PartitionStore, partition: string): Promise<BrokerError> {
	await store.remove(partition)
	return unreadable('damaged')
}

function unreadable(reason: string): BrokerError {
	process.emitWarning(`a token blob cannot be opened: ${reason}`, 'KoaMsalWarning')
	return new BrokerError('ERR_SIGNED_OUT', 'The stored tokens cannot be read. Sign in again.')
}

/** What can be told of a blob without changing anything. */
export type Look =
	| { readonly state: 'open'; readonly cache: TokenCacheJson }
	| { readonly state: 'damaged' | 'unknown-key' | 'unknown-format' }

/** Looks into a partition's blob. What opens and is no token cache is as useless as one that does not open. */
export function lookInto(partition: string, { sealed }: StoredBlob): Look {
	const opened = sealer.open(purpose, partition, sealed)
	if (!opened.ok) return { state: opened.reason }
	try {
		return { state: 'open', cache: parseTokenCache(opened.plaintext) }
	} catch {
		return { state: 'damaged' }
	}
}

/**
 * Writes a changed cache over the version that it was made from. Where another writer was faster, both are
 * kept: the newer blob is read and merged, and the write is tried again.
 * @returns `fenced` when the lease has passed to somebody else: nothing was written
 * @throws ERR_SIGNED_OUT when the partition was deleted meanwhile
 */
export async function commitCache(
	store: PartitionStore,
	partition: string,
	holder: string | undefined,
	version: number,
	cache: TokenCacheJson,
	/** For a refresh that comes late: fingerprints of the refresh tokens that it descends from. */
	lateFrom?: readonly string[],
): Promise<'written' | 'fenced'> {
	let [expected, next] = [version, cache]
	for (let attempt = 0; attempt < commitAttempts; attempt++) {
		const answer = await store.commit(partition, {
			holder,
			late: lateFrom !== undefined,
			version: expected,
			...sealCache(partition, next),
		})
		if (answer === 'written' || answer === 'fenced') return answer
		if (answer === 'gone') throw new BrokerError('ERR_SIGNED_OUT', 'The session was signed out meanwhile.')
		const current = await openCache(store, partition, answer)
		// Under a lease our refresh is the latest. What comes late is so only if nobody has refreshed since.
		const oursIsLatest = lateFrom?.includes(refreshTokenFingerprint(current)) ?? holder !== undefined
		next = oursIsLatest ? withRefreshed(current, next) : withRefreshed(next, current)
		expected = answer.version
	}
	throw new BrokerError('ERR_STORE_UNAVAILABLE', 'The tokens could not be stored: too many writers at once.')
}

export function signedOut(): BrokerError {
	return new BrokerError('ERR_SIGNED_OUT', 'The session has no tokens any more. Sign in again.')
}

/** Whether a blob is sealed under an older secret: one that is only read has to be sealed anew as well. */
export function isOutdated(partition: string, { sealed }: StoredBlob): boolean {
	const opened = sealer.open(purpose, partition, sealed)
	return opened.ok && opened.outdated
}
