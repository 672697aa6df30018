import { Redis } from 'ioredis'
import { koaMsal, redisTokenStore } from '../../src/index.js'
import { sealingSecret } from '../arms/broker.js'
import { clientId, clientSecret, scopes } from '../people.js'
import { requireCertificate } from '../sessions.js'
import { countCommands, requireRedis } from '../token-store.js'
import { type AddTo, answerWith, joinedHeader } from './app.js'

/** This library: its sessions, its routes, its tokens, everything sealed. */
export const addTo: AddTo = async (app, params, world, origin) => {
	const url = requireRedis(world)
	const { broker, msalSession, msalRoutes } = await koaMsal({
		auth: {
			clientId,
			authority: world.authority,
			knownAuthorities: [world.host],
			redirectUri: `${origin}/user/authorized`,
			...(params.credential === 'secret'
				? { clientSecret }
				: { clientCertificate: requireCertificate(world) }),
		},
		scopes: [...scopes],
		store: redisTokenStore(url),
		secrets: [sealingSecret],
		network: { caFile: world.caFile },
		session: { absoluteTimeout: 15 * 60_000 },
	})
	app.use(msalSession)
	app.use(msalRoutes)
	app.use(async (ctx) => {
		const { account, accessToken, outcome } =
			ctx.path === '/refresh'
				? await broker.acquireSilent(ctx.session, { forceRefresh: true })
				: await broker.acquireSilent(ctx.session)
		if (outcome === 'inflight') ctx.set(joinedHeader, 'yes')
		answerWith(ctx, account.objectId, accessToken)
	})
	const redis = new Redis(url)
	return {
		signIn: 'routes',
		tokens: { held: 'redeemed', refreshed: 'refreshed' },
		storeCalls: () => countCommands(redis),
		async close() {
			await broker.close()
			await redis.quit()
		},
	}
}
