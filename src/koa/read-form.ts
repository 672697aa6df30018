import type { Context } from 'koa'
import getRawBody from 'raw-body'
import { BrokerError } from '../errors.js'
import { withTimeout } from '../with-timeout.js'

/** Bytes of a form post from the provider: a code and a session state are under 4 KiB. */
const maxBytes = 56 * 1024
/** Fields of one. */
const maxFields = 32
/** Milliseconds it may take to arrive. */
const deadline = 10_000

/**
 * A form post, bounded in size, time and fields before anything is parsed; or what a body parser of the application
 * has made of it (`ctx.request.body`), within the same bounds.
 * @throws ERR_BAD_REQUEST with status 400, 408, 413 or 415
 * @throws ERR_CONFIG when the body was read and is nowhere
 */
export async function readForm(ctx: Context): Promise<URLSearchParams> {
	if (!ctx.is('application/x-www-form-urlencoded'))
		throw bad(415, 'The request should be application/x-www-form-urlencoded.', ctx)
	const length = ctx.get('Content-Length')
	// Whoever has read it: to look through what was made of it costs as much again.
	if (Number(length) > maxBytes) throw bad(413, 'The request is too large.', ctx)
	const { body } = ctx.request as { readonly body?: unknown }
	const names = isObject(body) ? Object.keys(body) : undefined
	const wasRead = ctx.req.readableDidRead || ctx.req.readableEnded
	// Some parsers leave `{}` for what they did not read.
	const isFilled = Buffer.isBuffer(body) ? body.length > 0 : names ? names.length > 0 : Boolean(body)
	if (isFilled || (body !== undefined && wasRead)) return parsed(body, names, ctx)
	if (wasRead)
		throw new BrokerError(
			'ERR_CONFIG',
			'Something has read the body of the request before msalRoutes, and has left no ctx.request.body.',
		)
	try {
		const body = getRawBody(ctx.req, { ...(length !== '' && { length }), limit: maxBytes, encoding: 'utf8' })
		const late = () => {
			throw bad(408, 'The request took too long to arrive.', ctx)
		}
		return parse(await withTimeout(body, deadline, late), ctx)
	} catch (error) {
		if (error instanceof BrokerError) throw error
		const status = (error as { status?: number }).status === 413 ? 413 : 400
		throw bad(status, status === 413 ? 'The request is too large.' : 'The request could not be read.', ctx)
	}
}

function parse(body: string, ctx: Context): URLSearchParams {
	let fields = 1
	for (let at = body.indexOf('&'); at >= 0; at = body.indexOf('&', at + 1)) fields++
	if (fields > maxFields) throw bad(400, 'The request has too many fields.', ctx)
	return new URLSearchParams(body)
}

/** Each byte of a buffer is a key of it. */
function isObject(body: unknown): body is Readonly<Record<string, unknown>> {
	return typeof body === 'object' && body !== null && !Buffer.isBuffer(body)
}

/** What a body parser makes of a form: an object with these names, or the text itself. */
function parsed(body: unknown, names: readonly string[] = [], ctx: Context): URLSearchParams {
	if (body instanceof URLSearchParams) return parsed(body.toString(), names, ctx)
	if (typeof body === 'string' || Buffer.isBuffer(body)) {
		if (Buffer.byteLength(body) > maxBytes) throw bad(413, 'The request is too large.', ctx)
		return parse(body.toString(), ctx)
	}
	if (!isObject(body) || Array.isArray(body)) throw bad(400, 'The request could not be read.', ctx)
	if (names.length > maxFields) throw bad(400, 'The request has too many fields.', ctx)
	const fields = new URLSearchParams()
	let [bytes, count] = [0, 0]
	for (const name of names) {
		const value = body[name]
		const one = typeof value === 'string'
		count += Array.isArray(value) ? value.length : 1
		bytes += Buffer.byteLength(name) + (one ? Buffer.byteLength(value) : 0)
		fields.append(name, one ? value : '')
		// What came several times, or as `name[…]`, is a list or an object here, and no one value: `single` refuses it.
		if (!one) fields.append(name, '')
	}
	if (bytes > maxBytes) throw bad(413, 'The request is too large.', ctx)
	if (count > maxFields) throw bad(400, 'The request has too many fields.', ctx)
	return fields
}

/** What is left of a body that was refused is not read: the connection ends with the answer. */
function bad(status: number, message: string, ctx: Context): BrokerError {
	if (status === 408 || status === 413) ctx.res.shouldKeepAlive = false
	return new BrokerError('ERR_BAD_REQUEST', message, { status })
}

/**
 * The one value of a parameter. RFC 6749, 3.1: parameters must not be repeated.
 * @throws ERR_BAD_REQUEST when it comes twice or is longer than 8,192 characters
 */
export function single(parameters: URLSearchParams, name: string): string | undefined {
	const values = parameters.getAll(name)
	const [value] = values
	if (values.length > 1 || (value !== undefined && value.length > 8192))
		throw new BrokerError('ERR_BAD_REQUEST', 'The answer of the provider is malformed.')
	return value
}
