/** Microsoft Graph, as the person who is signed in. Settings come from the environment. */
import Koa from 'koa'
import { hardenServer, koaMsal, requireSignedIn } from 'koa-msal'

const { GRAPH_ENDPOINT: endpoint, PORT = 3000 } = process.env
const { broker, msalSession, msalRoutes } = await koaMsal({
	scopes: ['User.Read'],
	// What sign-in asks Graph for: the mail address, here.
	profile: 'user',
	...(endpoint !== undefined && { graph: { endpoint } }),
})
const app = new Koa()
app.use(msalSession)
app.use(msalRoutes)
app.use(requireSignedIn())
app.use(async (ctx) => {
	const session = broker.forSession(ctx.session)
	// What there is none of (a manager, a photo, a mailbox) is undefined.
	const [me, photo] = await Promise.all([session.graph.me(), session.graph.photo()])
	photo?.body.destroy()
	ctx.body = {
		name: me.displayName,
		mail: session.mail,
		photo: photo ? photo.type : 'none',
	}
})
hardenServer(app.listen(Number(PORT)))
