import { Redis } from 'ioredis'
import type { SignedInAccount, TokenStore } from '../src/index.js'
// Not from the whole library, which takes a process of msal-node alone longer to load than msal-node.
import { memoryTokenStore } from '../src/memory-token-store.js'
import { redisTokenStore } from '../src/redis-token-store.js'
import type { Params, World } from './scenario.js'

/** A session's token cache, sealed. */
export interface SealedCache {
	readonly partition: string
	readonly account: SignedInAccount
	readonly sealed: string
	/** Of its longest-lived token, milliseconds since the epoch: what the store's index of leases goes by. */
	readonly expiresOn: number
}

/** A token store that can be filled without a sign-in. */
export interface SeededStore {
	readonly store: TokenStore
	/** Takes sealed caches. */
	fill(caches: Iterable<SealedCache>): Promise<void>
	/** Drops partitions of a round before. */
	drop(partitions: Iterable<string>): Promise<void>
	/** Calls so far: of the memory store reads and writes, of Redis all commands, a script's included. */
	calls(): Promise<number>
	close(): Promise<void>
}

/** Milliseconds that a seeded partition lives. */
const lifetime = 3_600_000

/** @param keyOf the library's name for a partition in Redis */
export function createSeededStore(
	params: Params,
	world: World,
	keyOf: (partition: string) => string,
): SeededStore {
	return params.store === 'redis' ? inRedis(requireRedis(world), keyOf) : inMemory()
}

export function requireRedis({ redisUrl }: World): string {
	if (redisUrl === undefined) throw new Error('the case needs Redis')
	return redisUrl
}

function inMemory(): SeededStore {
	const store = memoryTokenStore()
	let calls = 0
	const [read, commit] = [store.read.bind(store), store.commit.bind(store)]
	store.read = (partition) => {
		calls++
		return read(partition)
	}
	store.commit = (...args) => {
		calls++
		return commit(...args)
	}
	return {
		store,
		async fill(caches) {
			for (const { partition, sealed, account } of caches) store.create(partition, sealed, lifetime, account)
		},
		async drop(partitions) {
			for (const partition of partitions) store.remove(partition)
		},
		calls: async () => calls,
		close: async () => {},
	}
}

function inRedis(url: string, keyOf: (partition: string) => string): SeededStore {
	const client = new Redis(url)
	const filled = new Set<string>()
	return {
		store: redisTokenStore(url),
		fill: (caches) =>
			inBatches(caches, async (batch) => {
				const writes = client.pipeline()
				for (const { partition, sealed, expiresOn } of batch) {
					const key = keyOf(partition)
					filled.add(key)
					writes.hset(key, { v: 1, b: sealed, x: expiresOn }).pexpire(key, lifetime)
				}
				for (const [error] of (await writes.exec()) ?? []) if (error) throw error
			}),
		calls: () => countCommands(client),
		async drop(partitions) {
			const keys = Array.from(partitions, keyOf)
			await inBatches(keys, (batch) => client.unlink(...batch))
			for (const key of keys) filled.delete(key)
		},
		async close() {
			await inBatches(filled, (batch) => client.unlink(...batch))
			await client.quit()
		},
	}
}

/** A million commands at once are too many for one pipeline. */
export async function inBatches<T>(
	items: Iterable<T>,
	work: (batch: T[]) => Promise<unknown>,
): Promise<void> {
	let batch: T[] = []
	for (const item of items) {
		batch.push(item)
		if (batch.length < 200) continue
		await work(batch)
		batch = []
	}
	if (batch.length > 0) await work(batch)
}

/** Commands that the server has run for everybody. */
export async function countCommands(client: Redis): Promise<number> {
	return Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
}
