import type { Middleware } from 'koa'
import type { TokenBroker } from '../broker.js'
import { protect } from './page.js'
import { pathOf } from './request-address.js'

/** Where the probes look. */
export interface HealthRoutes {
	/** Default `/live`. */
	readonly live?: string
	/** Default `/ready`. */
	readonly ready?: string
}

/**
 * Routes for the probes of Kubernetes, of a load balancer and the like. Put them in front of the sessions.
 *
 * - `GET /live`: 200 as long as this process answers. What a restart would not mend is no reason for one: not that the
 *   store or the provider is down, nor that worker threads do not load, which are tried again.
 * - `GET /ready`: 200, or 503 with `Retry-After` while the store takes no writes or the workers don't answer, or after
 *   `close()`; told within two seconds. JSON: `{ ready, workers, store, provider }`, each `{ ok, code?, since? }`.
 */
export function createHealthRoutes(
	broker: TokenBroker,
	{ live = '/live', ready = '/ready' }: HealthRoutes = {},
): Middleware {
	return async function healthRoutes(ctx, next) {
		const asked = ctx.method === 'GET' || ctx.method === 'HEAD' ? pathOf(ctx) : undefined
		if (asked !== live && asked !== ready) return next()
		protect(ctx)
		if (asked === live) {
			ctx.body = { live: true }
			return
		}
		const health = await broker.health()
		if (!health.ready) ctx.set('Retry-After', '1')
		ctx.status = health.ready ? 200 : 503
		ctx.body = health
	}
}
