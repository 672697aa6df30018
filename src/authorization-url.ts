import type { AuthorizationRequest } from './authorization-request.js'
import type { Settings } from './settings.js'
import { refused } from './silent-request.js'
import type { ProviderMetadata } from './wire.js'

/** RFC 6749 4.1.1, RFC 7636 4.3, OpenID Connect Core 3.1.2.1, in the words Entra uses. @throws ERR_BAD_REQUEST */
export function buildAuthorizationUrl(
	{ auth }: Settings,
	metadata: ProviderMetadata,
	request: AuthorizationRequest & { readonly scopes: readonly string[] },
	secret: { readonly state: string; readonly nonce: string; readonly codeChallenge: string },
): string {
	const url = new URL(metadata.authorizationEndpoint)
	const parameters: Record<string, string | undefined> = {
		client_id: auth.clientId,
		response_type: 'code',
		response_mode: auth.responseMode,
		redirect_uri: auth.redirectUri.href,
		scope: [
			...new Set([
				...request.scopes,
				...(request.extraScopesToConsent ?? []),
				'openid',
				'profile',
				'offline_access',
			]),
		].join(' '),
		state: secret.state,
		nonce: secret.nonce,
		code_challenge: secret.codeChallenge,
		code_challenge_method: 'S256',
		// Entra answers it with the home account that MSAL keys its cache by.
		client_info: '1',
		prompt: request.prompt,
		login_hint: request.loginHint,
		domain_hint: request.domainHint,
		max_age: request.maxAge?.toString(),
		claims: requestedClaims(request, auth.clientCapabilities),
	}
	// RFC 6749, 3.1: what the address has of its own, as the name of a user flow (`p`), stays as it is.
	const fixed = new Set([...url.searchParams.keys()].map((name) => name.toLowerCase()))
	for (const [name, value] of Object.entries(request.extraQueryParameters ?? {})) {
		if (fixed.has(name.toLowerCase()))
			throw refused('extraQueryParameters', `cannot set ${name}, which the provider’s address has itself`)
		url.searchParams.set(name, value)
	}
	// After those: whatever they are called, none of them counts before one of these.
	for (const [name, value] of Object.entries(parameters))
		if (value !== undefined && value !== '') url.searchParams.set(name, value)
	return url.href
}

/**
 * OpenID Connect Core 5.5: the challenge, this client's capabilities, the hint that sign-out wants, and when the
 * person proved who they are, where that matters: Entra says so only when asked.
 */
function requestedClaims(
	{ claims: challenge, maxAge }: AuthorizationRequest,
	capabilities: readonly string[],
): string {
	const claims =
		challenge === undefined ? {} : (JSON.parse(challenge) as Record<string, Record<string, unknown>>)
	return JSON.stringify({
		...claims,
		id_token: {
			...claims.id_token,
			login_hint: null,
			...(maxAge !== undefined && { auth_time: { essential: true } }),
		},
		...((capabilities.length > 0 || claims.access_token) && {
			access_token: {
				...claims.access_token,
				...(capabilities.length > 0 && { xms_cc: { values: capabilities } }),
			},
		}),
	})
}
