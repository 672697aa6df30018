import { clouds } from '../src/microsoft-clouds.js'
import { createTenantCheck } from '../src/own-tenants.js'
import type { SignedInAccount, WorkerSettings } from '../src/wire.js'
import type { TokenCacheJson } from './token-cache.js'

/** The authority that this process signs people in at, as token caches name it. */
export interface OwnAuthority {
	/** Its tenant: an id, a domain, or a name for many. MSAL's `realm` of a token that came without an id_token. */
	readonly tenant: string
	/**
	 * Whether a cache was made there, and its account may still sign in: after a change of `auth.authority` or of
	 * `auth.allowedTenants` the tokens of the one before are neither handed out nor sent to the new one.
	 */
	accepts(cache: TokenCacheJson, account: SignedInAccount): boolean
}

export function createOwnAuthority({
	authority,
	allowedTenants,
}: Pick<WorkerSettings, 'authority' | 'allowedTenants'>): OwnAuthority {
	const { host, pathname } = new URL(authority)
	const tenant = (pathname.split('/')[1] ?? '').toLowerCase()
	const environments = new Set(clouds.find((hosts) => hosts.includes(host)) ?? [host])
	const mayBeOf = createTenantCheck({ authority, allowedTenants })
	return {
		tenant,
		accepts(cache, account) {
			if (!mayBeOf(account.tenantId)) return false
			return Object.values(cache.Account ?? {}).every(
				({ environment }) => environment !== undefined && environments.has(environment),
			)
		},
	}
}
