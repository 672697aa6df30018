import { randomUUID } from 'node:crypto'
import Router from '@koa/router'
import type { Middleware } from 'koa'
import { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { callback } from './callback.js'
import { debug } from './debug.js'
import { rememberGroups } from './groups.js'
import { info } from './info.js'
import { acceptLegacyCookie } from './legacy-cookie.js'
import { type Login, offerLogin, requireSessionAccess, sendToProvider } from './login.js'
import { logout } from './logout.js'
import { protect } from './page.js'
import { photo } from './photo.js'
import { otherAccount, refuse } from './refuse.js'
import { returnToOf } from './return-to.js'
import { createTransactions } from './transactions.js'

export interface RouteOptions {
	/** Prefix of the routes. Default: the broker's setting, `/user`. */
	readonly prefix?: string
}

/**
 * The routes that sign people in and out:
 * `GET {prefix}/login[/{returnTo}]`, the redirect URI's path, `GET|POST {prefix}/logout[/{to}]`,
 * `GET {prefix}/info`, `GET {prefix}/photo`. Everything else passes through.
 */
export function createMsalRoutes(broker: TokenBroker, options: RouteOptions = {}): Middleware {
	const settings = TokenBroker.settingsOf(broker)
	const prefix = options.prefix ?? settings.prefix
	const login: Login = {
		broker,
		settings,
		transactions: createTransactions(settings),
		path: `${prefix}/login`,
		groupsOf: rememberGroups((session) => broker.forSession(session).graph.groups()),
	}
	const logoutPath = `${prefix}/logout`
	const router = new Router()
	const below = (path: string) => new RegExp(`^${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?:/.*)?$`)

	// Runs in front of a route that matches, and only then.
	router.use(async (ctx, next) => {
		protect(ctx)
		try {
			await next()
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error
			const unnamed = error.status >= 500 && error.correlationId === undefined
			const told = unnamed ? error.withCorrelationId(randomUUID()) : error
			if (told.correlationId !== undefined) ctx.app.emit('error', told, ctx)
			refuse(ctx, told, login.path)
		}
	})
	router.get(below(login.path), (ctx) => {
		// The one thing that a page of ours asks for: else the provider signs the same account in again.
		const other = ctx.url === `${login.path}?${otherAccount}`
		return sendToProvider(
			ctx,
			login,
			returnToOf(ctx.url, login.path),
			other ? { prompt: 'select_account' } : {},
		)
	})
	router.all(settings.auth.redirectUri.pathname, (ctx) => callback(ctx, login, settings.auth.responseMode))
	for (const method of ['get', 'post'] as const)
		router[method](below(logoutPath), (ctx) => logout(ctx, broker, settings, logoutPath))
	router.get(`${prefix}/info`, (ctx) => info(ctx, broker, settings.info))
	router.get(`${prefix}/photo`, (ctx) => photo(ctx, broker))

	const routes = router.routes() as unknown as Middleware
	const starts = [`${prefix}/`, settings.auth.redirectUri.pathname].map((path) => path.toLowerCase())
	const isOurs = (path: string) => starts.some((start) => path.toLowerCase().startsWith(start))
	const acceptLegacy = acceptLegacyCookie(broker)
	// Not in the router, whose answers all have our headers: what is not there is not to be told from any other path.
	const debugPath = settings.debug && process.env.NODE_ENV === 'development' ? `${prefix}/debug` : undefined
	return function msalRoutes(ctx, next) {
		requireSessionAccess(ctx)
		offerLogin(ctx, login)
		const go = () => {
			if (ctx.path === debugPath) return debug(ctx, next, broker, settings)
			// The router would try each of its patterns on each of the application's own requests.
			return isOurs(ctx.path) ? routes(ctx, next) : next()
		}
		return acceptLegacy(ctx)?.then(go) ?? go()
	}
}
