import Router from '@koa/router'
import Koa, { type Context, type Middleware } from 'koa'
import {
	type AcquiredToken,
	BrokerError,
	type KoaMsal,
	type Outcome,
	requireSignedIn,
	type SilentRequest,
} from '../../src/index.js'
import type { Graph } from './graph.js'
import { icon, show } from './layout.js'
import { homePage } from './pages/home.js'
import { problemPage } from './pages/problem.js'
import { welcomePage } from './pages/welcome.js'

/** What the pages say of where the demo runs. */
export interface Place {
	readonly origin: string
	/** The provider is the stand-in for development. */
	readonly standIn: boolean
	/** Tokens and sessions are in Redis, else in this process. */
	readonly redis: boolean
}

/** One acquisition, as it is shown: how it went, never what it brought. */
export interface Call {
	readonly what: string
	readonly outcome: Outcome
	/** Milliseconds. */
	readonly took: number
	/** Milliseconds since the epoch. */
	readonly at: number
	/** Calls of the same moment that joined this one. */
	readonly joined?: number
}

/** The permission to read one's manager. Sign-in does without it: it is asked for when it is wanted. */
const managerScopes = ['User.Read.All']

/** Calls that a session remembers. */
const rememberedCalls = 5

/** The demo as a Koa application. */
export function createDemo({ broker, msalSession, msalRoutes }: KoaMsal, graph: Graph, place: Place): Koa {
	const router = new Router()

	router.get('/', async (ctx) => {
		if (!ctx.session.msal) return show(ctx, welcomePage(place))
		const { token, call } = await timed('This page', () => broker.acquireSilent(ctx.session))
		const [person, manager] = await Promise.all([
			graph.lookUp(ctx.session, '/me', ['User.Read']),
			isGranted(token, managerScopes)
				? graph.lookUp(ctx.session, '/me/manager', managerScopes)
				: ({ none: 'not asked' } as const),
		])
		const calls: readonly Call[] = ctx.session.calls ?? []
		const { tasks } = broker.statistics
		show(ctx, homePage({ place, token, own: call, calls, person, manager, tasks }))
	})

	// Post, redirect, get: a reload shows the same page again and repeats nothing.
	const acquiring = (what: string, request: SilentRequest, times = 1) =>
		router.post(
			`/token/${what.toLowerCase().replaceAll(' ', '-')}`,
			requireSameOrigin(place),
			async (ctx) => {
				const acquire = () => timed(what, () => broker.acquireSilent(ctx.session, request))
				const [first, ...others] = await Promise.all(Array.from({ length: times }, acquire))
				const joined = others.filter(({ call }) => call.outcome === 'inflight').length
				ctx.session.calls = [{ ...first?.call, joined }, ...(ctx.session.calls ?? [])].slice(
					0,
					rememberedCalls,
				)
				ctx.status = 303
				ctx.redirect('/#token')
			},
		)
	acquiring('Acquire again', {})
	acquiring('Force a refresh', { forceRefresh: true })
	acquiring('Ten at once', { forceRefresh: true }, 10)

	// The guard sends people to the provider when they are not signed in, when it asks for them, and for scopes
	// that they have not granted yet; then it brings them back here.
	router.get('/again', requireSignedIn(), async (ctx) => {
		await broker.acquireSilent(ctx.session)
		ctx.redirect('/')
	})
	router.get('/manager', requireSignedIn(), async (ctx) => {
		await broker.acquireSilent(ctx.session, { scopes: managerScopes })
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

async function timed(
	what: string,
	acquire: () => Promise<AcquiredToken>,
): Promise<{ token: AcquiredToken; call: Call }> {
	const started = performance.now()
	const token = await acquire()
	const took = performance.now() - started
	return { token, call: { what, outcome: token.outcome, took, at: Date.now() } }
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
