import type { INetworkModule, NetworkRequestOptions, NetworkResponse } from '@azure/msal-node'
import { BrokerError } from '../src/errors.js'
import { type Http, type HttpAnswer, retryAfterSeconds } from '../src/network.js'

/**
 * The network client of one MSAL operation. It distrusts every answer before MSAL sees it (msal-node takes
 * `200 {}` for a token, stores `expires_in: "banana"`, and turns HTML into a raw TypeError), and keeps the
 * failure that MSAL's own errors drop: HTTP status and Retry-After.
 */
export class ProviderCall implements INetworkModule {
	readonly #http: Http
	readonly #clientInfo: string | undefined
	/** Why the operation failed, when it was the network or the answer. */
	failure: BrokerError | undefined
	/** How long the provider wants no more calls, and whose: one person's or the whole application's. */
	throttled: { readonly whose: 'session' | 'tenant'; readonly seconds: number } | undefined

	/**
	 * @param clientInfo whose the answer is where it does not say so itself: MSAL files tokens under that name, and
	 * only Entra's providers give it
	 */
	constructor(http: Http, clientInfo?: string) {
		this.#http = http
		this.#clientInfo = clientInfo
	}

	async sendGetRequestAsync<T>(): Promise<NetworkResponse<T>> {
		// The authority's metadata is given to MSAL: whatever it would still ask for is a mistake.
		throw this.#fail(
			new BrokerError('ERR_IDP_PROTOCOL', 'An unexpected request to the provider was stopped.'),
		)
	}

	async sendPostRequestAsync<T>(url: string, options?: NetworkRequestOptions): Promise<NetworkResponse<T>> {
		try {
			const answer = await this.#http(url, {
				method: 'POST',
				headers: options?.headers ?? {},
				body: options?.body ?? '',
				maxBytes,
			})
			this.throttled = throttlingOf(answer)
			const body = readTokenAnswer(answer)
			if (this.#clientInfo !== undefined) body.client_info ??= this.#clientInfo
			return { status: answer.status, headers: { ...answer.headers }, body: body as T }
		} catch (error) {
			throw error instanceof BrokerError ? this.#fail(error) : error
		}
	}

	#fail(error: BrokerError): BrokerError {
		this.failure = error
		return error
	}
}

/**
 * Bytes of an answer of the token endpoint, whose tokens are a few thousand each: a megabyte of JSON may take a thread a
 * quarter of a second to read.
 */
const maxBytes = 256 * 1024

/** Seconds to wait after AADSTS50196, which names none. */
const userThrottling = 60

/** Seconds to wait after a 429 that names none. A 503 that names none is an outage, which others need not share. */
const unnamedThrottling = 5

/**
 * AADSTS50196 comes as invalid_grant, but it is a client in a loop being throttled, not a sign-out. It is looked for in
 * what the answer says, not along its text: that would take minutes for a megabyte of beginnings of lists.
 */
function isUserThrottling({ status, body }: HttpAnswer): boolean {
	if (status < 400 || status >= 500) return false
	const text = body.toString()
	if (/AADSTS50196\b/.test(text)) return true
	if (isNestedBeyond(deepest, text)) return false
	try {
		const { error_codes: codes } = JSON.parse(text)
		return Array.isArray(codes) && codes.some((code) => Number(code) === 50196)
	} catch {
		return false
	}
}

function throttlingOf(answer: HttpAnswer): ProviderCall['throttled'] {
	if (answer.status === 429 || answer.status === 503) {
		const seconds =
			retryAfterSeconds(answer.headers) ?? (answer.status === 429 ? unnamedThrottling : undefined)
		return seconds === undefined ? undefined : { whose: 'tenant', seconds }
	}
	return isUserThrottling(answer) ? { whose: 'session', seconds: userThrottling } : undefined
}

/** Longest plausible life of an access token, in seconds: continuous access evaluation gives up to 28 hours. */
const longestLife = 7 * 86_400

/**
 * RFC 6749, 5.1 and 5.2.
 * @throws ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL
 */
