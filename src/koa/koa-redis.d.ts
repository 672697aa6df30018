declare module 'koa-redis' {
	import type { EventEmitter } from 'node:events'
	import type { Cluster, Redis } from 'ioredis'

	interface RedisStore extends EventEmitter {
		get(sid: string): Promise<string | null>
		set(sid: string, session: unknown, ttl: number): Promise<void>
		destroy(sid: string): Promise<void>
	}

	export default function redisStore(options: {
		readonly client: Redis | Cluster
		readonly serialize: (value: unknown) => string
		readonly unserialize: (text: string) => unknown
	}): RedisStore
}
