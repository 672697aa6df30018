import { randomUUID } from 'node:crypto'
import type { Refusal } from '../exchange.js'

/** An error as Entra's token endpoint writes it. */
export interface EntraErrorBody {
	error: string
	error_description: string
	error_codes: number[]
	timestamp: string
	trace_id: string
	correlation_id: string
	error_uri: string
	suberror?: string
	claims?: string
}

/** What an error says. */
export interface EntraErrorParts {
	readonly error: string
	/** The number behind AADSTS. */
	readonly code: number
	readonly text: string
	readonly suberror?: string | undefined
	/** A claims challenge, as JSON. */
	readonly claims?: string | undefined
	/** What the provider underneath said. */
	readonly detail?: string
}

/** Ids under which Entra's support would look a request up. */
export interface Correlation {
	readonly trace: string
	readonly correlation: string
}

/** Writes an error. */
export function entraError(
	parts: EntraErrorParts,
	origin: string,
	ids: Partial<Correlation> = {},
): EntraErrorBody {
	const { trace = randomUUID(), correlation = randomUUID() } = ids
	const now = new Date().toISOString()
	const detail = parts.detail ? ` [stand-in: ${parts.detail}]` : ''
	return {
		error: parts.error,
		error_description: `AADSTS${parts.code}: ${parts.text}${detail} Trace ID: ${trace} Correlation ID: ${correlation} Timestamp: ${now}`,
		error_codes: [parts.code],
		timestamp: now.replace('T', ' '),
		trace_id: trace,
		correlation_id: correlation,
		error_uri: `${origin}/error?code=${parts.code}`,
		...(parts.suberror && { suberror: parts.suberror }),
		...(parts.claims && { claims: parts.claims }),
	}
}

interface Translation extends EntraErrorParts {
	readonly when: RegExp
}

/**
 * The provider's refusals in Entra's words, the first match wins. Entra's real bodies for expired and revoked
 * tokens carry no suberror, so MSAL throws a `ServerError` and not an `InteractionRequiredAuthError`.
 */
const TRANSLATIONS: readonly Translation[] = [
	{
		when: /refresh token missing requested|consent_required/,
		error: 'invalid_grant',
		code: 65001,
		text: 'The user or administrator has not consented to use the application.',
		suberror: 'consent_required',
	},
	{
		when: /refresh token is expired/,
		error: 'invalid_grant',
		code: 700082,
		text: 'The refresh token has expired due to inactivity.',
	},
	{
		when: /account not found|account is disabled/,
		error: 'invalid_grant',
		code: 50057,
		text: 'The user account is disabled.',
	},
	{
		when: /refresh token (not found|already used)|grant (not found|is expired)/,
		error: 'invalid_grant',
		code: 50173,
		text: 'The provided grant has expired due to it being revoked, a fresh auth token is needed.',
	},
	{
		when: /code already consumed/,
		error: 'invalid_grant',
		code: 54005,
		text: 'OAuth2 Authorization code was already redeemed.',
	},
	{
		when: /authorization code (not found|is expired)/,
		error: 'invalid_grant',
		code: 70008,
		text: 'The provided authorization code has expired.',
	},
	{
		when: /PKCE|code_verifier|code_challenge/i,
		error: 'invalid_grant',
		code: 501481,
		text: 'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
	},
	{
		when: /redirect_uri mismatch/,
		error: 'invalid_client',
		code: 500112,
		text: 'The reply address does not match the reply address provided when requesting Authorization code.',
	},
	{ when: /invalid secret/, error: 'invalid_client', code: 7000215, text: 'Invalid client secret provided.' },
	{
		when: /client not found/,
		error: 'unauthorized_client',
		code: 700016,
		text: 'Application was not found in the directory.',
	},
	{
		when: /assertion:/,
		error: 'invalid_grant',
		code: 500133,
		text: 'Assertion is not within its valid time range.',
	},
]

const BAD_CLIENT_ASSERTION = {
	error: 'invalid_client',
	code: 700027,
	text: 'Client assertion failed signature or time validation.',
} as const

/** Translates a refusal of the provider. */
export function translateRefusal(
	answered: { readonly error?: string; readonly error_description?: string },
	refusal: Refusal | undefined,
): EntraErrorParts {
	const detail =
		`${refusal?.error_detail ?? ''} ${refusal?.error_description ?? answered.error_description ?? ''}`.trim()
	const known = TRANSLATIONS.find(({ when }) => when.test(detail))
	if (known) {
		const { when: _pattern, ...parts } = known
		return { ...parts, detail }
	}
	if (/client_assertion|jwt expired|jwt not active|audience|alg mismatch/.test(detail) || refusal?.cause) {
		return { ...BAD_CLIENT_ASSERTION, detail }
	}
	return {
		error: answered.error ?? 'invalid_request',
		code: 900144,
		text: answered.error_description ?? 'The request is malformed.',
		detail,
	}
}
