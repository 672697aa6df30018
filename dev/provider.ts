import type * as Oidc from 'oidc-provider'
import { createAccessTokenFormat } from './dialect/access-token.js'
import { idTokenClaims, pairwiseSubject } from './dialect/claims.js'
import { clientMetadata } from './dialect/client-metadata.js'
import { createGrantLoader } from './dialect/consented-grant.js'
import { defaultResource } from './dialect/default-resource.js'
import { translateDiscovery } from './dialect/discovery.js'
import { createOnBehalfOf, ON_BEHALF_OF, ON_BEHALF_OF_PARAMETERS } from './dialect/on-behalf-of.js'
import { discoveryPath, PROVIDER_DISCOVERY_PATH, tenantRoutes } from './dialect/routes.js'
import { OIDC_SCOPES } from './dialect/scopes.js'
import { translateTokenAnswer } from './dialect/token-answer.js'
import { exchangeOf, type Refusal } from './exchange.js'
import { createInteraction } from './interaction.js'
import { createMemoryAdapter, type MemoryStore } from './memory-adapter.js'
import { renderErrorPage } from './pages/error.js'
import { renderSignedOutPage } from './pages/signed-out.js'
import { allowAnyLoopbackPort } from './redirect-uris.js'
import { createLogoutPage } from './sign-out.js'
import type { Tenant } from './tenant.js'

/** What changes how the provider behaves. */
export interface ProviderOptions {
	readonly accessTokenTtl: number
	readonly refreshIn: number | undefined
	readonly rotation: 'entra' | 'strict'
	readonly autoLogin: boolean | 'hinted'
	readonly cookieKeys: readonly string[]
}

const DAY = 86_400

/**
 * Everything that decides security (codes, PKCE, redirect URIs, secrets, assertions, refresh tokens, signatures) is
 * the real oidc-provider's; the rest of this folder only translates.
 */
