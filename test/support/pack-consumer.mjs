// The whole of an application: it runs in a folder where the packed package and koa are installed.
import { createServer } from 'node:http'
import Koa from 'koa'
import { koaMsal } from 'koa-msal'

const server = createServer().listen(0, '127.0.0.1', async () => {
	const origin = `http://localhost:${server.address().port}`
	const { auth, ...settings } = JSON.parse(process.env.SETTINGS)
	const { broker, msalSession, msalRoutes } = await koaMsal({
		...settings,
		auth: { ...auth, redirectUri: `${origin}/user/authorized` },
	})
	const app = new Koa()
	app.use(msalSession)
	app.use(msalRoutes)
	app.use(async (ctx) => {
		const { outcome, account } = await broker.acquireSilent(ctx.session)
		ctx.body = { outcome, username: account.username }
	})
	server.on('request', app.callback())
	process.once('SIGTERM', async () => {
		server.close()
		server.closeAllConnections()
		await broker.close()
	})
	console.log(origin)
})
