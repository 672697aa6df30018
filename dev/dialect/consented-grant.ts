import type * as Oidc from 'oidc-provider'
import type { Tenant } from '../tenant.js'
import { OIDC_SCOPES } from './scopes.js'

/** The grant of a person and an application: everything consented. */
export function createGrantLoader(tenant: Tenant) {
	return async (ctx: Oidc.KoaContextWithOIDC): Promise<Oidc.Grant | undefined> => {
		const { client, session, account, provider, result } = ctx.oidc
		if (!client || !account) return undefined
		const id = result?.consent?.grantId ?? session?.grantIdFor(client.clientId)
		const known = id ? await provider.Grant.find(id) : undefined
		const grant = known ?? new provider.Grant({ clientId: client.clientId, accountId: account.accountId })
		grant.addOIDCScope(OIDC_SCOPES.join(' '))
		// MSAL 7 always sends claims={"id_token":{"login_hint":…}}: not granted, that is an endless consent prompt.
		grant.addOIDCClaims(['login_hint', 'acrs', 'roles', 'groups', 'auth_time'])
		for (const scope of tenant.scopes.consentedBy(client.clientId)) {
			const resource = tenant.scopes.resourceOf(scope)
			if (resource) grant.addResourceScope(resource, scope)
		}
		await grant.save()
		return grant
	}
}
