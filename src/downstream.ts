import { setTimeout as sleep } from 'node:timers/promises'
import type { Response as UndiciResponse } from 'undici'
import type { AcquiredToken } from './acquired-token.js'
import { toResponse } from './downstream/answer.js'
import { endBody, toOutgoingBody } from './downstream/body.js'
import { claimsOfChallenge } from './downstream/challenge.js'
import { createHeaderFilter, type HeadersLike } from './downstream/headers.js'
import { createTargetCheck } from './downstream/target.js'
import { BrokerError } from './errors.js'
import { reason, retryAfterSeconds, type StreamingHttp } from './network.js'
import type { Settings } from './settings.js'
import type { SilentRequest } from './silent-request.js'

/** A call to an API with the person's token. */
export interface DownstreamRequest {
	/** Default `GET`. */
	readonly method?: 'GET' | 'HEAD' | 'OPTIONS' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
	/** Scopes of the API that is called. Default, for Microsoft Graph alone: the setting `scopes`. */
	readonly scopes?: readonly string[]
	/**
	 * `Authorization`, `Host`, `Cookie`, `Content-Length`, `Proxy-*`, `Sec-*`, those of the connection and malformed
	 * ones are ignored, with a process warning.
	 */
	readonly headers?: HeadersLike
	/**
	 * A string, bytes, `URLSearchParams`, `FormData`, `Blob` or a stream (any async iterable of bytes) is sent as it is;
	 * anything else as JSON. A stream is ended when the call fails, but for a client's request (`ctx.req`). Default, and
	 * `null`: none.
	 */
	readonly body?: unknown
	/** Milliseconds until the answer begins, waits and repetitions included: 1 to 300,000. Default: the setting. */
	readonly timeout?: number
	/** Bytes of the answer's body at most; `Infinity` for no limit. Default: the setting. */
	readonly maxBytes?: number
	/** Ends the call, and the body of its answer. */
	readonly signal?: AbortSignal
}

/** Acquires a token of the person for whom a call is made. */
export type Acquire = (request: SilentRequest) => Promise<AcquiredToken>

/** Makes a call for somebody. */
export type DownstreamCall = (
	acquire: Acquire,
	address: string | URL,
	request?: DownstreamRequest,
) => Promise<Response>

/** Repeating one of these does no more than doing it once (RFC 9110, 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
const methods = new Set([...idempotent, 'POST', 'PATCH'])

/** Times that an API may put a call off, and lead it elsewhere. */
const maxDelays = 3
const maxRedirects = 5

/**
 * Makes the client for APIs that take the person's token. The token goes to allowed hosts alone, over https, Microsoft
 * Graph's to Graph alone; never along a redirect to another origin.
 */
export function createDownstream(settings: Settings, http: StreamingHttp): DownstreamCall {
	const { downstream } = settings
	const { serialiser } = downstream
	const checkTarget = createTargetCheck(settings)
	const filterHeaders = createHeaderFilter()

	const call = async (acquire: Acquire, address: string | URL, request: DownstreamRequest) => {
		const { url, scopes } = checkTarget(address, request.scopes)
		const { method, timeout, maxBytes } = checkCall(request, downstream)
		const body = await toOutgoingBody(request.body, serialiser)
		const headers = filterHeaders(request.headers)
		if (body?.type !== undefined && !headers.has('content-type')) headers.set('content-type', body.type)

		const deadline = startDeadline(url, timeout, request.signal)
		const { signal } = deadline
		const failure = (error: unknown) => {
			if (signal.aborted) return signal.reason
			return error instanceof BrokerError ? error : unavailable(url, reasonOf(error), error)
		}
		const exchange = async (at: URL, claims: string | undefined) => {
			const token = await acquire({ scopes, signal, ...(claims !== undefined && { claims }) })
			headers.set('authorization', `Bearer ${token.accessToken}`)
			const content = body && { body: body.content }
			return http.stream(at, { method, headers: [...headers], ...content, signal, idleTimeout: timeout })
		}
		try {
			const again = body?.lasts !== false
			let [at, delays, redirects] = [url, 0, 0]
			let claims: string | undefined
			for (;;) {
				const answer = await exchange(at, claims)
				const challenge = again && claims === undefined ? challengeOf(answer) : undefined
				const delay = again && delays < maxDelays ? delayOf(answer, method) : undefined
				const next = redirects < maxRedirects ? redirectOf(answer, method, at) : undefined
				if (challenge !== undefined) claims = challenge
				else if (delay !== undefined && delay < deadline.left()) delays++
				else if (next) {
					at = next
					redirects++
				} else {
					deadline.met()
					let isRead: (() => void) | undefined
					return toResponse(answer, {
						url: at,
						maxBytes,
						parse: serialiser.parse,
						failure,
						begun: () => {
							isRead = http.reading()
						},
						done: () => {
							isRead?.()
							deadline.release()
						},
					})
				}
				// Read by nobody, it would hold its connection; broken off, it is as good.
				await answer.body?.cancel().catch(() => {})
				if (challenge === undefined && delay !== undefined) await sleep(delay, undefined, { signal })
			}
		} catch (error) {
			deadline.release()
			throw failure(error)
		}
	}

	return async (acquire, address, request = {}) => {
		try {
			return await call(acquire, address, request)
		} catch (error) {
			endBody(request.body)
			throw error
		}
	}
}

