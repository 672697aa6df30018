import type { SignedInAccount } from '../src/wire.js'
import { ownerOf } from './account.js'
import { type Look, lookInto } from './blobs.js'
import { redisStore } from './context.js'

/** How a session is found by somebody who only looks. */
export interface Sight {
	/** `remains`: a sign-out that failed half-way has left the key, without a blob. */
	readonly state: Look['state'] | 'gone' | 'remains'
	/** Absent as well when the blob can't be opened. */
	readonly account?: SignedInAccount
	/** In milliseconds since the epoch. */
	readonly expiresOn: number
}

/** https://redis.io/docs/latest/commands/pttl/ */
const noKey = -2

/** Looks at a session in Redis, and changes nothing. @throws ERR_STORE_UNAVAILABLE */
export async function seeSession(partition: string): Promise<Sight> {
	const gone: Sight = { state: 'gone', expiresOn: 0 }
	if (!redisStore) return gone
	const [opening, left] = await Promise.all([
		redisStore.open(partition, { holder: '', leaseUnlessBeyond: 'never' }),
		redisStore.lifetime(partition),
	])
	if (left === noKey) return gone
	const expiresOn = Date.now() + left
	if (opening.state === 'damaged') return { state: 'damaged', expiresOn }
	if (opening.state !== 'open') return { state: 'remains', expiresOn }
	const look = lookInto(partition, opening.stored)
	if (look.state !== 'open') return { state: look.state, expiresOn }
	const account = ownerOf(look.cache)
	return account ? { state: 'open', account, expiresOn } : { state: 'damaged', expiresOn }
}
