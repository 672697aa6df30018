/**
 * Whether people of a tenant may be signed in here: of the authority's own alone where it names one by id, and of the
 * setting `auth.allowedTenants`. A domain, or `common`, does not tell a tenant's id; the issuer is checked at sign-in.
 */
export function createTenantCheck({
	authority,
	allowedTenants,
}: {
	readonly authority: string
	readonly allowedTenants: readonly string[] | 'any'
}): (tenantId: string) => boolean {
	const tenant = (new URL(authority).pathname.split('/')[1] ?? '').toLowerCase()
	const only = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(tenant) ? tenant : undefined
	return (tenantId) => {
		if (only !== undefined && tenantId.toLowerCase() !== only) return false
		return allowedTenants === 'any' || allowedTenants.includes(tenantId)
	}
}
