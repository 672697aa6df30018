import type { Settings } from './settings.js'
import type { ProviderMetadata } from './wire.js'

/** What a sign-in asks the provider for, beyond the settings. */
export interface AuthorizationRequest {
	/** Scopes to get a token for. Default: the setting's. */
	readonly scopes?: readonly string[]
	/** More scopes to consent to now, of this or another resource. */
	readonly extraScopesToConsent?: readonly string[]
	/** OpenID Connect Core 3.1.2.1: `login`, `select_account`, `consent`, `none`. Default: the provider decides. */
	readonly prompt?: string
	/** User name to fill in. */
	readonly loginHint?: string
	/** Tenant or domain to go to. */
	readonly domainHint?: string
	/** A claims challenge (a JSON text), from `ERR_INTERACTION_REQUIRED`. */
	readonly claims?: string
}

/** RFC 6749 4.1.1, RFC 7636 4.3, OpenID Connect Core 3.1.2.1, in the words Entra uses. */
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
		claims: requestedClaims(request.claims, auth.clientCapabilities),
	}
	for (const [name, value] of Object.entries(parameters))
		if (value !== undefined && value !== '') url.searchParams.set(name, value)
	return url.href
}

/** OpenID Connect Core 5.5: the challenge, this client's capabilities, and the hint that sign-out wants. */
function requestedClaims(challenge: string | undefined, capabilities: readonly string[]): string {
	const claims =
		challenge === undefined ? {} : (JSON.parse(challenge) as Record<string, Record<string, unknown>>)
	return JSON.stringify({
		...claims,
		id_token: { ...claims.id_token, login_hint: null },
		...((capabilities.length > 0 || claims.access_token) && {
			access_token: {
				...claims.access_token,
				...(capabilities.length > 0 && { xms_cc: { values: capabilities } }),
			},
		}),
	})
}
