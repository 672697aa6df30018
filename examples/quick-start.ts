import Koa from 'koa'
import { hardenServer, koaMsal } from 'koa-msal'

const { broker, msalSession, msalRoutes } = await koaMsal() // settings from the environment
const app = new Koa()
app.use(msalSession) // koa-session, on koa-redis when REDIS_URL is set
app.use(msalRoutes) // /user/login, /user/authorized, /user/logout, …
app.use(async (ctx) => {
	const { accessToken, account } = await broker.acquireSilent(ctx.session)
	ctx.body = `Hello ${account.name}: your token for Microsoft Graph has ${accessToken.length} characters.`
})
hardenServer(app.listen(Number(process.env.PORT ?? 3000)))
