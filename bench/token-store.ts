import { Redis } from 'ioredis'
import { memoryTokenStore, redisTokenStore, type SignedInAccount, type TokenStore } from '../src/index.js'
import type { Params, World } from './scenario.js'

/** A session's token cache, sealed. */
export interface SealedCache {
	readonly partition: string
	readonly account: SignedInAccount
	readonly sealed: string
}

/** A token store that can be filled without a sign-in. */
export interface SeededStore {
	readonly store: TokenStore
	/** Takes sealed caches, in place of those of the round before. */
	fill(caches: readonly SealedCache[]): Promise<void>
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
	let filled: readonly string[] = []
	return {
		store,
		async fill(caches) {
			for (const partition of filled) store.remove(partition)
			for (const { partition, sealed, account } of caches) store.create(partition, sealed, lifetime, account)
			filled = caches.map(({ partition }) => partition)
		},
		calls: async () => calls,
		close: async () => {},
	}
}

function inRedis(url: string, keyOf: (partition: string) => string): SeededStore {
	const client = new Redis(url)
	let filled: readonly string[] = []
	const empty = async () => {
		if (filled.length > 0) await client.del([...filled])
		filled = []
	}
	return {
		store: redisTokenStore(url),
		async fill(caches) {
			await empty()
			const writes = client.pipeline()
			for (const { partition, sealed } of caches)
				writes.hset(keyOf(partition), { v: 1, b: sealed }).pexpire(keyOf(partition), lifetime)
			for (const [error] of (await writes.exec()) ?? []) if (error) throw error
			filled = caches.map(({ partition }) => keyOf(partition))
		},
		calls: () => countCommands(client),
		async close() {
			await empty()
			await client.quit()
		},
	}
}

/** Commands that the server has run for everybody. */
export async function countCommands(client: Redis): Promise<number> {
	return Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
}
