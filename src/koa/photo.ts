import type { Context } from 'koa'
import type { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import type { SessionLike } from '../session.js'

/** Milliseconds that a page waits for the photo to begin, and for the next part of it. */
const patience = 5000

/**
 * The photo of the person who is signed in, streamed from Microsoft Graph: of its headers, those alone that are named
 * here. A shared cache keeps none of it.
 */
export async function photo(ctx: Context, broker: TokenBroker, session: SessionLike): Promise<void> {
	const found = await broker.forSession(session).graph.photo({ timeout: patience })
	if (!found) throw new BrokerError('ERR_NOT_FOUND', 'There is no photo.')
	const { type, etag, length, body } = found
	ctx.set('Cache-Control', 'private, max-age=300')
	ctx.vary('Cookie')
	if (etag !== undefined) ctx.set('ETag', etag)
	if (isKnown(etag, ctx.get('If-None-Match'))) {
		body.destroy()
		ctx.status = 304
		return
	}
	ctx.type = type
	ctx.body = body
	if (length !== undefined) ctx.length = length
	// Koa 2 would leave a connection open whose body has broken off.
	body.once('error', () => ctx.headerSent && ctx.res.destroy())
}

/**
 * RFC 9110, 13.1.2. Koa's `fresh` answers 200 to `Cache-Control: no-cache`, which `fetch` sends along with every
 * If-None-Match (Fetch, 4.6), although that is what asks for this comparison.
 */
function isKnown(etag: string | undefined, ifNoneMatch: string): boolean {
	const weakly = (tag: string) => tag.trim().replace(/^W\//, '')
	return etag !== undefined && ifNoneMatch.split(',').map(weakly).includes(weakly(etag))
}
