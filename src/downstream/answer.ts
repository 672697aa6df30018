import type { ReadableStreamDefaultReader, UnderlyingSource } from 'node:stream/web'
import * as zlib from 'node:zlib'
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
	/** Called when somebody begins to read the body. */
	readonly begun: () => void
	/** Called when the body has come to its end, or is given up. */
	readonly done: () => void
}

/** What fetch unpacks, alone or one in another. It sends no `zstd` for itself, but a browser does that is served. */
const packing = `(?:x-gzip|gzip|deflate|br${'createZstdDecompress' in zlib ? '|zstd' : ''})`
const packings = new RegExp(`^\\s*${packing}(?:\\s*,\\s*${packing})*\\s*$`, 'i')
const ofPacked = new Set(['content-encoding', 'content-length'])

/** What a `Response` takes for a reason. undici reads what comes as UTF-8, whatever it is. */
const isReason = (text: string) => /^[\t\x20-\x7e\x80-\xff]*$/.test(text)

/**
 * The answer as a `Response` of Node's own, with a limit on its body, and `json()` read by the serialiser.
 * @throws ERR_DOWNSTREAM_PROTOCOL when its status is one that a `Response` can't have
 */
export function toResponse(answer: UndiciResponse, options: AnswerOptions): Response {
	const { status, headers, body } = answer
	if (status > 599) {
		body?.cancel().catch(() => {})
		throw new BrokerError('ERR_DOWNSTREAM_PROTOCOL', `${options.url.host} answered with status ${status}.`)
	}
	const statusText = isReason(answer.statusText) ? answer.statusText : ''
	if (!body) options.done()
	const stream = body ? limited(answer, options) : null
	// fetch has unpacked the body and left the headers of the packed one: whoever hands the answer on would pass them.
	const unpacked = body !== null && packings.test(headers.get('content-encoding') ?? '')
	const kept = [...headers].filter(([name]) => !unpacked || !ofPacked.has(name))
	const response = new Response(stream, { status, statusText, headers: kept })
	return dress(response, options.url.href, options.parse)
}

/**
 * The body, read as it is asked for. undici gives up the body of an answer that is let go of unread: so the answer is
 * held here, and its body not touched before somebody reads.
 */
function limited(
	answer: UndiciResponse,
	{ url, maxBytes, failure, begun, done }: AnswerOptions,
): ReadableStream<Uint8Array> {
	let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
	let size = 0
	const read = async () => {
		if (!reader) {
			reader = (answer.body as ReadableStream<Uint8Array>).getReader()
			begun()
		}
		const part = await reader.read()
		size += part.value?.byteLength ?? 0
		if (size <= maxBytes) return part
		await reader.cancel()
		throw new BrokerError(
			'ERR_DOWNSTREAM_PROTOCOL',
			`The answer of ${url.host} is over ${maxBytes} bytes long.`,
		)
	}
	const source: UnderlyingSource<Uint8Array> = {
		async pull(controller) {
			try {
				const part = await read()
				if (part.value) return controller.enqueue(part.value)
				controller.close()
			} catch (error) {
				controller.error(failure(error))
			}
			done()
		},
		async cancel(reason) {
			done()
			await (reader ?? answer.body)?.cancel(reason)
		},
	}
	return new ReadableStream(source, { highWaterMark: 0 })
}

/** What a `Response` that is made by hand lacks. */
function dress(response: Response, url: string, parse: (text: string) => unknown): Response {
	return Object.defineProperties(response, {
		url: { value: url },
		json: { value: async () => parse(await response.text()) },
		clone: { value: () => dress(Response.prototype.clone.call(response), url, parse) },
	})
}
