import { BrokerError } from '../src/errors.js'
import type { WireTasks } from '../src/wire.js'
import { commitCache, openCache } from './blobs.js'
import { redisStore } from './context.js'

/**
 * Writes a refreshed blob that the store could not take when it was made.
 * @throws ERR_STORE_UNAVAILABLE when it is not the time yet
 */
export async function save({
	partition,
	blob,
}: WireTasks['save']['params']): Promise<WireTasks['save']['result']> {
	if (!redisStore) return { saved: true }
	try {
		const cache = await openCache(redisStore, partition, blob)
		if ((await commitCache(redisStore, partition, undefined, blob.version, cache)) === 'written')
			return { saved: true }
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return { saved: false }
		throw error
	}
	throw new BrokerError('ERR_STORE_UNAVAILABLE', 'Somebody else is refreshing this session now.')
}
