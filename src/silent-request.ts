import { BrokerError } from './errors.js'
import { isId } from './plain-text.js'

/** What `acquireSilent` is asked for. */
export interface SilentRequest {
	/** Scopes of one resource, at least one and at most 100. Default: the setting's. */
	readonly scopes?: readonly string[]
	/** Asks the provider although a token is held, as after a role was granted. Default `false`. */
	readonly forceRefresh?: boolean
	/** A claims challenge (a JSON text) from a downstream API: asks the provider with it. */
	readonly claims?: string
	/** Goes to the provider's logs: at most 256 printable ASCII characters. Default, and for an empty one: a random UUID. */
	readonly correlationId?: string
	/**
	 * Stops this caller's wait. A refresh that has begun goes on and is stored, and others may have joined it; one that
	 * waits for its turn is dropped when nobody else waits for it. For a request, what its `close` aborts.
	 */
	readonly signal?: AbortSignal
}

/** Characters of one text in a request. A claims challenge, the longest, has a few hundred. */
const maxText = 16_384

/** Far more scopes than one resource's token is ever asked for. */
const maxScopes = 100

/**
 * The request again, field by field, without what is not one of its own. Callers may be written in JavaScript,
 * or sit in another thread.
 * @throws ERR_BAD_REQUEST
 */
export function checkSilentRequest(request: unknown): SilentRequest {
	if (typeof request !== 'object' || request === null || Array.isArray(request))
		throw refused('The request', 'should be an object')
	const { scopes, forceRefresh, claims, correlationId, signal } = request as SilentRequest
	if (scopes !== undefined) checkScopes(scopes)
	if (forceRefresh !== undefined && typeof forceRefresh !== 'boolean')
		throw refused('forceRefresh', 'should be a boolean')
	if (claims !== undefined) checkClaims(claims)
	if (correlationId !== undefined && correlationId !== '' && !isId(correlationId))
		throw refused('correlationId', 'should be at most 256 printable ASCII characters')
	if (signal !== undefined && !(signal instanceof AbortSignal))
		throw refused('signal', 'should be an AbortSignal')
	return {
		...(scopes !== undefined && { scopes: [...scopes] }),
		...(forceRefresh !== undefined && { forceRefresh }),
		...(claims !== undefined && { claims }),
		...(correlationId && { correlationId }),
		...(signal !== undefined && { signal }),
	}
}

/** @throws ERR_BAD_REQUEST when the text is no JSON object, or asks for the claims of a token by none */
export function checkClaims(claims: unknown): void {
	checkText(claims, 'claims')
	try {
		const value: unknown = JSON.parse(claims as string)
		// OpenID Connect Core 5.5. MSAL would fail on the first two that are something else.
		const members = ['access_token', 'id_token', 'userinfo']
		if (isObject(value) && members.every((name) => !(name in value) || isObject(value[name]))) return
	} catch {
		// Told below.
	}
	throw refused('claims', 'should be a JSON object, as text')
}

/** @throws ERR_BAD_REQUEST when it is no list of scopes, or a list of less than `least` */
export function checkScopes(scopes: unknown, field = 'scopes', least = 1): void {
	if (!Array.isArray(scopes) || scopes.length < least || scopes.length > maxScopes)
		throw refused(field, `should be a list of ${least} to ${maxScopes} texts`)
	for (const scope of scopes) {
		checkText(scope, field)
		// RFC 6749, 3.3.
		if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) throw refused(field, 'should be texts without spaces')
	}
}

/** @throws ERR_BAD_REQUEST when it is no text, or one of more characters than `longest` */
export function checkText(value: unknown, field: string, longest = maxText): void {
	if (typeof value !== 'string' || value.length > longest)
		throw refused(field, `should be a text of at most ${longest} characters`)
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function refused(field: string, rule: string): BrokerError {
	return new BrokerError('ERR_BAD_REQUEST', `${field} ${rule}.`)
}
