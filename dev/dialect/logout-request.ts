import { isRegistered } from '../redirect-uris.js'
import type { Tenant } from '../tenant.js'

/**
 * Entra redirects to any `post_logout_redirect_uri` that is registered; the provider wants to know whose it is.
 * Adds the client when the request names none.
 */
export function translateLogoutQuery(query: URLSearchParams, tenant: Tenant): void {
	const uri = query.get('post_logout_redirect_uri')
	if (!uri || query.has('id_token_hint') || query.has('client_id')) return
	const owner = tenant.clients().find((client) => isRegistered(uri, client.postLogoutRedirectUris ?? []))
	if (owner) query.set('client_id', owner.clientId)
}
