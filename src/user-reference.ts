import { BrokerError } from './errors.js'
import type { SignedInAccount, UserReference } from './wire.js'

/** What a user is referred to by, next to the tenant. */
const kinds = new Set(['objectId', 'username'])

/** @throws ERR_BAD_REQUEST: half a reference must not match more than was meant */
export function checkUserReference(user: unknown): asserts user is UserReference {
	const { tenantId, ...rest } = (user ?? {}) as Record<string, unknown>
	const [[kind, name] = ['', undefined], ...more] = Object.entries(rest)
	if (!isText(tenantId) || !kinds.has(kind) || !isText(name) || more.length > 0)
		throw new BrokerError('ERR_BAD_REQUEST', 'A user is { tenantId, objectId } or { tenantId, username }.')
}

function isText(value: unknown): boolean {
	return typeof value === 'string' && value !== '' && value.length <= 256
}

/** The name that a reference is looked up under: in {@link namesOf} of whoever is meant, and of nobody else. */
export function nameOf(user: UserReference): string {
	return 'objectId' in user ? idOf(user.tenantId, user.objectId) : aliasOf(user.tenantId, user.username)
}

/** Every name that an account's sessions are found under: its id first, then what it goes by in its tenant. */
export function namesOf({ tenantId, objectId, username }: SignedInAccount): string[] {
	const id = idOf(tenantId, objectId)
	return username === '' ? [id] : [id, aliasOf(tenantId, username)]
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
	return JSON.stringify(['user', tenantId, objectId])
}

/** Upper and lower case make no difference in a user name; accents and look-alikes do. */
function aliasOf(tenantId: string, name: string): string {
	return JSON.stringify(['alias', tenantId, name.normalize('NFC').toLowerCase()])
}
