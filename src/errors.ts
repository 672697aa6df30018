/**
 * Every code an error of this library can carry, with the HTTP status it answers by default.
 * Switch on `error.code`: messages are for people and may change.
 */
export const statusByCode = {
	ERR_LOGIN_REJECTED: 400,
	ERR_BAD_REQUEST: 400,
	ERR_INTERACTION_REQUIRED: 401,
	ERR_SIGNED_OUT: 401,
	ERR_IDP_DENIED: 403,
	ERR_FORBIDDEN: 403,
	ERR_NOT_FOUND: 404,
	ERR_AMBIGUOUS_USER: 409,
	ERR_CONFIG: 500,
	ERR_FORBIDDEN_TARGET: 500,
	ERR_DOWNSTREAM_PROTOCOL: 502,
	ERR_IDP_PROTOCOL: 502,
	ERR_DOWNSTREAM_UNAVAILABLE: 503,
	ERR_IDP_UNAVAILABLE: 503,
	ERR_STORE_UNAVAILABLE: 503,
	ERR_OVERLOADED: 503,
	ERR_CLIENT_REJECTED: 503,
	ERR_WORKER_FAILED: 503,
	ERR_BROKER_CLOSED: 503,
} as const

/** One of the codes in {@link statusByCode}. */
export type BrokerErrorCode = keyof typeof statusByCode

/** What a {@link BrokerError} can carry beside its code and message. */
export interface BrokerErrorOptions {
	/** HTTP status, when it is not the code's own (a 405 among the `ERR_BAD_REQUEST`s). */
	readonly status?: number
	/** Seconds after which a try again makes sense. */
	readonly retryAfter?: number
	/** The provider's claims challenge (a JSON text), to be passed to the next sign-in. */
	readonly claims?: string
	/** The scopes that the refused request asked for. */
	readonly scopes?: readonly string[]
	/** Whether the message may be shown to the client, when that does not follow from the status. */
	readonly expose?: boolean
	/** Tells this one failure from others: the person sees it, and so does the log. */
	readonly correlationId?: string
	/** The lower-layer error. It never crosses a thread and is never shown to a browser. */
	readonly cause?: unknown
}

/** The plain form of a {@link BrokerError}: errors lose class and fields when they cross a thread. */
export interface WireError {
	readonly code: BrokerErrorCode
	readonly message: string
	readonly status?: number
	readonly retryAfter?: number
	readonly claims?: string
	readonly scopes?: readonly string[]
}

/** Seconds a 503 asks a client to wait when nothing better is known. */
const defaultRetryAfter = 5

/**
 * The one error class of this library.
 *
 * `status`, `expose` and `headers` are what Koa's default error handling reads (the convention of
 * `http-errors`), so an error that nobody catches is still answered with the right status, with
 * `Retry-After` on a 503, and with its message only where that is meant for the client.
 */
export class BrokerError extends Error {
	override readonly name = 'BrokerError'
	readonly code: BrokerErrorCode
	/** HTTP status that answers this error. */
	readonly status: number
	/** Whether the message may be shown to the client: true below 500, where nothing else was said. */
	readonly expose: boolean
	/** Seconds after which a try again makes sense; always set on a 503. */
	declare readonly retryAfter?: number
	/** The provider's claims challenge, for the next sign-in. */
	declare readonly claims?: string
	/** The scopes that were asked for. */
	declare readonly scopes?: readonly string[]
	/** What the person was shown, so that their question and a line of the log find each other. */
	declare readonly correlationId?: string

	constructor(code: BrokerErrorCode, message: string, options: BrokerErrorOptions = {}) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause })
		this.code = code
		this.status = options.status ?? statusByCode[code]
		this.expose = options.expose ?? this.status < 500
		const retryAfter = options.retryAfter ?? (this.status === 503 ? defaultRetryAfter : undefined)
		if (retryAfter !== undefined) this.retryAfter = retryAfter
		if (options.claims !== undefined) this.claims = options.claims
		if (options.scopes !== undefined) this.scopes = options.scopes
		if (options.correlationId !== undefined) this.correlationId = options.correlationId
	}

	/** Response headers that Koa's default error handler sets. */
	get headers(): Record<string, string> {
		return {
			'Cache-Control': 'no-store',
			...(this.retryAfter !== undefined && { 'Retry-After': String(Math.ceil(this.retryAfter)) }),
		}
	}

	/** The same error under an id. A copy: several requests may have got this one. The stack, which logs print, has it. */
	withCorrelationId(correlationId: string): BrokerError {
		const { expose, cause } = this
		const copy = new BrokerError(this.code, this.message, { ...this.toWire(), expose, cause, correlationId })
		copy.stack = `${this.stack}\n    correlation id: ${correlationId}`
		return copy
	}

	/** The plain form, without `cause` and stack: what crosses a thread or a port. */
	toWire(): WireError {
		const { code, message, status, retryAfter, claims, scopes } = this
		return {
			code,
			message,
			status,
			...(retryAfter !== undefined && { retryAfter }),
			...(claims !== undefined && { claims }),
			...(scopes !== undefined && { scopes }),
		}
	}

	/** Makes the error again on the other side of a thread or a port. */
	static fromWire(wire: WireError): BrokerError {
		return new BrokerError(wire.code, wire.message, wire)
	}
}
