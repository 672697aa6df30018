import { createHmac, randomUUID } from 'node:crypto'
import type { SignedInAccount, WireTasks } from '../src/wire.js'
import { claimsOf } from './account.js'
import { openCache } from './blobs.js'
import { redisStore, sealer, settings } from './context.js'
import { toMembershipClaims } from './membership-claims.js'
import { isProven } from './python-cache.js'

/** What waits for a cookie of the original. */
export interface WaitingSession {
	readonly partition: string
	readonly account: SignedInAccount
}

const purpose = 'imported'

/** No sealed text begins so. */
const used = 'used:'

/** A hash of the original's session id, which whoever has opens the session with. It has 122 random bits. */
export function nameOfImported(id: string): string {
	return createHmac('sha256', settings.clientId).update(`aiohttp_msal/${id}`).digest('base64url')
}

export function sealImported(name: string, session: WaitingSession): string {
	return sealer.seal(purpose, name, JSON.stringify(session))
}

/** What was imported under a session id of the original. */
export async function findImported({
	id,
}: WireTasks['findImported']['params']): Promise<WireTasks['findImported']['result']> {
	const name = nameOfImported(id)
	const value = await redisStore?.imported.find(name)
	if (value === undefined) return { state: 'unknown' }
	if (value.startsWith(used)) return { state: 'used' }
	const opened = sealer.open(purpose, name, value)
	return opened.ok
		? { state: 'waiting', ...(JSON.parse(opened.plaintext) as WaitingSession) }
		: { state: 'unknown' }
}

/** Takes it: whatever comes of it, it is gone for everybody else. */
export async function takeImported({
	id,
	partition,
}: WireTasks['takeImported']['params']): Promise<WireTasks['takeImported']['result']> {
	const name = nameOfImported(id)
	const value = await redisStore?.imported.find(name)
	if (!redisStore || value === undefined || value.startsWith(used)) return { state: 'used' }
	const opened = sealer.open(purpose, name, value)
	const waiting = opened.ok ? (JSON.parse(opened.plaintext) as WaitingSession) : undefined
	if (waiting?.partition !== partition) return { state: 'used' }
	// Before it is taken: a store that fails now leaves it where it is.
	const opening = await redisStore.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
	const cache = opening.state === 'open' && (await openCache(redisStore, partition, opening.stored))
	const claims = cache && isProven(cache) ? claimsOf(cache, waiting.account.homeAccountId) : undefined
	if (!(await redisStore.imported.take(name, value, `${used}${randomUUID()}`))) return { state: 'used' }
	return claims ? { state: 'taken', claims: toMembershipClaims(claims) } : { state: 'unproven' }
}
