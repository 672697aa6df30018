import { createSecretKey } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createSealer } from '../../src/sealing.js'

/** Where one session's tokens are, for tests that meddle with them. */
export interface Whereabouts {
	readonly redis: Redis
	readonly namespace: string
	readonly secret: string
	readonly clientId: string
	readonly partition: string
}

/** MSAL's unified cache. */
export type Cache = Record<string, Record<string, Record<string, string>>>

/** Reads a partition as the library would. */
export async function readCache(where: Whereabouts): Promise<{ version: number; cache: Cache } | undefined> {
	const { redis, namespace, partition } = where
	const [version, sealed] = await redis.hmget(`${namespace}:t:{${partition}}`, 'v', 'b')
	if (!version || !sealed) return undefined
	const opened = sealerOf(where).open('tokens', partition, sealed)
	if (!opened.ok) throw new Error(`the blob does not open: ${opened.reason}`)
	return { version: Number(version), cache: JSON.parse(opened.plaintext) as Cache }
}

/** Makes the access tokens of a partition expire now, in the store and in every process. */
export async function expire(where: Whereabouts): Promise<void> {
	const { redis, namespace, partition } = where
	const stored = await readCache(where)
	if (!stored) throw new Error('there is no such partition')
	for (const entry of Object.values(stored.cache.AccessToken ?? {})) entry.expires_on = '1'
	await writeCache(where, stored.version + 1, stored.cache)
	// Other processes take it for a sign-out and forget what they hold; the store still has it.
	await redis.publish(`${namespace}:signed-out`, partition)
	await sleep(20)
}

/** Writes a partition, whatever its version is and whoever holds its lease; nobody is told. */
export async function writeCache(where: Whereabouts, version: number, cache: Cache): Promise<void> {
	const { redis, namespace, partition } = where
	const times = Object.values(cache.AccessToken ?? {}).map(({ expires_on }) => Number(expires_on) * 1000)
	const sealed = sealerOf(where).seal('tokens', partition, JSON.stringify(cache))
	await redis.hset(`${namespace}:t:{${partition}}`, { v: version, b: sealed, x: Math.max(0, ...times) })
}

function sealerOf({ secret, clientId }: Whereabouts) {
	return createSealer([createSecretKey(Buffer.from(secret))], clientId)
}
