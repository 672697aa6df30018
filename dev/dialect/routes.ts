import type { RequestKind } from '../exchange.js'

/** The paths of a tenant. */
export function tenantRoutes(tenantId: string) {
	return {
		authorization: `/${tenantId}/oauth2/v2.0/authorize`,
		token: `/${tenantId}/oauth2/v2.0/token`,
		jwks: `/${tenantId}/discovery/v2.0/keys`,
		end_session: `/${tenantId}/oauth2/v2.0/logout`,
		userinfo: '/oidc/userinfo',
	}
}

/** Where the tenant's discovery document is; the provider's own place for it is fixed. */
export function discoveryPath(tenantId: string): string {
	return `/${tenantId}/v2.0/.well-known/openid-configuration`
}

/** The provider's fixed place for it. */
export const PROVIDER_DISCOVERY_PATH = '/.well-known/openid-configuration'
/** MSAL's question which hosts are one cloud. */
export const INSTANCE_PATH = '/common/discovery/instance'

/** What a path is about, and whether a person's browser (`pages`) or a program (`tls`) has business there. */
export interface Route {
	readonly kind: RequestKind
	readonly listener: 'pages' | 'tls'
}

/** Classifies a path in which an alias has been replaced by the tenant. */
export function routeOf(path: string, tenantId: string): Route {
	const routes = tenantRoutes(tenantId)
	if (path === routes.authorization) return { kind: 'authorize', listener: 'pages' }
	if (path.startsWith(`${routes.authorization}/`)) return { kind: 'resume', listener: 'pages' }
	if (path.startsWith('/interaction/')) return { kind: 'interaction', listener: 'pages' }
	if (path === routes.end_session) return { kind: 'logout', listener: 'pages' }
	if (path.startsWith(`${routes.end_session}/`)) return { kind: 'other', listener: 'pages' }
	if (path === routes.token) return { kind: 'token', listener: 'tls' }
	if (path === routes.jwks) return { kind: 'keys', listener: 'tls' }
	if (path === INSTANCE_PATH) return { kind: 'instance', listener: 'tls' }
	if (path === discoveryPath(tenantId) || path === PROVIDER_DISCOVERY_PATH)
		return { kind: 'discovery', listener: 'tls' }
	return { kind: 'other', listener: 'tls' }
}

/** `common` and `organizations` stand for the tenant: the path with the tenant in their place, if they did. */
export function resolveAlias(path: string, tenantId: string): { path: string; viaAlias: boolean } {
	if (path === INSTANCE_PATH) return { path, viaAlias: false }
	const resolved = path.replace(/^\/(common|organizations)(?=\/)/i, `/${tenantId}`)
	return { path: resolved, viaAlias: resolved !== path }
}
