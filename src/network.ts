import type { KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, rootCertificates } from 'node:tls'
import {
	Agent,
	type BodyInit,
	type Dispatcher,
	EnvHttpProxyAgent,
	errors,
	fetch,
	Pool,
	type Response as UndiciResponse,
} from 'undici'
import { BrokerError } from './errors.js'

/** How this process reaches the provider and Microsoft Graph; every value can cross a thread. */
export interface NetworkSettings {
	/** Milliseconds a whole exchange may take, from connecting to the last byte of the body. */
	readonly timeout: number
	/** PEM of certificates trusted beside the ones Node ships with. */
	readonly ca?: string
	/** URL of a proxy for all calls, which may carry a password. */
	readonly proxy?: KeyObject
	/** Hosts reached without the proxy, separated by commas. */
	readonly noProxy?: string
}

export interface HttpAnswer {
	readonly status: number
	/** Names in lower case; repeated headers joined with a comma. */
	readonly headers: Readonly<Record<string, string>>
	readonly body: Buffer
}

export interface HttpRequest {
	readonly method?: 'GET' | 'POST'
	readonly headers?: Readonly<Record<string, string>>
	readonly body?: string
	/** Bytes of body read before the answer is refused. Default 1 MiB. */
	readonly maxBytes?: number
}

export interface StreamedRequest {
	readonly method: string
	readonly headers: [name: string, value: string][]
	readonly body?: BodyInit
	readonly signal: AbortSignal
	/** Milliseconds without a byte after which the body of the answer is given up. */
	readonly idleTimeout: number
}

export interface Http {
	/** @throws ERR_IDP_UNAVAILABLE when no whole answer came in time, ERR_IDP_PROTOCOL when it was too large. */
	(url: string, options?: HttpRequest): Promise<HttpAnswer>
	/**
	 * Takes no more calls, and lets those under way come to their end or deadline; streamed ones, to the beginning of
	 * their answer, and to its end when it is being read, for as long as a whole exchange may take.
	 */
	close(): Promise<void>
}

export interface StreamingHttp extends Http {
	/**
	 * The same connections, with bodies streamed both ways. Follows no redirect; ends when the signal says so, and has
	 * no deadline of its own until the answer begins.
	 * @throws what `fetch` throws
	 */
	stream(url: URL, request: StreamedRequest): Promise<UndiciResponse>
	/** Milliseconds that the oldest call under way has taken; 0 without one. */
	waited(): number
	/** Says that somebody has begun to read a streamed answer. @returns says that they have done so */
	reading(): () => void
}

const defaultMaxBytes = 1024 * 1024

/**
 * One HTTP client with a deadline and a size cap on every answer. msal-node's own has neither (Node's fetch
 * waits 300 s), takes no CA and no proxy. Redirects are not followed: no endpoint that gets a secret or a
 * token may hand it on to another host.
 */
