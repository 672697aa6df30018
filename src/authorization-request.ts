import { checkClaims, checkScopes, checkText, refused } from './silent-request.js'

/** What a sign-in asks the provider for, beyond the settings. */
export interface AuthorizationRequest {
	/** Scopes to get a token for, at least one and at most 100. Default: the setting's. */
	readonly scopes?: readonly string[]
	/** More scopes to consent to now, of this or another resource. Tokens that are held stay. */
	readonly extraScopesToConsent?: readonly string[]
	/**
	 * OpenID Connect Core 3.1.2.1: `login`, `select_account`, `consent`, or `none`, which asks the person nothing; or
	 * `create`, to sign up. Default: the provider decides.
	 */
	readonly prompt?: string
	/** User name to fill in, or the `loginHint` of an account. */
	readonly loginHint?: string
	/** Tenant or domain to go to. */
	readonly domainHint?: string
	/**
	 * Whole seconds that may have passed since the person last proved to the provider who they are, when the sign-in
	 * begins: who did so longer ago is asked again; 0 asks everybody. The provider's answer is checked against it (the
	 * `auth_time` claim), give or take a minute. Default: no matter.
	 */
	readonly maxAge?: number
	/** A claims challenge (a JSON text), from `ERR_INTERACTION_REQUIRED`. */
	readonly claims?: string
	/**
	 * More parameters for the provider's page, like `{ ui_locales: 'de' }`, at most 20. None that the protocol has for
	 * itself, or that a field above is for.
	 */
	readonly extraQueryParameters?: Readonly<Record<string, string>>
}

/** OpenID Connect Core 3.1.2.1, and `create` of Initiating User Registration via OpenID Connect 1.0. */
const prompts = new Set(['login', 'select_account', 'consent', 'none', 'create'])

/** Parameters that decide what is signed in to and how, in whatever case: Entra may not tell `State` from `state`. */
const reserved = new Set([
	'client_id',
	'client_secret',
	'client_assertion',
	'client_assertion_type',
	'client_info',
	'response_type',
	'response_mode',
	'redirect_uri',
	'scope',
	'state',
	'nonce',
	'code_challenge',
	'code_challenge_method',
	'prompt',
	'login_hint',
	'domain_hint',
	'max_age',
	'claims',
	// RFC 9101 and OpenID Connect Core 6: they stand for all the others.
	'request',
	'request_uri',
	'registration',
])

/** An address has to hold them all. */
const maxParameters = 20
const maxHint = 1024

/**
 * The request again, field by field, without what is not one of its own.
 * @throws ERR_BAD_REQUEST
 */
export function checkAuthorizationRequest(request: AuthorizationRequest): AuthorizationRequest {
	const { scopes, extraScopesToConsent, prompt, loginHint, domainHint, maxAge, claims } = request
	const { extraQueryParameters } = request
	if (scopes !== undefined) checkScopes(scopes)
	if (extraScopesToConsent !== undefined) checkScopes(extraScopesToConsent, 'extraScopesToConsent', 0)
	if (prompt !== undefined) checkPrompt(prompt)
	if (loginHint !== undefined) checkText(loginHint, 'loginHint', maxHint)
	if (domainHint !== undefined) checkText(domainHint, 'domainHint', maxHint)
	if (maxAge !== undefined && !(Number.isSafeInteger(maxAge) && maxAge >= 0))
		throw refused('maxAge', 'should be a whole number of seconds, 0 or more')
	if (claims !== undefined) checkClaims(claims)
	if (extraQueryParameters !== undefined) checkParameters(extraQueryParameters)
	return {
		...(scopes !== undefined && { scopes: [...scopes] }),
		...(extraScopesToConsent !== undefined && { extraScopesToConsent: [...extraScopesToConsent] }),
		...(prompt !== undefined && { prompt }),
		...(loginHint !== undefined && { loginHint }),
		...(domainHint !== undefined && { domainHint }),
		...(maxAge !== undefined && { maxAge }),
		...(claims !== undefined && { claims }),
		...(extraQueryParameters !== undefined && { extraQueryParameters: { ...extraQueryParameters } }),
	}
}

function checkPrompt(prompt: unknown): void {
	const asked = typeof prompt === 'string' ? prompt.split(' ') : []
	const alone = asked.length === 1 || !asked.includes('none')
	if (asked.length === 0 || !alone || !asked.every((one) => prompts.has(one)))
		throw refused('prompt', `should be one of ${[...prompts].join(', ')}`)
}

function checkParameters(parameters: unknown): void {
	if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
		throw refused('extraQueryParameters', 'should be an object of texts')
	const entries = Object.entries(parameters)
	if (entries.length > maxParameters)
		throw refused('extraQueryParameters', `should be at most ${maxParameters}`)
	for (const [name, value] of entries) {
		if (!/^[\w.-]{1,64}$/.test(name)) throw refused('extraQueryParameters', 'should have plain names')
		if (reserved.has(name.toLowerCase()))
			throw refused('extraQueryParameters', `cannot set ${name.toLowerCase()}, which is the sign-in’s own`)
		checkText(value, `extraQueryParameters.${name}`, maxHint)
	}
}
