import { createHmac, randomUUID } from 'node:crypto'
import type { Opened } from '../src/sealing.js'
import type { SignedInAccount, WireTasks } from '../src/wire.js'
import { claimsOf } from './account.js'
import { lookInto } from './blobs.js'
import { redisStore, sealer, settings } from './context.js'
import { toMembershipClaims } from './membership-claims.js'
import { isProven } from './token-cache.js'

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

/** What a note says; `used` when its cookie has come. */
export function openImported(name: string, value: string): Opened | 'used' {
	return value.startsWith(used) ? 'used' : sealer.open(purpose, name, value)
}

/** What was imported under a session id of the original. */
export async function findImported({
	id,
}: WireTasks['findImported']['params']): Promise<WireTasks['findImported']['result']> {
	const name = nameOfImported(id)
	const value = await redisStore?.imported.find(name)
	if (value === undefined) return { state: 'unknown' }
	const opened = openImported(name, value)
	if (opened === 'used') return { state: 'used' }
	return opened.ok
		? { state: 'waiting', ...(JSON.parse(opened.plaintext) as WaitingSession) }
		: { state: 'unknown' }
}

/** Takes it: whatever comes of it, it is gone for everybody else. Roles and groups are as the provider says now. */
export async function takeImported({
	id,
	partition,
}: WireTasks['takeImported']['params']): Promise<WireTasks['takeImported']['result']> {
	const name = nameOfImported(id)
	const value = await redisStore?.imported.find(name)
	if (!redisStore || value === undefined) return { state: 'used' }
	const opened = openImported(name, value)
	if (opened === 'used' || !opened.ok) return { state: 'used' }
	const waiting = JSON.parse(opened.plaintext) as WaitingSession
	if (waiting.partition !== partition) return { state: 'used' }
	// Before it is taken: a store that fails now leaves it where it is.
	const opening = await redisStore.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
	const look = opening.state === 'open' ? lookInto(partition, opening.stored) : undefined
	if (!(await redisStore.imported.take(name, value, `${used}${randomUUID()}`))) return { state: 'used' }
	const proven = look?.state === 'open' && isProven(look.cache) ? look.cache : {}
	return { state: 'taken', claims: toMembershipClaims(claimsOf(proven, waiting.account.homeAccountId) ?? {}) }
}
