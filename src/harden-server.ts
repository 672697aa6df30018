import { Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import { BrokerError } from './errors.js'

/** What {@link hardenServer} can be told. Times are milliseconds. */
export interface ServerLimits {
	/**
	 * A request that has not arrived as a whole by then is ended. 1,000 to 86,400,000; default 14,000. An application that
	 * takes uploads gives the time that the slowest of them may take.
	 */
	readonly requestTimeout?: number
}

/** Milliseconds in which the head of a request has to be there. */
const headersTimeout = 10_000

const defaultRequestTimeout = 14_000

/** Milliseconds between two looks at the connections: a slow one is ended that much late at most. */
const checkingInterval = 500

/** Header lines of a request that are read; the application sees no more. Browsers send under 30. */
const maxHeadersCount = 128

/** Milliseconds that a connection without a request is kept, where it would be kept for ever: Node's own default. */
const keepAliveTimeout = 5_000

/**
 * Bounds what only the server can: a request whose headers take over 10 seconds, or the whole of it over 14, is
 * answered 408 and its connection closed, also one on which nothing is ever sent; of its headers 128 lines are read.
 * Their bytes are bounded by Node itself (16 KiB, then 431).
 *
 * @example
 * ```js
 * hardenServer(app.listen(3000))
 * ```
 * @param server of `node:http` or `node:https`, listening or not. Of HTTP/2 the limits are its constructor's.
 * @returns the same server
 * @throws ERR_CONFIG when it is another server, or the limit is out of range
 */
export function hardenServer<S extends HttpServer | HttpsServer>(
	server: S,
	{ requestTimeout = defaultRequestTimeout }: ServerLimits = {},
): S {
	const given: unknown = server
	if (!(given instanceof HttpServer || given instanceof HttpsServer))
		throw new BrokerError('ERR_CONFIG', 'hardenServer takes a server of node:http or node:https.')
	if (!Number.isInteger(requestTimeout) || requestTimeout < 1000 || requestTimeout > 86_400_000)
		throw new BrokerError(
			'ERR_CONFIG',
			'hardenServer: requestTimeout is not valid: it should be milliseconds, from 1000 to 86400000.',
		)
	server.headersTimeout = Math.min(headersTimeout, requestTimeout)
	server.requestTimeout = requestTimeout
	server.maxHeadersCount = maxHeadersCount
	server.keepAliveTimeout ||= keepAliveTimeout
	checkOften(server)
	return server
}

/**
 * Node looks at its connections every 30 seconds, and reads the interval, an option of the constructor, when the
 * server begins to listen. One that listens by now begins to look anew.
 */
function checkOften(server: HttpServer | HttpsServer): void {
	;(server as { connectionsCheckingInterval?: number }).connectionsCheckingInterval = checkingInterval
	if (!server.listening) return
	for (const begin of server.listeners('listening'))
		if (begin.name === 'setupConnectionsTracking') begin.call(server)
}
