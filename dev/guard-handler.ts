import type { IncomingMessage, ServerResponse } from 'node:http'

/** Answers a request, some time. */
export type AsyncHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** A handler whose failure costs its own connection and not the process; a client that hangs up is no failure. */
export function guardHandler(
	handle: AsyncHandler,
): (request: IncomingMessage, response: ServerResponse) => void {
	return (request, response) => {
		handle(request, response).catch((error: NodeJS.ErrnoException) => {
			if (error.code !== 'ECONNRESET') console.error('stand-in:', error)
			response.destroy()
		})
	}
}
