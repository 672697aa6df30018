import { EventEmitter } from 'node:events'
import { BrokerError } from '../errors.js'
import type { Serialiser } from '../settings.js'

/** A body as it goes out. */
export interface OutgoingBody {
	readonly content: Uint8Array | AsyncIterable<Uint8Array>
	/** `Content-Type`, where the caller names none; a stream has none. */
	readonly type?: string
	/** Whether it can be sent again. */
	readonly lasts: boolean
}

/**
 * Strings, bytes, forms and streams are sent as they are; everything else as JSON.
 * @throws ERR_BAD_REQUEST when the serialiser can't write it
 */
export async function toOutgoingBody(
	body: unknown,
	serialiser: Serialiser,
): Promise<OutgoingBody | undefined> {
	if (body === undefined || body === null) return undefined
	if (isStream(body)) {
		// One of Node's that fails before it is read would end the process; whoever reads it is told all the same.
		if (body instanceof EventEmitter) body.on('error', () => {})
		return { content: body, lasts: false }
	}
	if (!isPlain(body))
		return { content: Buffer.from(serialise(body, serialiser)), type: 'application/json', lasts: true }
	// Knows every kind's type, and writes forms.
	const whole = new Response(body)
	const type = whole.headers.get('content-type')
	return { content: new Uint8Array(await whole.arrayBuffer()), ...(type !== null && { type }), lasts: true }
}

/**
 * Ends a stream whose call has failed: else its file would stay open, for whoever has given it away does not end it, and
 * fetch does not always. A client's request is left as it is: its answer goes over the same connection.
 */
export function endBody(body: unknown): void {
	if (!isStream(body) || typeof (body as { readonly method?: unknown }).method === 'string') return
	if (body instanceof EventEmitter) body.on('error', () => {})
	const { destroy, cancel, return: leave } = body as Partial<Record<'destroy' | 'cancel' | 'return', unknown>>
	const end = [destroy, cancel, leave].find((one) => typeof one === 'function')
	// One that somebody reads can't be cancelled, and one of the caller's own may do anything.
	const ended = async () => end?.call(body)
	ended().catch(() => {})
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
	return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}

function isPlain(
	body: unknown,
): body is string | Uint8Array | ArrayBuffer | URLSearchParams | Blob | FormData {
	return (
		typeof body === 'string' ||
		ArrayBuffer.isView(body) ||
		body instanceof ArrayBuffer ||
		body instanceof URLSearchParams ||
		body instanceof Blob ||
		body instanceof FormData
	)
}

function serialise(body: unknown, { stringify }: Serialiser): string {
	let cause: unknown
	try {
		// Typed as a string, and undefined all the same for a function or a symbol.
		const text: unknown = stringify(body)
		if (typeof text === 'string') return text
		// Nobody waits for it: that it fails would end the process.
		if (text instanceof Promise) text.catch(() => {})
	} catch (error) {
		cause = error
	}
	throw new BrokerError('ERR_BAD_REQUEST', 'The body can’t be written as JSON.', { cause })
}
