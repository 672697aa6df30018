import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createSessionMaker } from '../sessions.js'
import { countCommands, requireRedis } from '../token-store.js'
import { type AddTo, answerWith } from './app.js'
import { usePlainSession } from './plain-session.js'

/** koa-session and koa-redis alone: the session says who it is, and the answers are a Map's. */
export const addTo: AddTo = async (app, params, world) => {
	const redis = new Redis(requireRedis(world))
	const maker = createSessionMaker(params, world)
	const tokens = new Map<string, string>()
	usePlainSession(app, redis)
	app.use(async (ctx) => {
		const [, person] = /^\/seed\/(\d+)$/.exec(ctx.path) ?? []
		if (person !== undefined) {
			const { msal } = maker.session(Number(person))
			tokens.set(msal.account.objectId, maker.tokens(Number(person)).seeded)
			ctx.session.msal = msal
			ctx.status = 204
			return
		}
		const { objectId } = ctx.session.msal.account
		if (ctx.path === '/refresh') await sleep(params.providerLatencyMs)
		answerWith(ctx, objectId, tokens.get(objectId) as string)
	})
	return {
		signIn: 'seed',
		tokens: { held: 'seeded', refreshed: 'seeded' },
		storeCalls: () => countCommands(redis),
		close: async () => void (await redis.quit()),
	}
}
