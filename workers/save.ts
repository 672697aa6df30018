import { randomUUID } from 'node:crypto'
import { BrokerError } from '../src/errors.js'
import type { WireTasks } from '../src/wire.js'
import { commitCache, openCache } from './blobs.js'
import { redisStore } from './context.js'

/** Writes a refreshed blob that the store could not take when it was made. */
export async function save({
	partition,
	blob,
}: WireTasks['save']['params']): Promise<WireTasks['save']['result']> {
	if (!redisStore) return { saved: true }
	try {
		const cache = await openCache(redisStore, partition, blob)
		return {
			saved: (await commitCache(redisStore, partition, randomUUID(), blob.version, cache)) === 'written',
		}
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return { saved: false }
		throw error
	}
}
