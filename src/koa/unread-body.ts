import type { Context } from 'koa'

/** Bytes of a body that are read although nobody wants them, so that the connection can be used again. */
const most = 64 * 1024

/** Whether there is a body of more bytes than that, or of any number. */
export function mayHaveLongBody({ req: { headers } }: Context): boolean {
	return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > most
}

/**
 * Ends the connection with the answer when the body is still arriving: Node would read it to its end, however far that
 * is. Not by a header, which Koa removes from the answer to an error.
 */
export async function leavingUnread({ req, res }: Context, answer: () => Promise<unknown>): Promise<void> {
	try {
		await answer()
	} finally {
		if (!req.complete) res.shouldKeepAlive = false
	}
}
