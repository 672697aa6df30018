import type * as Oidc from 'oidc-provider'
import { GRAPH } from '../directory.js'
import { exchangeOf } from '../exchange.js'
import type { Tenant } from '../tenant.js'

/** Which resource a request is for, when RFC 8707's parameter, which MSAL never sends, does not say it. */
export function defaultResource(
	ctx: Oidc.KoaContextWithOIDC,
	tenant: Tenant,
	oneOf: readonly string[] | undefined,
): string | string[] | undefined {
	const scope = ctx.oidc.params?.scope as string | undefined
	if (!oneOf) {
		const named = tenant.scopes.resourcesOf(scope)
		return ctx.oidc.route === 'authorization' ? named : named[0]
	}
	// At the token endpoint, of the granted ones that of the scope which MSAL asked for.
	const wanted = tenant.scopes.resourcesOf(exchangeOf(ctx)?.sent.scope)
	return wanted.find((resource) => oneOf.includes(resource)) ?? (oneOf.includes(GRAPH) ? GRAPH : oneOf[0])
}
