import type { RedisClient } from './redis-client.js'

/**
 * Where a partition is in Redis: a hash of what was written when, under one key.
 * `v`: the version of the blob; without one the partition is gone. `b`: the blob, sealed. `x`: when its
 * longest-lived token expires. `i`: which names the index has it under. `s`: the key of its web session.
 * `r`: who had its lease last and has not given it back.
 *
 * Braces: all keys of a partition share a hash slot in a cluster.
 */
export function partitionKey(namespace: string, partition: string): string {
	return `${namespace}:t:{${partition}}`
}

const writeBesideScript = `
if redis.call('HEXISTS', KEYS[1], 'v') == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`

/** Writes something beside the blob, if that is there: nothing is brought back. @returns whether it was there */
export async function writeBeside(
	client: RedisClient,
	key: string,
	field: 'i' | 's',
	value: string,
): Promise<boolean> {
	return (await client.eval(writeBesideScript, 1, key, field, value)) === 1
}
