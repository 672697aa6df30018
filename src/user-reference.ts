import { BrokerError } from './errors.js'
import type { SignedInAccount, UserReference } from './wire.js'

/** What a user is referred to by, next to the tenant. */
const kinds = new Set(['objectId', 'username', 'mail'])

/** @throws ERR_BAD_REQUEST: half a reference must not match more than was meant */
export function checkUserReference(user: unknown): asserts user is UserReference {
	const { tenantId, ...rest } = (user ?? {}) as Record<string, unknown>
	const [[kind, name] = ['', undefined], ...more] = Object.entries(rest)
	if (!isText(tenantId) || !kinds.has(kind) || !isText(name) || more.length > 0)
		throw new BrokerError(
			'ERR_BAD_REQUEST',
			'A user is { tenantId, objectId }, { tenantId, username } or { tenantId, mail }.',
		)
}

function isText(value: unknown): boolean {
	return typeof value === 'string' && value !== '' && value.length <= 256
}

/** The name that a reference is looked up under: in {@link namesOf} of whoever is meant, and of nobody else. */
export function nameOf(user: UserReference): string {
	if ('objectId' in user) return idOf(user.tenantId, user.objectId)
	return aliasOf(user.tenantId, 'mail' in user ? user.mail : user.username)
}

/**
 * Every name that an account's sessions are found under: its id first, then the aliases that it has in its tenant.
 * What is added here has to come from the tenant's directory, never from a claim that somebody can choose: `mail` is
 * Microsoft Graph's word, which is the directory's, and not the claim `email`.
 */
export function namesOf({ tenantId, objectId, username, upn = '', mail = '' }: SignedInAccount): string[] {
	const aliases = [username, upn, mail].filter(Boolean).map((name) => aliasOf(tenantId, name))
	return [idOf(tenantId, objectId), ...new Set(aliases)]
}

/** @throws ERR_AMBIGUOUS_USER when sessions found under one name are not all of one user */
export function requireOneUser(found: readonly { readonly account: SignedInAccount }[]): void {
	if (new Set(found.map(({ account }) => account.objectId)).size > 1)
		throw new BrokerError(
			'ERR_AMBIGUOUS_USER',
			'Two users of this tenant go by that name. Use the object id.',
		)
}

function idOf(tenantId: string, objectId: string): string {
	return JSON.stringify(['user', comparable(tenantId), comparable(objectId)])
}

/** An id as it is compared: a GUID in either case is one (RFC 9562, 4); a `sub` in the place of one is as it is. */
export function comparable(id: string): string {
	return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id) ? id.toLowerCase() : id
}

/** Upper and lower case make no difference in a name; accents and look-alikes do. */
function aliasOf(tenantId: string, name: string): string {
	return JSON.stringify(['alias', comparable(tenantId), name.normalize('NFC').toLowerCase()])
}
