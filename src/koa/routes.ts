import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { type RouteSettings, withRouteOptions } from '../settings.js'
import { warnOfUnsafeSettings } from '../unsafe-settings.js'
import { callback } from './callback.js'
import { debug } from './debug.js'
import { keepHeadersOfErrors } from './error-headers.js'
import { rememberGroups } from './groups.js'
import { info } from './info.js'
import { acceptLegacyCookie } from './legacy-cookie.js'
import { type Login, offerLogin, sendToProvider } from './login.js'
import { logout } from './logout.js'
import { protect } from './page.js'
import { photo } from './photo.js'
import { answerError, otherAccount } from './refuse.js'
import { checkAddress } from './request-address.js'
import { returnToOf } from './return-to.js'
import { ownSessionsOf } from './session.js'
import { checkSession, type SelectSession } from './session-access.js'
import { createSignOutMarks } from './sign-out-marks.js'
import { createTransactions } from './transactions.js'
import { leavingUnread, mayHaveLongBody } from './unread-body.js'

/** What one set of routes does otherwise than the broker's settings say. */
export interface RouteOptions extends RouteSettings {
	/**
	 * The session of a request, where the application has its own: the object in which `msal` is put. Either what
	 * koa-session (version 6.4 or later, with a store) made, wherever the application keeps it, or an object with the
	 * methods `regenerate()`, which gives the session a new id, and `destroy()`, which ends it. Of the latter, data can
	 * be kept at sign-in only if its cookie comes along with the provider's answer: `SameSite=None`, or
	 * `auth.responseMode: 'query'`. Default: `ctx.session`.
	 */
	readonly session?: SelectSession
}

/**
 * The routes that sign people in and out:
 * `GET {prefix}/login[/{returnTo}]`, the redirect URI's path, `GET|POST {prefix}/logout[/{to}]`,
 * `GET {prefix}/info`, `GET {prefix}/photo`. Everything else passes through.
 * @throws ERR_CONFIG
 */
export function createMsalRoutes(
	broker: TokenBroker,
	{ session: select = (ctx) => ctx.session, ...options }: RouteOptions = {},
): Middleware {
	const settings = withRouteOptions(TokenBroker.settingsOf(broker), options)
	warnOfUnsafeSettings(settings, TokenBroker.settingsOf(broker))
	const { paths, basePath } = settings
	const session: SelectSession = (ctx) => {
		const selected = select(ctx)
		// It is no session, as is said where it is looked at; but nobody waits for it, and that it fails would end the process.
		if (selected instanceof Promise) selected.catch(() => {})
		return selected
	}
	const login: Login = {
		broker,
		settings,
		transactions: createTransactions(settings),
		marks: createSignOutMarks(broker, settings),
		session,
		path: basePath + paths.login,
		groupsOf: rememberGroups((whose) => broker.forSession(whose).graph.groups()),
	}
	const router = new Router()
	const literally = (path: string) => path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
	const exactly = (path: string) => new RegExp(`^${literally(path)}/?$`, 'i')
	const below = (path: string) => new RegExp(`^${literally(path)}(?:/.*)?$`)

	// Runs in front of a route that matches, and only then.
	router.use(async (ctx, next) => {
		protect(ctx)
		try {
			await next()
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error
			await answerError(ctx, error, login)
		}
	})
	router.all(exactly(paths.authorized), (ctx) => callback(ctx, login, settings.auth.responseMode))
	router.get(below(paths.login), (ctx) => {
		// The one thing that a page of ours asks for: else the provider signs the same account in again.
		const other = ctx.path === paths.login && ctx.search === `?${otherAccount}`
		return sendToProvider(ctx, login, returnToOf(ctx, paths.login), other ? { prompt: 'select_account' } : {})
	})
	for (const method of ['get', 'post'] as const)
		router[method](below(paths.logout), (ctx) => logout(ctx, login))
	router.get(exactly(paths.info), (ctx) => info(ctx, login))
	router.get(exactly(paths.photo), (ctx) => photo(ctx, broker, session(ctx)))

	const routes = router.routes() as unknown as Middleware
	const starts = Object.values(paths).map((path) => path.toLowerCase())
	const isOurs = (path: string) => starts.some((start) => path.toLowerCase().startsWith(start))
	const acceptLegacy = acceptLegacyCookie(login)
	// Not in the router, whose answers all have our headers: what is not there is not to be told from any other path.
	const debugPath = settings.debug && process.env.NODE_ENV === 'development' ? paths.debug : undefined
	// Where the provider answers at the front page, that is the application's all the same.
	const isFrontPage = (ctx: Context) =>
		ctx.path === '/' &&
		paths.authorized === '/' &&
		(settings.auth.responseMode === 'query'
			? !new URLSearchParams(ctx.querystring).has('state')
			: ctx.method !== 'POST')
	const answer: Middleware = (ctx, next) => {
		keepHeadersOfErrors(ctx)
		const refused = (error: unknown) => {
			if (!(error instanceof BrokerError) || error.code === 'ERR_CONFIG') throw error
			return answerError(ctx, error, login)
		}
		try {
			checkAddress(ctx)
		} catch (error) {
			return refused(error)
		}
		checkSession(ctx, session)
		ownSessionsOf(ctx)?.signsOutAt(paths.logout, login.marks.mark)
		offerLogin(ctx, login)
		const go = () => {
			if (ctx.path === debugPath) return debug(ctx, next, login)
			// The router would try each of its patterns on each of the application's own requests.
			return isOurs(ctx.path) && !isFrontPage(ctx) ? routes(ctx, next) : next()
		}
		// A hook of onSignedIn may refuse who brings the original's cookie.
		return acceptLegacy(ctx)?.then(go, refused) ?? go()
	}
	return function msalRoutes(ctx, next) {
		return mayHaveLongBody(ctx) ? leavingUnread(ctx, async () => answer(ctx, next)) : answer(ctx, next)
	}
}
