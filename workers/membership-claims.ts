import type { JWTPayload } from 'jose'
import type { MembershipClaims } from '../src/wire.js'

/** Roles of each kind that are kept. Who has more than that is refused what the others are for. */
const mostRoles = 100

/** Characters of a role's value; Entra allows 120. */
const longestRole = 128

/** Entra puts no more into a token: https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference */
const mostGroups = 200

/** Roles and groups, from the claims of a verified id_token. */
export function toMembershipClaims(claims: JWTPayload): MembershipClaims {
	const roles = textsOf(claims.roles)?.filter((role) => role !== '' && role.length <= longestRole)
	const wids = idsOf(claims.wids)
	const groups = idsOf(claims.groups)
	const overage = isOverage(claims) || (groups?.length ?? 0) > mostGroups
	return {
		...(roles?.length && { roles: roles.slice(0, mostRoles) }),
		...(wids?.length && { wids: wids.slice(0, mostRoles) }),
		...(groups?.length && { groups: groups.slice(0, mostGroups) }),
		...(overage && { groupsOverage: true }),
	}
}

/** https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim */
function isOverage({ _claim_names: names, hasgroups }: JWTPayload): boolean {
	const elsewhere = typeof names === 'object' && names !== null && 'groups' in names
	return elsewhere || hasgroups === true || hasgroups === 'true'
}

function idsOf(claim: unknown): string[] | undefined {
	return textsOf(claim)
		?.map((id) => id.toLowerCase())
		.filter((id) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id))
}

function textsOf(claim: unknown): string[] | undefined {
	return Array.isArray(claim) ? claim.filter((value) => typeof value === 'string') : undefined
}
