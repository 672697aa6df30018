import { createHash, randomUUID } from 'node:crypto'
import type { AccountClaims } from 'oidc-provider'
import { type Person, userNameOf } from '../people.js'
import type { Tenant } from '../tenant.js'

/** Above this many groups a token carries a reference instead of the list. */
const MOST_GROUPS = 200

/** Seconds since 1970, as JWTs count. */
export function epochSeconds(): number {
	return Math.floor(Date.now() / 1000)
}

/** The `sub` of one person for one application. */
export function pairwiseSubject(oid: string, clientId: string): string {
	return createHash('sha256').update(`${oid}${clientId}`).digest('base64url')
}

/** An id_token's claims, before the provider adds `iss`, `aud`, `exp` and the nonce. */
export function idTokenClaims(person: Person, tenant: Tenant): AccountClaims {
	const userName = userNameOf(person)
	return {
		sub: person.oid,
		oid: person.oid,
		tid: tenant.tenantId,
		ver: '2.0',
		nbf: epochSeconds(),
		uti: randomUUID(),
		rh: '0.stand-in',
		name: person.name,
		preferred_username: userName,
		...(person.mail !== null && { email: person.mail ?? userName }),
		login_hint: `O.${person.oid}`,
		...guestClaims(person),
		...(person.roles && { roles: person.roles }),
		...groupClaims(person),
		...(person.acrs && { acrs: person.acrs }),
	}
}

/** A guest's identity provider is the home tenant. */
export function guestClaims(person: Person): Record<string, unknown> {
	return person.home ? { idp: `https://sts.windows.net/${person.home.tid}/` } : {}
}

/**
 * The groups, or where to ask for them.
 * https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim
 */
export function groupClaims(person: Person): Record<string, unknown> {
	if (!person.groups) return {}
	if (person.groups.length <= MOST_GROUPS) return { groups: person.groups }
	const endpoint = `https://graph.microsoft.com/v1.0/users/${person.oid}/getMemberObjects`
	return { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint } } }
}

/** `client_info`: who somebody is at home, which is what MSAL keys its cache by. */
export function clientInfo(person: Person, tenant: Tenant): string {
	const home = { uid: person.home?.oid ?? person.oid, utid: person.home?.tid ?? tenant.tenantId }
	return Buffer.from(JSON.stringify(home)).toString('base64url')
}
