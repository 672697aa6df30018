import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type Koa from 'koa'
import redisStore from 'koa-redis'
import createKoaSession from 'koa-session'

/** koa-session on koa-redis, as both document it: nothing is sealed. */
export function usePlainSession(app: Koa, client: Redis): void {
	app.keys = [randomBytes(32).toString('base64url')]
	// Both are what koa-redis does by itself.
	const store = redisStore({ client, serialize: JSON.stringify, unserialize: JSON.parse })
	// Milliseconds.
	app.use(createKoaSession({ key: 'plain', maxAge: 15 * 60_000, store }, app))
}