export function createHttp({ timeout, ca, proxy: sealed, noProxy = '' }: NetworkSettings): StreamingHttp {
	// Made once: 144 root certificates take 20 ms to read, and a plain `ca` has them read for every connection.
	const tls = {
		// Said, because NODE_TLS_REJECT_UNAUTHORIZED=0 is Node's default for whoever says nothing.
		rejectUnauthorized: true,
		...(ca !== undefined && { secureContext: createSecureContext({ ca: [...rootCertificates, ca] }) }),
	}
	const limits = {
		connectTimeout: timeout,
		headersTimeout: timeout,
		bodyTimeout: timeout,
		// A server may offer more, and a firewall between forget the connection without a word.
		keepAliveMaxTimeout: 60_000,
	}
	const proxy = sealed?.export().toString()
	const dispatcher: Dispatcher = proxy
		? new EnvHttpProxyAgent({
				httpProxy: proxy,
				httpsProxy: proxy,
				noProxy,
				connect: tls,
				requestTls: { ...tls, timeout },
				proxyTls: { ...tls, timeout },
				// The client that asks the proxy for a tunnel would else wait 300 s, and its sockets pile up.
				clientFactory: (proxyUrl, options) => new Pool(proxyUrl, { ...options, ...limits }),
				...limits,
			})
		: new Agent({ connect: tls, ...limits })

	/** With when they began, oldest first. */
	const underWay = new Map<Promise<unknown>, number>()
	let closed = false
	const requireOpen = () => {
		if (closed) throw new errors.ClientClosedError()
	}
	const exchange = async (url: string, options: HttpRequest = {}): Promise<HttpAnswer> => {
		let call: Promise<HttpAnswer> | undefined
		try {
			requireOpen()
			call = dispatch(dispatcher, new URL(url), options, timeout)
			underWay.set(call, performance.now())
			return await call
		} catch (cause) {
			if (cause instanceof BrokerError) throw cause
			throw new BrokerError('ERR_IDP_UNAVAILABLE', `No answer from ${new URL(url).host}: ${reason(cause)}.`, {
				cause,
			})
		} finally {
			if (call) underWay.delete(call)
		}
	}
	const stream = async (url: URL, { body, idleTimeout, ...request }: StreamedRequest) => {
		requireOpen()
		const call = fetch(url, {
			...request,
			...(body !== undefined && { body, duplex: 'half' }),
			redirect: 'manual',
			// An answer may take longer than those of the provider may; its beginning is awaited by the signal.
			dispatcher: dispatcher.compose(
				(dispatch) => (options, handler) =>
					dispatch({ ...options, headersTimeout: 0, bodyTimeout: idleTimeout }, handler),
			),
		})
		underWay.set(call, performance.now())
		try {
			return await call
		} finally {
			underWay.delete(call)
		}
	}
	const readers = new Set<symbol>()
	let nobodyReads: (() => void) | undefined
	const reading = () => {
		const reader = Symbol()
		readers.add(reader)
		return () => {
			readers.delete(reader)
			if (readers.size === 0) nobodyReads?.()
		}
	}
	const allRead = async () => {
		if (readers.size === 0) return
		const late = setTimeout(() => nobodyReads?.(), timeout)
		await new Promise<void>((resolve) => {
			nobodyReads = resolve
		})
		clearTimeout(late)
	}
	const waited = () => {
		const [began] = underWay.values()
		return began === undefined ? 0 : performance.now() - began
	}
	const close = async () => {
		// undici's own close() would wait for connections to a proxy that is silent, and let go of those that it leaves open:
		// destroy() finds them no more, and an answer that nobody reads keeps the process for as long as it may pause.
		closed = true
		// A call of an API may have a longer deadline than those of the provider: it is not waited for any longer than these.
		await Promise.race([Promise.allSettled(underWay.keys()), sleep(timeout, undefined, { ref: false })])
		await allRead()
		await dispatcher.destroy()
	}
	return Object.assign(exchange, { stream, waited, reading, close })
}

/** undici's `request` would do, but for its stream and its signal, which cost as much again as the call itself. */
function dispatch(
	dispatcher: Dispatcher,
	{ origin, pathname, search }: URL,
	{ method = 'GET', headers = {}, body, maxBytes = defaultMaxBytes }: HttpRequest,
	timeout: number,
): Promise<HttpAnswer> {
	return new Promise((resolve, reject) => {
		const chunks: Buffer[] = []
		let [status, size] = [0, 0]
		let answered: HttpAnswer['headers'] = {}
		let controller: Dispatcher.DispatchController | undefined
		let failure: Error | undefined
		const fail = (error: Error) => {
			clearTimeout(timer)
			failure ??= error
			reject(failure)
			controller?.abort(failure)
		}
		const timer = setTimeout(() => {
			fail(Object.assign(new Error('The deadline has passed.'), { name: 'TimeoutError' }))
		}, timeout)
		dispatcher.dispatch(
			{
				origin,
				path: pathname + search,
				method,
				headers: { ...headers },
				...(body !== undefined && { body }),
			},
			{
				onRequestStart(started) {
					controller = started
					if (failure) started.abort(failure)
				},
				onResponseStart(_, statusCode, fields) {
					status = statusCode
					answered = flatten(fields)
				},
				onResponseData(_, chunk) {
					size += chunk.length
					if (size > maxBytes)
						fail(new BrokerError('ERR_IDP_PROTOCOL', `The answer is over ${maxBytes} bytes long.`))
					else chunks.push(chunk)
				},
				onResponseEnd() {
					clearTimeout(timer)
					resolve({ status, headers: answered, body: Buffer.concat(chunks) })
				},
				onResponseError: (_, error) => fail(error),
			},
		)
	})
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
	const flat: Record<string, string> = {}
	for (const [name, value] of Object.entries(headers)) if (value !== undefined) flat[name] = String(value)
	return flat
}

/** The system's short word for what went wrong. A whole message may quote the request. */
export function reason(cause: unknown): string {
	if (!(cause instanceof Error)) return 'unknown error'
	return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name
}

/** Seconds of a Retry-After header (RFC 9110, 10.2.3), capped at an hour; `undefined` when there is none. */
export function retryAfterSeconds(headers: Readonly<Record<string, string>>): number | undefined {
	const value = headers['retry-after']
	if (value === undefined) return undefined
	const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
	return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), 3600) : undefined
}
