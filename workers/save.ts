import { BrokerError } from '../src/errors.js'
import type { WireTasks } from '../src/wire.js'
import { commitCache, openCache } from './blobs.js'
import { redisStore } from './context.js'

/** Writes a refreshed blob that the store could not take when it was made. @throws ERR_STORE_UNAVAILABLE */
export async function save({
	partition,
	blob,
}: WireTasks['save']['params']): Promise<WireTasks['save']['result']> {
	if (!redisStore) return { state: 'saved' }
	try {
		const cache = await openCache(redisStore, partition, blob)
		const answer = await commitCache(
			redisStore,
			partition,
			blob.holder,
			blob.version,
			cache,
			blob.refreshedFrom,
		)
		return { state: answer === 'written' ? 'saved' : 'later' }
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return { state: 'gone' }
		throw error
	}
}
