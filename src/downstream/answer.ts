import type { Response as UndiciResponse } from 'undici'
import { BrokerError } from '../errors.js'

/** What becomes of an answer on its way to the caller. */
export interface AnswerOptions {
	readonly url: URL
	/** Bytes of the body, unpacked, at most. */
	readonly maxBytes: number
	/** What its `json()` reads with. */
	readonly parse: (text: string) => unknown
	/** What is thrown for an error of the connection. */
	readonly failure: (cause: unknown) => unknown
	/** Called when the body has come to its end, or is given up. */
	readonly done: () => void
}

/** The answer as a `Response` of Node's own, with a limit on its body, and `json()` read by the serialiser. */
export function toResponse(answer: UndiciResponse, options: AnswerOptions): Response {
	const { status, statusText, body } = answer
	if (!body) options.done()
	const stream = body ? ReadableStream.from(limited(body, options)) : null
	const response = new Response(stream, { status, statusText, headers: [...answer.headers] })
	return dress(response, options.url.href, options.parse)
}

async function* limited(
	body: AsyncIterable<Uint8Array>,
	{ url, maxBytes, failure, done }: AnswerOptions,
): AsyncGenerator<Uint8Array, void> {
	let size = 0
	try {
		for await (const chunk of body) {
			size += chunk.byteLength
			if (size > maxBytes)
				throw new BrokerError(
					'ERR_DOWNSTREAM_PROTOCOL',
					`The answer of ${url.host} is over ${maxBytes} bytes long.`,
				)
			yield chunk
		}
	} catch (error) {
		throw failure(error)
	} finally {
		done()
	}
}

/** What a `Response` that is made by hand lacks. */
function dress(response: Response, url: string, parse: (text: string) => unknown): Response {
	return Object.defineProperties(response, {
		url: { value: url },
		json: { value: async () => parse(await response.text()) },
		clone: { value: () => dress(Response.prototype.clone.call(response), url, parse) },
	})
}
