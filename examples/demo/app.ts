import Router from '@koa/router'
import Koa, { type Context, type Middleware } from 'koa'
import { type AcquiredToken, BrokerError, type KoaMsal, requireSignedIn } from '../../src/index.js'
import { actions, type Call, timed } from './acquisitions.js'
import { lookUp } from './graph.js'
import { icon, type Place, show } from './layout.js'
import { homePage } from './pages/home.js'
import { problemPage } from './pages/problem.js'
import { welcomePage } from './pages/welcome.js'

/** The permissions to read one's manager. Sign-in does without the second: it is asked for when it is wanted. */
const managerScopes = ['User.Read', 'User.Read.All']

/** Milliseconds a page waits for Graph. */
const timeout = 5_000

/** Calls that a session remembers. */
const rememberedCalls = 5

/** The demo as a Koa application. */
export function createDemo({ broker, msalSession, msalRoutes }: KoaMsal, place: Place): Koa {
	const router = new Router()

	router.get('/', async (ctx) => {
		if (!ctx.session.msal) return show(ctx, welcomePage(place))
		const { token, call } = await timed('This page', () => broker.acquireSilent(ctx.session))
		const { graph } = broker.forSession(ctx.session)
		const [person, manager] = await Promise.all([
			lookUp(() => graph.me({ timeout })),
			ctx.session.readsManager || isGranted(token, managerScopes)
				? lookUp(() => graph.manager({ timeout })).catch(orNotAsked)
				: notAsked,
		])
		const calls: readonly Call[] = ctx.session.calls ?? []
		const { tasks } = broker.statistics
		show(ctx, homePage({ place, token, own: call, calls, person, manager, tasks }))
	})

	// Post, redirect, get: a reload shows the same page again and repeats nothing.
	for (const { name, path, request, times } of actions)
		router.post(path, requireSameOrigin(place), async (ctx) => {
			const acquire = () => timed(name, () => broker.acquireSilent(ctx.session, request))
			const [first, ...others] = await Promise.all(Array.from({ length: times }, acquire))
			const joined = others.filter(({ call }) => call.outcome === 'inflight').length
			const calls = [{ ...first?.call, joined }, ...(ctx.session.calls ?? [])]
			ctx.session.calls = calls.slice(0, rememberedCalls)
			ctx.status = 303
			ctx.redirect('/#token')
		})

	// The guard sends people to the provider when they are not signed in, when it asks for them, and for scopes
	// that they have not granted yet; then it brings them back here.
	router.get('/again', requireSignedIn(), async (ctx) => {
		await broker.acquireSilent(ctx.session)
		ctx.redirect('/')
	})
	router.get('/manager', requireSignedIn(), async (ctx) => {
		await broker.acquireSilent(ctx.session, { scopes: managerScopes })
		ctx.session.readsManager = true
		ctx.redirect('/')
	})

	router.get(['/icon.svg', '/favicon.ico'], (ctx) => {
		ctx.set('Cache-Control', 'public, max-age=86400')
		ctx.type = 'image/svg+xml'
		ctx.body = icon
	})

	const app = new Koa()
	// Tokens are in no message of the broker's; what else may be in an error stays out of the log.
	app.on('error', (error: Error & { code?: string }) =>
		console.error(`${error.code ?? error.name}: ${error.message}`),
	)
	app.use(showProblems(place))
	app.use(msalSession)
	app.use(msalRoutes)
	app.use(router.routes())
	return app
}

const notAsked = { none: 'not asked' } as const

/** A permission that was taken back is one that was not given. */
function orNotAsked(error: unknown): typeof notAsked {
	if (error instanceof BrokerError && error.code === 'ERR_INTERACTION_REQUIRED') return notAsked
	throw error
}

function isGranted({ scopes }: AcquiredToken, wanted: readonly string[]): boolean {
	const granted = scopes.map((scope) => scope.toLowerCase())
	return wanted.every((scope) => granted.includes(scope.toLowerCase()))
}

/** Answers errors with a page that says what to do. The broker's carry the status and a message for people. */
function showProblems(place: Place): Middleware {
	return async function showProblems(ctx, next) {
		try {
			await next()
			if (ctx.status === 404 && !ctx.body) show(ctx, problemPage(place, { status: 404 }), 404)
		} catch (error) {
			const status = statusOf(error)
			if (status >= 500) ctx.app.emit('error', error, ctx)
			if (error instanceof BrokerError) ctx.set(error.headers)
			show(ctx, problemPage(place, { status, ...(error instanceof BrokerError && { error }) }), status)
		}
	}
}

function statusOf(error: unknown): number {
	const { status } = error as { status?: unknown }
	return typeof status === 'number' && status >= 400 && status < 600 ? status : 500
}

/** Refuses what another site posts in the person's name (CSRF): Fetch Metadata, else the Origin header. */
function requireSameOrigin({ origin }: Place): Middleware {
	return async function requireSameOrigin(ctx: Context, next) {
		const site = ctx.get('Sec-Fetch-Site')
		const same = site === '' ? ctx.get('Origin') === origin : site === 'same-origin'
		if (!same) ctx.throw(403, 'This request came from another site.')
		await next()
	}
}