export function buildProvider(
	{ Provider, errors, interactionPolicy }: typeof Oidc,
	tenant: Tenant,
	store: MemoryStore,
	options: ProviderOptions,
): Oidc.Provider {
	const policy = interactionPolicy.base()
	// The default policy does not know prompt=select_account.
	policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0)

	const resourceServer = (resource: string): Oidc.ResourceServer => {
		const known = tenant.resources[resource]
		if (!known) throw new errors.InvalidTarget(`resource ${resource} not found`)
		return {
			audience: known.audience,
			scope: [...known.scopes, '.default'].map((permission) => `${resource}/${permission}`).join(' '),
			accessTokenTTL: options.accessTokenTtl,
			accessTokenFormat: 'jwt',
			jwt: { sign: { alg: 'RS256' } },
		}
	}
	const findAccount = (oid: string | undefined): Oidc.Account | undefined => {
		const person = tenant.person(oid)
		return person && { accountId: person.oid, claims: () => idTokenClaims(person, tenant) }
	}

	const provider = new Provider(tenant.issuer, {
		adapter: (model) => createMemoryAdapter(model, store),
		jwks: { keys: tenant.keys as readonly Oidc.JWK[] },
		// Cookies ignore the port: names that no application on the same host has.
		cookies: {
			keys: [...options.cookieKeys],
			names: { session: 'idp_session', interaction: 'idp_interaction', resume: 'idp_resume' },
		},
		routes: tenantRoutes(tenant.tenantId),
		clients: tenant.clients().map(clientMetadata),
		subjectTypes: ['public', 'pairwise'],
		pairwiseIdentifier: (_ctx, oid, client) => pairwiseSubject(oid, client.clientId),
		scopes: OIDC_SCOPES,
		claims: {
			openid: [
				'sub',
				'oid',
				'tid',
				'ver',
				'nbf',
				'uti',
				'rh',
				'idp',
				'roles',
				'groups',
				'acrs',
				'login_hint',
			],
			profile: ['name', 'preferred_username'],
			email: ['email'],
			sid: null,
			auth_time: null,
			iss: null,
			acr: null,
		},
		// Entra forgives about five minutes, the provider by default 15 seconds.
		clockTolerance: 300,
		// Else name and preferred_username are to be had at userinfo only.
		conformIdTokenClaims: false,
		findAccount: (_ctx, oid) => findAccount(oid),
		// Entra does not demand PKCE of confidential clients; when it is sent it is enforced.
		pkce: { required: () => false },
		// By default offline_access is dropped from the scope unless prompt=consent.
		issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
		expiresWithSession: async () => false,
		rotateRefreshToken: true,
		loadExistingGrant: createGrantLoader(tenant),
		formats: { customizers: { jwt: createAccessTokenFormat(tenant) } },
		interactions: { policy, url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
		features: {
			devInteractions: { enabled: false },
			dPoP: { enabled: false },
			pushedAuthorizationRequests: { enabled: false },
			clientCredentials: { enabled: true },
			claimsParameter: { enabled: true },
			revocation: { enabled: true },
			backchannelLogout: { enabled: true },
			rpInitiatedLogout: {
				enabled: true,
				logoutSource: createLogoutPage(tenant, options.autoLogin !== false),
				postLogoutSuccessSource: renderSignedOutPage,
			},
			resourceIndicators: {
				enabled: true,
				useGrantedResource: async () => true,
				getResourceServerInfo: async (_ctx, resource) => resourceServer(resource),
				defaultResource: async (ctx, _client, oneOf) => defaultResource(ctx, tenant, oneOf),
			},
		},
		ttl: {
			AccessToken: options.accessTokenTtl,
			ClientCredentials: options.accessTokenTtl,
			AuthorizationCode: 600,
			IdToken: options.accessTokenTtl,
			RefreshToken: 90 * DAY,
			Session: DAY,
			Interaction: 3600,
			Grant: 365 * DAY,
		},
		fetch: fetchLoopback,
		clientBasedCORS: () => false,
		renderError: renderErrorPage,
	})

	// MSAL sends one assertion (one jti) for ten minutes. Entra accepts that; the provider would refuse the second use.
	provider.ReplayDetection.unique = async () => true
	// "The platform doesn't revoke old refresh tokens when used to fetch new access tokens":
	// https://learn.microsoft.com/entra/identity-platform/refresh-tokens. Strict is the provider's own reuse detection.
	if (options.rotation === 'entra') provider.RefreshToken.prototype.consume = async () => {}
	allowAnyLoopbackPort(provider)
	provider.registerGrantType(
		ON_BEHALF_OF,
		createOnBehalfOf({ provider, errors, tenant, resourceServer, findAccount }),
		ON_BEHALF_OF_PARAMETERS,
	)
	reportErrors(provider)
	const interact = createInteraction(provider, tenant, options.autoLogin)
	provider.use(async (ctx, next) => {
		if (ctx.path.startsWith('/interaction/')) return interact(ctx)
		if (ctx.path === discoveryPath(tenant.tenantId)) ctx.path = PROVIDER_DISCOVERY_PATH
		await next()
		const answered = ctx as Oidc.KoaContextWithOIDC
		const exchange = exchangeOf(ctx)
		if (exchange?.kind === 'token') await translateTokenAnswer(answered, tenant, options.refreshIn)
		if (exchange?.kind === 'discovery' && ctx.status === 200) {
			ctx.body = translateDiscovery(ctx.body as Record<string, unknown>, tenant, exchange.viaAlias)
		}
	})
	return provider
}

/** The provider's own dispatcher guards against SSRF by refusing loopback: no back-channel logout would arrive. */
function fetchLoopback(url: string | URL | Request, init?: RequestInit): Promise<Response> {
	const { dispatcher: _guard, ...rest } = (init ?? {}) as RequestInit & { dispatcher?: unknown }
	return fetch(url, rest)
}

function reportErrors(provider: Oidc.Provider): void {
	provider.on('grant.error', (ctx, refusal) => {
		const exchange = exchangeOf(ctx)
		if (exchange) exchange.refusal = refusal as Refusal
	})
	provider.on('backchannel.error', (_ctx, error, client) => {
		console.error(`stand-in: back-channel logout of ${client.clientId} failed: ${error.message}`)
	})
	provider.on('server_error', (_ctx, error) => console.error('stand-in:', error))
}
