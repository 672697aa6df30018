import { Redis } from 'ioredis'
import { accountOf, authOf, createClient } from '../arms/msal-per-request.js'
import { scopes } from '../people.js'
import { createSessionMaker } from '../sessions.js'
import { countCommands, requireRedis } from '../token-store.js'
import { type AddTo, answerWith } from './app.js'
import { usePlainSession } from './plain-session.js'

/** msal-node as its documentation recommends: a client per request, its cache in Redis, the account in the session. */
export const addTo: AddTo = async (app, params, world) => {
	const redis = new Redis(requireRedis(world))
	const maker = createSessionMaker(params, world)
	const auth = authOf(params, world)
	// Milliseconds.
	const lifetime = 15 * 60_000
	const cache = {
		get: async (key: string) => (await redis.get(key)) ?? '',
		set: (key: string, value: string) => redis.set(key, value, 'PX', lifetime),
	}
	usePlainSession(app, redis)
	app.use(async (ctx) => {
		const [, person] = /^\/seed\/(\d+)$/.exec(ctx.path) ?? []
		if (person !== undefined) {
			const session = maker.session(Number(person))
			await cache.set(session.msal.partition, session.cache)
			ctx.session.partition = session.msal.partition
			ctx.session.account = accountOf(session, world)
			ctx.status = 204
			return
		}
		const { account, partition } = ctx.session
		const { accessToken } = await createClient(auth, cache, partition).acquireTokenSilent({
			account,
			scopes: [...scopes],
			...(ctx.path === '/refresh' && { forceRefresh: true }),
		})
		answerWith(ctx, account.localAccountId, accessToken)
	})
	return {
		signIn: 'seed',
		tokens: { held: 'seeded', refreshed: 'refreshed' },
		storeCalls: () => countCommands(redis),
		close: async () => void (await redis.quit()),
	}
}
