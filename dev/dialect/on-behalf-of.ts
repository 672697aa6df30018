import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import type * as Oidc from 'oidc-provider'
import type { DevClient } from '../directory.js'
import { publicKeys } from '../signing-keys.js'
import type { Tenant } from '../tenant.js'
import { idTokenClaims } from './claims.js'
import { OIDC_SCOPES } from './scopes.js'

/** The grant type by which an API calls another API for the person who called it. */
export const ON_BEHALF_OF = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
/** Its parameters. */
export const ON_BEHALF_OF_PARAMETERS = ['assertion', 'requested_token_use', 'scope']

interface Parameters {
	readonly assertion?: string
	readonly requested_token_use?: string
}

/** What the grant needs of its surroundings. */
export interface OnBehalfOfOptions {
	readonly provider: Oidc.Provider
	readonly errors: typeof Oidc.errors
	readonly tenant: Tenant
	readonly resourceServer: (resource: string) => Oidc.ResourceServer
	readonly findAccount: (oid: string | undefined) => Oidc.Account | undefined
}

/**
 * The grant, which the provider does not have: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
 * Client authentication, grants and signatures are the provider's own.
 */
export function createOnBehalfOf({
	provider,
	errors,
	tenant,
	resourceServer,
	findAccount,
}: OnBehalfOfOptions) {
	async function verifyAssertion(assertion: string, client: DevClient): Promise<JWTPayload> {
		const audience = tenant.resources[client.apiResource ?? '']?.audience ?? client.clientId
		try {
			const keys = createLocalJWKSet(publicKeys(tenant.keys))
			return (await jwtVerify(assertion, keys, { issuer: tenant.issuer, audience })).payload
		} catch (cause) {
			throw Object.assign(new errors.InvalidGrant(`assertion: ${(cause as Error).message}`), { cause })
		}
	}

	function grantedScopes(
		scope: string | undefined,
		clientId: string,
	): { resource: string; granted: string[] } {
		const { scopes } = tenant
		const asked = scopes.canonical(scope)
		const resource = asked.map(scopes.resourceOf).find((name) => name !== undefined)
		if (!resource) throw new errors.InvalidScope('no resource in scope', scope ?? '')
		const consented = scopes.consentedFor(clientId, resource)
		const granted = scopes.asksForDefault(asked, resource)
			? consented
			: asked.filter((name) => scopes.resourceOf(name) === resource)
		if (!granted.every((name) => consented.includes(name))) {
			throw new errors.InvalidScope('consent_required', granted.join(' '))
		}
		return { resource, granted }
	}

	return async (ctx: Oidc.TokenEndpointGrantContext<Parameters>): Promise<void> => {
		const { params, client } = ctx.oidc
		const registration = tenant.client(client.clientId)
		if (!registration) throw new errors.InvalidClient('client not found')
		if (params.requested_token_use !== 'on_behalf_of') {
			throw new errors.InvalidRequest('requested_token_use must be on_behalf_of')
		}
		const claims = await verifyAssertion(params.assertion ?? '', registration)
		const account = claims.idtyp === 'app' ? undefined : findAccount(String(claims.oid))
		const person = tenant.person(account?.accountId)
		if (!account || !person) throw new errors.InvalidGrant('assertion has no user')
		ctx.oidc.entity('Account', account)

		const { resource, granted } = grantedScopes(params.scope, client.clientId)
		const { accountId } = account
		const grant = new provider.Grant({ clientId: client.clientId, accountId })
		grant.addOIDCScope(OIDC_SCOPES.join(' '))
		grant.addResourceScope(resource, granted.join(' '))
		const grantId = await grant.save()

		const accessToken = new provider.AccessToken({ client, accountId, grantId, gty: ON_BEHALF_OF })
		accessToken.resourceServer = new provider.ResourceServer(resource, resourceServer(resource))
		accessToken.scope = granted.join(' ')
		const asked = tenant.scopes.canonical(params.scope)
		ctx.body = {
			token_type: 'Bearer',
			access_token: await accessToken.save(),
			expires_in: accessToken.expiration,
			scope: accessToken.scope,
			...(asked.includes('openid') && { id_token: await issueIdToken() }),
			...(asked.includes('offline_access') && { refresh_token: await issueRefreshToken() }),
		}

		function issueIdToken(): Promise<string> {
			const idToken = new provider.IdToken(
				{ ...idTokenClaims(person as NonNullable<typeof person>, tenant) },
				{ ctx },
			)
			Object.assign(idToken, { scope: 'openid profile email', mask: {}, rejected: [] })
			return idToken.issue({ use: 'idtoken' })
		}

		function issueRefreshToken(): Promise<string> {
			const scope = ['openid profile email', ...granted].join(' ')
			return new provider.RefreshToken({
				client,
				accountId,
				grantId,
				gty: ON_BEHALF_OF,
				scope,
				resource,
				rotations: 0,
			}).save()
		}
	}
}
