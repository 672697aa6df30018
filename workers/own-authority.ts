import { createTenantCheck } from '../src/own-tenants.js'
import type { SignedInAccount, WorkerSettings } from '../src/wire.js'
import type { TokenCacheJson } from './token-cache.js'

/**
 * Hosts that are one and the same cloud: MSAL writes any of them as a token's `environment`.
 * https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, and MSAL's own instance metadata
 */
const clouds: readonly (readonly string[])[] = [
	['login.microsoftonline.com', 'login.windows.net', 'login.microsoft.com', 'sts.windows.net'],
	['login.partner.microsoftonline.cn', 'login.chinacloudapi.cn'],
	['login.microsoftonline.us', 'login.usgovcloudapi.net'],
]

/** Whether MSAL knows the host, and which other names it goes by, without being told. */
export function isMicrosoftCloud(host: string): boolean {
	return clouds.some((hosts) => hosts.includes(host))
}

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