export function readTokenAnswer(answer: HttpAnswer): Record<string, unknown> {
	if (answer.status === 429 || answer.status >= 500) {
		const retryAfter = retryAfterSeconds(answer.headers)
		throw new BrokerError('ERR_IDP_UNAVAILABLE', `The provider answered ${answer.status}.`, {
			...(retryAfter !== undefined && { retryAfter }),
		})
	}
	const text = answer.body.toString()
	// A megabyte of brackets keeps the thread for 100 ms when it is parsed.
	if (isNestedBeyond(deepest, text)) throw protocol('is nested too deeply')
	let body: unknown
	try {
		body = JSON.parse(text)
	} catch {
		throw protocol('is not JSON')
	}
	if (typeof body !== 'object' || body === null || Array.isArray(body)) throw protocol('is not a JSON object')
	const fields = body as Record<string, unknown>
	dropOddHints(fields)
	if (answer.status !== 200) {
		if (typeof fields.error !== 'string' || fields.error === '')
			throw protocol(`has status ${answer.status} and no error`)
		if (isUserThrottling(answer))
			throw new BrokerError('ERR_IDP_UNAVAILABLE', 'The provider is throttling this user.', {
				retryAfter: userThrottling,
			})
		return fields
	}
	if (typeof fields.access_token !== 'string' || fields.access_token === '')
		throw protocol('has no access_token')
	const { token_type: tokenType } = fields
	if (typeof tokenType !== 'string' || tokenType.toLowerCase() !== 'bearer')
		throw protocol('has no token_type Bearer')
	if (!isLife(fields.expires_in)) throw protocol('has no valid expires_in')
	for (const name of ['refresh_token', 'id_token', 'scope', 'client_info'] as const)
		if (fields[name] !== undefined && typeof fields[name] !== 'string') throw protocol(`has no valid ${name}`)
	return fields
}

/** Levels of an answer at most. Those of RFC 6749 have one, and Entra's error codes are a list. */
const deepest = 32

/** One look at each character: what is no JSON must not take longer than what is. */
function isNestedBeyond(levels: number, json: string): boolean {
	let depth = 0
	let inString = false
	for (let at = 0; at < json.length; at++) {
		const character = json[at]
		if (inString && character === '\\') at++
		else if (character === '"') inString = !inString
		else if (inString) continue
		else if (character === '{' || character === '[') {
			if (++depth > levels) return true
		} else if (character === '}' || character === ']') depth--
	}
	return false
}

/** What MSAL makes a text of, or keeps as one, without a look at what it is. */
const textHints = [
	...['foci', 'key_id', 'spa_accountid', 'error_description', 'suberror', 'claims'],
	...['timestamp', 'trace_id', 'correlation_id'],
]

/**
 * What may be left out of an answer is, where it is not what it should be: MSAL would fail on it, or store what nobody
 * can read afterwards. The refresh token that came with it is worth more than a complaint.
 */
function dropOddHints(fields: Record<string, unknown>): void {
	for (const name of textHints) if (typeof fields[name] !== 'string') delete fields[name]
	if (!isLife(fields.refresh_in)) delete fields.refresh_in
	for (const name of ['ext_expires_in', 'refresh_token_expires_in', 'status'])
		if (!isWhole(fields[name])) delete fields[name]
	const { error_codes: codes } = fields
	if (!Array.isArray(codes) || !codes.every(isWhole)) delete fields.error_codes
}

/** Whether it is a whole number, as JSON or as text, that a time in seconds can be. */
function isWhole(value: unknown): boolean {
	return (typeof value === 'number' || typeof value === 'string') && /^\d{1,10}$/.test(String(value))
}

/** Whether it is a number of seconds, as JSON or as text, for which a token may live. */
function isLife(value: unknown): boolean {
	// Number() makes one of `true` and `[3600]`, and throws on an object with a `toString` of its own.
	const seconds = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
	return Number.isInteger(seconds) && seconds > 0 && seconds <= longestLife
}

function protocol(what: string): BrokerError {
	return new BrokerError('ERR_IDP_PROTOCOL', `The provider's answer ${what}.`)
}
