// biome-ignore-all lint/correctness/noUnusedVariables: what is done with the token is yours
import Koa from 'koa'
import { koaMsal } from '../src/index.js'

const { broker, msalSession, msalRoutes } = await koaMsal() // settings from the environment
const app = new Koa()
app.use(msalSession) // koa-session, on koa-redis when REDIS_URL is set
app.use(msalRoutes) // /user/login, /user/authorized, /user/logout, …
app.use(async (ctx) => {
	const { accessToken } = await broker.acquireSilent(ctx.session)
})
