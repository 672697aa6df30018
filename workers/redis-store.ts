import type { Result } from 'ioredis'
import { onRedis, openRedis, type RedisConnection } from '../src/redis-client.js'
import type { ClaimParams, StoredBlob } from '../src/wire.js'
import type { PartitionStore } from './partition-store.js'

declare module 'ioredis' {
	interface RedisCommander<Context> {
		koaMsalCommit(key: string, version: number, sealed: string): Result<[number, string?, string?], Context>
	}
}

/**
 * Writes only over the version that was read, and never makes a key: after a sign-out there is nothing to
 * write over, so nothing comes back. Answers {1} written, {0} gone, {2, version, sealed} somebody was faster.
 * HSET keeps the key's time to live.
 */
const commitScript = `
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return {0} end
if version ~= ARGV[1] then return {2, version, redis.call('HGET', KEYS[1], 'b')} end
redis.call('HSET', KEYS[1], 'v', version + 1, 'b', ARGV[2])
return {1}
`

/** Partitions as Redis hashes `{ v: version, b: sealed blob }`, on a connection of this worker's own. */
export function createRedisStore(connection: RedisConnection, namespace: string) {
	const client = openRedis(connection)
	client.defineCommand('koaMsalCommit', { numberOfKeys: 1, lua: commitScript })
	// Braces: the keys of one partition share a hash slot in a cluster.
	const partitionKey = (partition: string) => `${namespace}:t:{${partition}}`
	const claimKey = (transaction: string) => `${namespace}:u:${transaction}`

	const store: PartitionStore = {
		read: (partition) =>
			onRedis(client, async () => {
				const [version, sealed] = await client.hmget(partitionKey(partition), 'v', 'b')
				return version && sealed ? { version: Number(version), sealed } : undefined
			}),

		create: (partition, sealed, lifetime) =>
			onRedis(client, async () => {
				const key = partitionKey(partition)
				const written = await client.multi().hset(key, { v: 1, b: sealed }).pexpire(key, lifetime).exec()
				for (const [error] of written ?? [[new Error('aborted')]]) if (error) throw error
			}),

		commit: (partition, version, sealed) =>
			onRedis(client, async () => {
				const [state, newer, blob] = await client.koaMsalCommit(partitionKey(partition), version, sealed)
				if (state === 2) return { version: Number(newer), sealed: blob } as StoredBlob
				return state === 1 ? 'written' : 'gone'
			}),

		remove: (partition) =>
			onRedis(client, async () => {
				await client.del(partitionKey(partition))
			}),
	}

	return {
		...store,
		/** @returns the mark of an earlier claim, or `undefined`: the transaction is now ours. */
		claim: ({ transaction, value, lifetime }: ClaimParams) =>
			onRedis(client, async () => {
				const earlier = await client.set(claimKey(transaction), value, 'PX', lifetime, 'NX', 'GET')
				return earlier ?? undefined
			}),
		failClaim: (transaction: string) =>
			onRedis(client, async () => {
				await client.set(claimKey(transaction), '', 'KEEPTTL', 'XX')
			}),
		findClaim: (transaction: string) =>
			onRedis(client, async () => (await client.get(claimKey(transaction))) ?? undefined),
		ping: () => onRedis(client, () => client.ping()),
	}
}
