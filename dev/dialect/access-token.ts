import type { AccessToken, ClientCredentials, JWTStructured, KoaContextWithOIDC } from 'oidc-provider'
import type { DevClient } from '../directory.js'
import { exchangeOf } from '../exchange.js'
import { type Person, userNameOf } from '../people.js'
import type { Tenant } from '../tenant.js'
import { guestClaims, pairwiseSubject } from './claims.js'
import { permissionOf } from './scopes.js'

/** Turns the provider's access token into one of Entra's, in place. */
export function createAccessTokenFormat(tenant: Tenant) {
	return (ctx: KoaContextWithOIDC, token: AccessToken | ClientCredentials, jwt: JWTStructured): void => {
		const client = tenant.client(token.clientId)
		const person = 'accountId' in token ? tenant.person(token.accountId) : undefined
		const { jti, iat, exp, iss, aud, sub } = jwt.payload
		// Entra says "JWT" where the provider, by RFC 9068, says "at+jwt".
		jwt.header = { typ: 'JWT' }
		jwt.payload = {
			aud,
			iss,
			iat,
			nbf: iat,
			exp,
			azp: token.clientId,
			azpacr: client?.jwks ? '2' : '1',
			tid: tenant.tenantId,
			ver: '2.0',
			uti: jti,
			rh: '0.stand-in',
			...(person ? { sub, ...delegatedClaims(person, token.scope) } : applicationClaims(client, aud, tenant)),
			...requestedClaims(ctx),
		}
	}
}

function delegatedClaims(person: Person, scope: string | undefined): Record<string, unknown> {
	const permissions = (scope ?? '').split(' ').map(permissionOf)
	return {
		oid: person.oid,
		name: person.name,
		preferred_username: userNameOf(person),
		...guestClaims(person),
		scp: permissions.filter((permission) => permission && permission !== '.default').join(' '),
		...(person.roles && { roles: person.roles }),
	}
}

/** Without a person the subject is the application's own service principal. */
function applicationClaims(
	client: DevClient | undefined,
	audience: unknown,
	tenant: Tenant,
): Record<string, unknown> {
	const resource = Object.keys(tenant.resources).find((name) => tenant.resources[name]?.audience === audience)
	const servicePrincipal = pairwiseSubject('service principal', client?.clientId ?? '')
	return {
		sub: servicePrincipal,
		oid: servicePrincipal,
		idtyp: 'app',
		roles: client?.appRoles?.[resource ?? ''] ?? [],
	}
}

/** What a claims challenge, or the client's capabilities, asked for. */
function requestedClaims(ctx: KoaContextWithOIDC): Record<string, unknown> {
	const wanted = exchangeOf(ctx)?.claims?.access_token
	const contexts = wanted?.acrs?.value ?? wanted?.acrs?.values ?? []
	return {
		...(wanted?.xms_cc && { xms_cc: wanted.xms_cc.values }),
		...(wanted?.acrs && { acrs: [contexts].flat() }),
	}
}
