import type { Fields } from '../exchange.js'
import type { Tenant } from '../tenant.js'
import { OIDC_SCOPES, type Scopes } from './scopes.js'

/** Translates a token request's form. */
export function translateTokenRequest(sent: Readonly<Fields>, tenant: Tenant): Fields {
	const { scope: _written, ...rest } = sent
	const scope = translateScope(sent, tenant.scopes).join(' ')
	return scope ? { ...rest, scope } : rest
}

function translateScope(sent: Readonly<Fields>, scopes: Scopes): string[] {
	const asked = scopes.canonical(sent.scope)
	switch (sent.grant_type) {
		case 'client_credentials':
			return asked.filter((scope) => !OIDC_SCOPES.includes(scope))
		case 'refresh_token':
			return translateRefreshScope(asked, sent.client_id ?? '', scopes)
		default:
			return asked
	}
}

/** A refresh asks for no more than was granted: `offline_access` is not part of that, and `.default` means all. */
function translateRefreshScope(asked: readonly string[], clientId: string, scopes: Scopes): string[] {
	const wanted = asked.filter((scope) => scope !== 'offline_access')
	const resource = asked.map(scopes.resourceOf).find((name) => name !== undefined)
	if (!scopes.asksForDefault(asked, resource)) return wanted
	return [
		...wanted.filter((scope) => OIDC_SCOPES.includes(scope)),
		...scopes.consentedFor(clientId, resource),
	]
}
