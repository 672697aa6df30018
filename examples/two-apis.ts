/**
 * Two APIs with one sign-in: Microsoft Graph, and one of your own, whose address and scope are in API_URL and API_SCOPE
 * (`api://{client id}/access_as_user`). Each gets its own token; neither ever sees the other's.
 */
import Koa from 'koa'
import { hardenServer, koaMsal, requireSignedIn } from 'koa-msal'

const { API_URL, API_SCOPE, GRAPH_ENDPOINT: endpoint, PORT = 3000 } = process.env
if (!API_URL || !API_SCOPE) throw new Error('API_URL and API_SCOPE are needed')
const { broker, msalSession, msalRoutes } = await koaMsal({
	scopes: ['User.Read'],
	// A token goes to these hosts, and nowhere else.
	downstream: { allowedHosts: [new URL(API_URL).host] },
	...(endpoint !== undefined && { graph: { endpoint } }),
})
const app = new Koa()
app.use(msalSession)
app.use(msalRoutes)
// Where the person has not consented to the API yet, a browser is sent to be asked, and comes back.
app.use(requireSignedIn())
app.use(async (ctx) => {
	const session = broker.forSession(ctx.session)
	const [me, orders] = await Promise.all([
		session.graph.me(),
		session.get(`${API_URL}/orders`, { scopes: [API_SCOPE] }),
	])
	if (!orders.ok) {
		// Unread, it would hold a connection.
		await orders.body?.cancel()
		return ctx.throw(502, `The API answered ${orders.status}.`)
	}
	ctx.body = { name: me.displayName, orders: await orders.json() }
})
hardenServer(app.listen(Number(PORT)))
