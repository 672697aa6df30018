import redisStore from 'koa-redis'
import type { MemoryTokenStore } from '../memory-token-store.js'
import { closeRedis, isWrongType, onRedis, openRedis } from '../redis-client.js'
import { partitionKey, writeBeside } from '../redis-partition.js'
import type { RedisTokenStore } from '../redis-token-store.js'

/** Where sealed sessions are kept. Times are milliseconds. */
export interface SessionBackend {
	/** What stands there and is no text is removed. */
	get(key: string): Promise<string | undefined>
	create(key: string, sealed: string, lifetime: number): Promise<void>
	/** Writes only over what is there: a slow request must not bring back a session that was ended meanwhile. */
	replace(key: string, sealed: string, lifetime: number): Promise<boolean>
	/** Writes the same contents under another seal, unless they have changed meanwhile. Their time to live stays. */
	reseal(key: string, before: string, after: string): Promise<void>
	/** Lets the session live on from now, if it is there. */
	touch(key: string, lifetime: number): Promise<void>
	/** @returns whether it was there; no when the first answer was lost: rather so than a session that comes back */
	remove(key: string): Promise<boolean>
	/** Lets a sign-out find the session by the partition of its ticket. @returns whether that is there */
	bind(key: string, partition: string): Promise<boolean>
	/** Ends the tokens of a session, in every process. */
	endTokens(partition: string): Promise<void>
	close(): Promise<void>
}

export function createMemoryBackend(store: MemoryTokenStore): SessionBackend {
	const { sessions } = store
	return {
		get: async (key) => sessions.get(key),
		create: async (key, sealed, lifetime) => {
			sessions.set(key, sealed, { ttl: lifetime })
		},
		replace: async (key, sealed, lifetime) => {
			if (!sessions.has(key)) return false
			sessions.set(key, sealed, { ttl: lifetime })
			return true
		},
		reseal: async (key, before, after) => {
			const ttl = sessions.getRemainingTTL(key)
			// 0 would be for ever.
			if (sessions.peek(key) === before && ttl > 0) sessions.set(key, after, { ttl: Math.max(1, ttl) })
		},
		touch: async (key, lifetime) => {
			const sealed = sessions.peek(key)
			if (sealed !== undefined) sessions.set(key, sealed, { ttl: lifetime })
		},
		remove: async (key) => sessions.delete(key),
		bind: async (key, partition) => store.bind(key, partition),
		endTokens: async (partition) => store.remove(partition),
		close: async () => {},
	}
}

const resealScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
`

/**
 * koa-redis, with what it lacks: it swallows errors of the connection, knows no deadline, always writes, and does not
 * tell what it found.
 * @throws ERR_STORE_UNAVAILABLE from every method but `close`
 */
export function createRedisBackend({ connection }: RedisTokenStore, namespace: string): SessionBackend {
	const client = openRedis(connection)
	// What it stores is sealed text, not JSON.
	const store = redisStore({ client, serialize: String, unserialize: String })
	store.on('error', () => {})
	return {
		get: (key) =>
			onRedis(client, async () => (await store.get(key)) ?? undefined).catch(async (error) => {
				if (!isWrongType(error)) throw error
				await onRedis(client, () => client.del(key))
				return undefined
			}),
		create: (key, sealed, lifetime) => onRedis(client, () => store.set(key, sealed, lifetime)),
		replace: (key, sealed, lifetime) =>
			onRedis(client, async () => (await client.set(key, sealed, 'PX', Math.ceil(lifetime), 'XX')) === 'OK'),
		reseal: (key, before, after) =>
			onRedis(client, async () => {
				await client.eval(resealScript, 1, key, before, after)
			}),
		touch: (key, lifetime) =>
			onRedis(client, async () => {
				await client.pexpire(key, Math.ceil(lifetime))
			}),
		remove: (key) => onRedis(client, async () => (await client.del(key)) > 0),
		bind: (key, partition) =>
			onRedis(client, () => writeBeside(client, partitionKey(namespace, partition), 's', key)),
		endTokens: (partition) =>
			onRedis(client, async () => {
				await client.del(partitionKey(namespace, partition))
				// Without the right to publish it would be owed for ever.
				await client.publish(`${namespace}:signed-out`, partition).catch((cause: Error) => {
					if (!cause.message.startsWith('NOPERM')) throw cause
				})
			}),
		close: async () => closeRedis(client),
	}
}
