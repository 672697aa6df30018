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
	/** Why the operation failed, when it was the network or the answer. */
	failure: BrokerError | undefined
	/** How long the provider wants no more calls, and whose: one person's or the whole application's. */
	throttled: { readonly whose: 'session' | 'tenant'; readonly seconds: number } | undefined

	constructor(http: Http) {
		this.#http = http
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
			})
			this.throttled = throttlingOf(answer)
			return { status: answer.status, headers: { ...answer.headers }, body: readTokenAnswer(answer) as T }
		} catch (error) {
			throw error instanceof BrokerError ? this.#fail(error) : error
		}
	}

	#fail(error: BrokerError): BrokerError {
		this.failure = error
		return error
	}
}

/** Seconds to wait after AADSTS50196, which names none. */
const userThrottling = 60

/** AADSTS50196 comes as invalid_grant, but it is a client in a loop being throttled, not a sign-out. */
function isUserThrottling({ error_codes: codes }: Record<string, unknown>): boolean {
	return Array.isArray(codes) && codes.includes(50196)
}

function throttlingOf(answer: HttpAnswer): ProviderCall['throttled'] {
	if (answer.status === 429 || answer.status === 503) {
		const seconds = retryAfterSeconds(answer.headers)
		return seconds === undefined ? undefined : { whose: 'tenant', seconds }
	}
	return answer.status === 400 && answer.body.includes('AADSTS50196')
		? { whose: 'session', seconds: userThrottling }
		: undefined
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
	let body: unknown
	try {
		body = JSON.parse(answer.body.toString())
	} catch {
		throw protocol('is not JSON')
	}
	if (typeof body !== 'object' || body === null || Array.isArray(body)) throw protocol('is not a JSON object')
	const fields = body as Record<string, unknown>
	if (answer.status !== 200) {
		if (typeof fields.error !== 'string') throw protocol(`has status ${answer.status} and no error`)
		if (isUserThrottling(fields))
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
	for (const name of ['expires_in', 'refresh_in'] as const) {
		if (fields[name] === undefined && name === 'refresh_in') continue
		const value = fields[name]
		// Number() makes one of `true` and `[3600]`, and throws on an object with a `toString` of its own.
		const seconds = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
		if (!Number.isInteger(seconds) || seconds <= 0 || seconds > longestLife)
			throw protocol(`has no valid ${name}`)
	}
	for (const name of ['refresh_token', 'id_token', 'scope', 'client_info'] as const)
		if (fields[name] !== undefined && typeof fields[name] !== 'string') throw protocol(`has no valid ${name}`)
	return fields
}

function protocol(what: string): BrokerError {
	return new BrokerError('ERR_IDP_PROTOCOL', `The provider's answer ${what}.`)
}
