import { createHmac, type KeyObject } from 'node:crypto'
import { BrokerError } from '../src/errors.js'
import { nameOf, namesOf, requireOneUser } from '../src/user-reference.js'
import type { FoundPartition, SignedInAccount, UserReference } from '../src/wire.js'
import { ownerOf } from './account.js'
import { openCache } from './blobs.js'
import { redisStore, settings } from './context.js'
import { forEachFew } from './for-each-few.js'

/** Puts a name as Redis may have it: a keyed hash, so that a dump names nobody. */
function hashOf(secret: KeyObject, name: string): string {
	return createHmac('sha256', secret)
		.update(JSON.stringify(['koa-msal', 'user-index', settings.clientId, name]))
		.digest('base64url')
}

/** By the newest secret, of which there is always one. */
const newestHashOf = (name: string) => hashOf(settings.secrets[0] as KeyObject, name)

/** By every secret: another process may have another newest one. */
const hashesOf = (name: string) => settings.secrets.map((secret) => hashOf(secret, name))

/** Enters a session under all names of its user. @param expiresOn milliseconds since the epoch */
export async function enterSession(
	account: SignedInAccount,
	partition: string,
	expiresOn: number,
): Promise<void> {
	const hashes = namesOf(account).map(newestHashOf)
	await Promise.all(hashes.map((hash) => redisStore?.index.add(hash, partition, expiresOn)))
}

/** Tells which names a session is entered under, and by which secret, without telling either. */
export function markOf(account: SignedInAccount): string {
	return newestHashOf(JSON.stringify(namesOf(account)))
}

/**
 * Enters a session anew whose mark is another: by the newest secret, before the older one is taken away, and by the
 * name that its user has now. The mark is written last, so that what fails is done at the next look.
 * @throws ERR_STORE_UNAVAILABLE
 */
export async function enterAnew(account: SignedInAccount, partition: string, mark: string): Promise<void> {
	if (!redisStore || mark === markOf(account)) return
	const lifetime = await redisStore.lifetime(partition)
	if (lifetime <= 0) return
	await enterSession(account, partition, Date.now() + lifetime)
	await redisStore.mark(partition, markOf(account))
}

/** Takes a session out, whatever secret it was entered under. */
export async function leaveSession(account: SignedInAccount, partition: string): Promise<void> {
	const hashes = namesOf(account).flatMap(hashesOf)
	await Promise.all(hashes.map((hash) => redisStore?.index.remove(hash, partition)))
}

/**
 * The sessions in which exactly this user is signed in now. The index is a hint: it may know a session that has
 * ended, or whose user was renamed, until it would have ended anyway. So whose each is, its own tokens say.
 * @throws ERR_AMBIGUOUS_USER when two users of the tenant go by that name
 */
export async function findSessions(user: UserReference): Promise<readonly FoundPartition[]> {
	if (!redisStore) return []
	const { index, lifetime } = redisStore
	const name = nameOf(user)
	const listed = await Promise.all(hashesOf(name).map((hash) => index.list(hash)))
	const found: { partition: string; account: SignedInAccount }[] = []
	await forEachFew([...new Set(listed.flat())], async (partition) => {
		const account = await userOf(partition)
		if (account && namesOf(account).includes(name)) found.push({ partition, account })
	})
	requireOneUser(found)
	const lifetimes = await Promise.all(found.map(({ partition }) => lifetime(partition)))
	const now = Date.now()
	return found.flatMap((one, at) => {
		const left = lifetimes[at] ?? 0
		return left > 0 ? [{ ...one, expiresOn: now + left }] : []
	})
}

/** Who is signed in; `undefined` as well when another process has the key of the blob, or will have. */
async function userOf(partition: string): Promise<SignedInAccount | undefined> {
	const opening = await redisStore?.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
	if (!redisStore || opening?.state !== 'open') return undefined
	try {
		return ownerOf(await openCache(redisStore, partition, opening.stored))
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return undefined
		throw error
	}
}
