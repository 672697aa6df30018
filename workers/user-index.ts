import { createHmac, type KeyObject } from 'node:crypto'
import { BrokerError } from '../src/errors.js'
import type { SignedInAccount, UserReference } from '../src/wire.js'
import { accountOf } from './account.js'
import { openCache } from './blobs.js'
import { redisStore, sealer, settings } from './context.js'

/** Names a user, or an alias inside its tenant, to Redis: a keyed hash, so that a dump names nobody. */
function nameOf(secret: KeyObject, kind: 'user' | 'alias', tenantId: string, name: string): string {
	return createHmac('sha256', secret)
		.update(JSON.stringify(['koa-msal', kind, settings.clientId, tenantId, name]))
		.digest('base64url')
}

/** Upper and lower case make no difference in a user name; accents and look-alikes do. */
const fold = (username: string) => username.normalize('NFC').toLowerCase()

/** Enters a session of a user, under the newest secret. @param expiresOn milliseconds since the epoch */
export async function enterSession(
	account: SignedInAccount,
	partition: string,
	expiresOn: number,
): Promise<void> {
	const secret = settings.secrets[0]
	if (!redisStore || !secret) return
	const { tenantId, objectId, username } = account
	const user = nameOf(secret, 'user', tenantId, objectId)
	await redisStore.index.add(user, partition, expiresOn)
	if (username === '') return
	const alias = nameOf(secret, 'alias', tenantId, fold(username))
	// Who an alias stands for is needed to look under every secret; sealed, as it names somebody.
	await redisStore.index.alias(alias, user, sealer.seal('user-alias', alias, objectId), expiresOn)
}

/** Takes a session out, whatever secret it was entered under. */
export async function leaveSession(tenantId: string, objectId: string, partition: string): Promise<void> {
	for (const secret of settings.secrets)
		await redisStore?.index.remove(nameOf(secret, 'user', tenantId, objectId), partition)
}

/**
 * The sessions in which exactly this user is signed in now. Each is looked at: the index may know one that has
 * ended, and says nothing of whose it is.
 * @throws ERR_AMBIGUOUS_USER when two users of the tenant go by that name
 */
export async function findSessions(
	user: UserReference,
): Promise<readonly { readonly partition: string; readonly account: SignedInAccount }[]> {
	if (!redisStore) return []
	const { index } = redisStore
	const objectIds = 'objectId' in user ? [user.objectId] : await objectIdsOf(user.tenantId, user.username)
	const found: { partition: string; account: SignedInAccount }[] = []
	for (const objectId of objectIds)
		for (const secret of settings.secrets) {
			const name = nameOf(secret, 'user', user.tenantId, objectId)
			for (const partition of await index.list(name)) {
				const account = await ownerOf(partition)
				if (account === 'unreadable') continue
				if (account?.tenantId === user.tenantId && account.objectId === objectId)
					found.push({ partition, account })
				else await index.remove(name, partition)
			}
		}
	// A name changes hands: only those who go by it now count.
	const named =
		'objectId' in user ? found : found.filter(({ account }) => fold(account.username) === fold(user.username))
	if (new Set(named.map(({ account }) => account.objectId)).size > 1)
		throw new BrokerError(
			'ERR_AMBIGUOUS_USER',
			'Two users of this tenant go by that name. Use the object id.',
		)
	return named
}

async function objectIdsOf(tenantId: string, username: string): Promise<string[]> {
	const ids = new Set<string>()
	for (const secret of settings.secrets) {
		const alias = nameOf(secret, 'alias', tenantId, fold(username))
		for (const sealed of (await redisStore?.index.aliased(alias)) ?? []) {
			const opened = sealer.open('user-alias', alias, sealed)
			if (opened.ok) ids.add(opened.plaintext)
		}
	}
	return [...ids]
}

/** `unreadable`: another process has the key of its blob, or will have. */
async function ownerOf(partition: string): Promise<SignedInAccount | 'unreadable' | undefined> {
	if (!redisStore) return undefined
	const opening = await redisStore.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
	if (opening.state !== 'open') return undefined
	try {
		const cache = await openCache(redisStore, partition, opening.stored)
		const [homeAccountId] = Object.values(cache.Account ?? {}).map((entry) => entry.home_account_id)
		return homeAccountId === undefined ? undefined : accountOf(cache, homeAccountId)
	} catch (error) {
		if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') return 'unreadable'
		throw error
	}
}