/** What an API that knows more than the token does asks for: once, and only where it says so. */
function challengeOf(answer: UndiciResponse): string | undefined {
	return answer.status === 401 ? claimsOfChallenge(answer.headers.get('www-authenticate')) : undefined
}

/** Milliseconds after which a call may be repeated that the API did not take; `undefined` when it may not be. */
function delayOf({ status, headers }: UndiciResponse, method: string): number | undefined {
	// A 429 was not acted on; a 503 may have been, halfway.
	if (status !== 429 && !(status === 503 && idempotent.has(method))) return undefined
	const seconds = retryAfterSeconds(Object.fromEntries(headers))
	return seconds === undefined ? undefined : seconds * 1000
}

/** Where a call is led, on the same origin. Elsewhere the caller may go, without the token. */
function redirectOf({ status, headers }: UndiciResponse, method: string, from: URL): URL | undefined {
	if (![301, 302, 303, 307, 308].includes(status) || (method !== 'GET' && method !== 'HEAD')) return undefined
	const location = headers.get('location') ?? undefined
	if (location === undefined || !URL.canParse(location, from.href)) return undefined
	const to = new URL(location, from)
	// Not by its origin: a `blob:` address has that of the address in it.
	const isThere = to.protocol === from.protocol && to.host === from.host
	return isThere && to.username === '' && to.password === '' ? to : undefined
}

/** A timer and the caller's signal as one signal; after the answer has begun, the caller's alone. */
function startDeadline(url: URL, timeout: number, caller: AbortSignal | undefined) {
	caller?.throwIfAborted()
	const controller = new AbortController()
	const endsAt = performance.now() + timeout
	const late = () => controller.abort(unavailable(url, `nothing in ${timeout} ms`))
	const stop = () => controller.abort(caller?.reason)
	const timer = setTimeout(late, timeout)
	caller?.addEventListener('abort', stop, { once: true })
	const met = () => clearTimeout(timer)
	return {
		signal: controller.signal,
		left: () => endsAt - performance.now(),
		met,
		release() {
			met()
			caller?.removeEventListener('abort', stop)
		},
	}
}

function checkCall(
	{ method = 'GET', timeout, maxBytes, body, headers = {}, signal }: DownstreamRequest,
	defaults: Settings['downstream'],
) {
	if (!methods.has(method)) throw refused(`method should be one of ${[...methods].join(', ')}`)
	if ((method === 'GET' || method === 'HEAD') && body !== undefined && body !== null)
		throw refused(`a ${method} has no body`)
	if (typeof headers !== 'object' || headers === null)
		throw refused('headers should be an object, or a list of names and values')
	if (timeout !== undefined && !(timeout >= 1 && timeout <= 300_000))
		throw refused('timeout should be milliseconds, from 1 to 300000')
	if (maxBytes !== undefined && !(maxBytes >= 0)) throw refused('maxBytes should be a number of bytes')
	if (signal !== undefined && !(signal instanceof AbortSignal))
		throw refused('signal should be an AbortSignal')
	return { method, timeout: timeout ?? defaults.timeout, maxBytes: maxBytes ?? defaults.maxBytes }
}

function refused(rule: string): BrokerError {
	return new BrokerError('ERR_BAD_REQUEST', `The call is malformed: ${rule}.`)
}

function unavailable({ host }: URL, why: string, cause?: unknown): BrokerError {
	return new BrokerError('ERR_DOWNSTREAM_UNAVAILABLE', `No answer from ${host}: ${why}.`, { cause })
}

/** fetch says that it failed; its cause says why. */
function reasonOf(error: unknown): string {
	return reason(error instanceof TypeError && error.cause !== undefined ? error.cause : error)
}
