/** Pages for everybody, for who is signed in, and for who has a role. Settings come from the environment. */
import Koa from 'koa'
import { allOf, hardenServer, hasRole, koaMsal, requireSignedIn } from 'koa-msal'

const { broker, msalSession, msalRoutes } = await koaMsal()
const app = new Koa()
app.use(msalSession)
app.use(msalRoutes)

app.use(async (ctx, next) => {
	if (ctx.path !== '/') return next()
	ctx.body = 'This page is for everybody. /me is for who is signed in.'
})

// From here on somebody is signed in: a browser is sent to sign in and comes back to the page that it wanted.
app.use(requireSignedIn())
app.use(async (ctx, next) => {
	if (ctx.path !== '/me') return next()
	ctx.body = `Hello ${broker.forSession(ctx.session).name}`
})

// Who lacks the role gets 403, and is not sent to sign in again.
app.use(allOf(hasRole('Reports.Read')))
app.use((ctx) => {
	ctx.body = 'The reports.'
})

hardenServer(app.listen(Number(process.env.PORT ?? 3000)))
