import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import { isProtected, protection } from './page.js'

/**
 * Koa removes all headers before it answers an error: with them the protection of this library's answers, and the
 * cookie of a session that was stored or ended all the same. It sets those that the error carries, but several
 * requests may share one error: ours are on it for the time of one synchronous call only, and not enumerable, so that
 * no log shows them.
 * @param isPersonal whether the request has to do with a session, so that no cache may keep even the application's errors
 */
export function keepHeadersOfErrors(ctx: Context, isPersonal: () => boolean = () => false): void {
	const { onerror } = ctx
	ctx.onerror = (error: Error & { headers?: Record<string, unknown> }) => {
		// Node's parser puts what it could not read on its error, cookies and codes in it, and a log would print that.
		if (error instanceof Error) Reflect.deleteProperty(error, 'rawPacket')
		const isOurs = error instanceof BrokerError || isProtected(ctx)
		if (!(error instanceof Error) || ctx.headerSent || !(isOurs || isPersonal()))
			return onerror.call(ctx, error)
		const own = Object.getOwnPropertyDescriptor(error, 'headers')
		const cookies = ctx.res.getHeader('Set-Cookie')
		const value = {
			...error.headers,
			...(isOurs ? protection : { 'Cache-Control': 'no-store' }),
			...(cookies !== undefined && { 'Set-Cookie': cookies }),
		}
		Reflect.defineProperty(error, 'headers', { value, configurable: true })
		try {
			onerror.call(ctx, error)
		} finally {
			if (own) Reflect.defineProperty(error, 'headers', own)
			else Reflect.deleteProperty(error, 'headers')
		}
	}
}
