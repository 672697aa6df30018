import type { Context } from 'koa'
import type { Settings } from '../settings.js'

/** Whether another site caused a request. Fetch Metadata (W3C); for browsers without it, the Origin header that every cross-site POST carries. */
export function isCrossSite(ctx: Context, { auth }: Settings): boolean {
	const site = ctx.get('Sec-Fetch-Site')
	// Another host of the same site is another application.
	if (site !== '') return site !== 'same-origin' && site !== 'none'
	const origin = ctx.get('Origin')
	return origin !== '' && origin !== auth.redirectUri.origin
}
