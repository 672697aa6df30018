import { type ApiResource, type DevClient, GRAPH } from '../directory.js'

/** Scopes that belong to no resource. */
export const OIDC_SCOPES: readonly string[] = ['openid', 'profile', 'email', 'offline_access']

/**
 * Entra writes a permission and its resource as one scope (`api://x/read`, Graph's without a prefix); the provider
 * underneath wants full scopes and RFC 8707 resource indicators beside them. This translates.
 */
export interface Scopes {
	/** Scopes in full form, without duplicates. */
	canonical(scope: string | undefined): string[]
	/** The resource a scope belongs to; `undefined` for the OIDC scopes. */
	resourceOf(scope: string): string | undefined
	/** The resources named by a scope string, in order. */
	resourcesOf(scope: string | undefined): string[]
	/** Every permission a client has been granted, in full form. */
	consentedBy(clientId: string): string[]
	/** The same, of one resource. */
	consentedFor(clientId: string, resource: string | undefined): string[]
	/** Whether a scope list asks for `<resource>/.default`. */
	asksForDefault(scopes: readonly string[], resource: string | undefined): boolean
}

/** @param client looks a registration up, so that consent given meanwhile counts */
export function createScopes(
	resources: Readonly<Record<string, ApiResource>>,
	client: (clientId: string) => DevClient | undefined,
): Scopes {
	const names = Object.keys(resources)
	const isOidc = (scope: string) => OIDC_SCOPES.includes(scope)
	const resourceOf = (scope: string) => {
		if (isOidc(scope)) return undefined
		const known = names.find((name) => scope.startsWith(`${name}/`))
		return known ?? (scope.includes('://') ? scope.slice(0, scope.lastIndexOf('/')) : GRAPH)
	}
	const canonical = (scope: string | undefined) => {
		const written = (scope ?? '').split(' ').filter(Boolean)
		return unique(written.map((s) => (isOidc(s) || s.includes('://') ? s : `${GRAPH}/${s}`)))
	}
	const consentedBy = (clientId: string) =>
		Object.entries(client(clientId)?.consented ?? {}).flatMap(([resource, permissions]) =>
			permissions.map((permission) => `${resource}/${permission}`),
		)
	return {
		canonical,
		resourceOf,
		resourcesOf: (scope) =>
			unique(
				canonical(scope)
					.map(resourceOf)
					.filter((resource) => resource !== undefined),
			),
		consentedBy,
		consentedFor: (clientId, resource) =>
			consentedBy(clientId).filter((scope) => resourceOf(scope) === resource),
		asksForDefault: (scopes, resource) => scopes.includes(`${resource}/.default`),
	}
}

/** The permission alone: `https://graph.microsoft.com/User.Read` → `User.Read`. */
export function permissionOf(scope: string): string {
	return scope.slice(scope.lastIndexOf('/') + 1)
}

/** Without duplicates, in order. */
export function unique<T>(list: readonly T[]): T[] {
	return [...new Set(list)]
}
