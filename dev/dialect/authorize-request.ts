import type { Tenant } from '../tenant.js'
import { unique } from './scopes.js'

/** Translates the query of an authorization request, in place. */
export function translateAuthorizeQuery(query: URLSearchParams, tenant: Tenant): void {
	const { scopes } = tenant
	const clientId = query.get('client_id') ?? ''
	// One refresh token for every consented resource, as Entra: so all of them are asked for at once.
	const asked = unique([
		...scopes.canonical(query.get('scope') ?? undefined),
		...scopes.consentedBy(clientId),
	])
	query.set('scope', asked.join(' '))
	translateClaims(query)
	// Sign-up: to the provider an unknown prompt is an error.
	if (query.get('prompt') === 'create') query.set('prompt', 'select_account')
}

/**
 * The provider refuses a `claims` parameter with an `access_token` member only, which is what a claims challenge
 * is; and Entra's optional `sid` has to be asked for.
 */
function translateClaims(query: URLSearchParams): void {
	const claims = parseClaims(query.get('claims'))
	if (!claims) return
	const { access_token: _unsupported, ...rest } = claims
	const idToken = typeof rest.id_token === 'object' ? rest.id_token : {}
	query.set('claims', JSON.stringify({ ...rest, id_token: { ...idToken, sid: null } }))
}

/** `undefined` for what is not an object: the provider then refuses it in its own words. */
function parseClaims(written: string | null): Record<string, unknown> | undefined {
	if (!written) return {}
	try {
		const parsed: unknown = JSON.parse(written)
		return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined
	} catch {
		return undefined
	}
}
