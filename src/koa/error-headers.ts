import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import { beforeHead } from './before-head.js'
import { isProtected, protection } from './page.js'

/**
 * Koa removes all headers before it answers an error: with them the protection of this library's answers, and the
 * cookie of a session that was stored or ended all the same. They are put back as the head is written, whatever was
 * thrown: Koa asks the error itself for headers, but several requests may share one, and what is no error has none.
 * @param isPersonal whether the request has to do with a session, so that no cache may keep even the application's errors
 */
export function keepHeadersOfErrors(ctx: Context, isPersonal: () => boolean = () => false): void {
	const { onerror } = ctx
	ctx.onerror = (error: Error) => {
		// Node's parser puts what it could not read on its error, cookies and codes in it, and a log would print that.
		if (error instanceof Error) Reflect.deleteProperty(error, 'rawPacket')
		const isOurs = error instanceof BrokerError || isProtected(ctx)
		// Koa calls this without an error, too, when a request has ended.
		if (error && !ctx.headerSent && (isOurs || isPersonal())) {
			const cookies = ctx.res.getHeader('Set-Cookie')
			beforeHead(
				ctx.res,
				() => true,
				() => {
					ctx.set(isOurs ? protection : { 'Cache-Control': 'no-store' })
					if (cookies !== undefined) ctx.res.setHeader('Set-Cookie', cookies)
				},
			)
		}
		onerror.call(ctx, error)
	}
}
