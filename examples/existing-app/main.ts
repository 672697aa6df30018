// What the shop adds: the broker, the routes, and a seal around the store that it has.
import {
	createMsalRoutes,
	createTokenBroker,
	hardenServer,
	requireSignedIn,
	sealedSessionStore,
} from 'koa-msal'
import { MapStore } from './map-store.js'
import { createShop } from './shop.js'

const port = Number(process.env.PORT ?? 3000)
const host = process.env.AZURE_AUTHORITY_HOST ?? 'https://login.microsoftonline.com'

const broker = await createTokenBroker({
	auth: {
		clientId: process.env.AZURE_CLIENT_ID ?? '',
		clientSecret: process.env.AZURE_CLIENT_SECRET ?? '',
		authority: `${host}/${process.env.AZURE_TENANT_ID}`,
		redirectUri: process.env.MSAL_REDIRECT_URI ?? `http://localhost:${port}/user/authorized`,
	},
	secrets: (process.env.MSAL_SECRETS ?? '').split(','),
	onError: 'throw', // the shop has error pages of its own
	keepOnSignIn: ['basket'], // whoever signs in next at this browser
})

const shop = createShop({
	sessions: sealedSessionStore(new MapStore(), broker),
	signIn: [createMsalRoutes(broker)],
	customersOnly: requireSignedIn(),
	customerOf: (ctx) => ctx.session.msal?.account.username,
})

const server = hardenServer(
	shop.listen(port, () => console.log(`The shop is open: http://localhost:${port}/`)),
)

// A second one ends the process at once: nobody listens any more.
process.once('SIGTERM', async () => {
	server.close()
	await broker.close()
	server.closeIdleConnections()
	setTimeout(() => server.closeAllConnections(), 2000).unref() // the last answers are on their way
})
