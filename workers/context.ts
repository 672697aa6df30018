import { workerData } from 'node:worker_threads'
import { createHttp } from '../src/network.js'
import { createSealer } from '../src/sealing.js'
import { createSessionIds } from '../src/session-id.js'
import type { WorkerSettings } from '../src/wire.js'
import { createOwnAuthority } from './own-authority.js'
import { ownData } from './own-data.js'

/** What a worker sets up once, from settings alone. No user's state stays here: any worker serves any user. */
export const settings = ownData<WorkerSettings>(workerData)
export const sealer = createSealer(settings.secrets, settings.clientId)
export const ownAuthority = createOwnAuthority(settings)
export const sessionIds = createSessionIds(settings.secrets, settings.clientId)
export const http = createHttp(settings.network)
/** Above `maxBlobBytes` is what cannot be left out of a blob, and what a process with a higher bound has written. */
const mostBytes = 4 * Math.max(settings.maxBlobBytes, 1_048_576)
/** `undefined` when the store is in memory on the main thread. */
export const redisStore = settings.redis && (await openStore(settings.redis))

/** ioredis takes a tenth of a second to load: nobody waits for it who has no Redis. */
async function openStore(redis: NonNullable<WorkerSettings['redis']>) {
	const [{ openRedis }, { createRedisStore }] = await Promise.all([
		import('../src/redis-client.js'),
		import('./redis-store.js'),
	])
	return createRedisStore(openRedis(redis), settings.namespace, settings.refresh.lease, mostBytes)
}
