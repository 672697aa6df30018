import { BrokerError } from '../src/errors.js'
import type { WireTasks } from '../src/wire.js'
import { accountOf } from './account.js'
import { commitCache, openCache, signedOut } from './blobs.js'
import { redisStore } from './context.js'
import { CarriedStore } from './partition-store.js'
import { withMail } from './token-cache.js'
import { enterAnew } from './user-index.js'

/**
 * Seals the mail address that Microsoft Graph says a user has together with their tokens, and has them found by it.
 * @throws ERR_SIGNED_OUT, ERR_STORE_UNAVAILABLE; ERR_OVERLOADED when somebody is refreshing the tokens
 */
export async function recordMail(
	params: WireTasks['recordMail']['params'],
): Promise<WireTasks['recordMail']['result']> {
	const { partition, homeAccountId, mail } = params
	const carried = new CarriedStore(params.stored)
	const store = redisStore ?? carried
	const opening = await store.open(partition, { holder: '', leaseUnlessBeyond: 'never' })
	if (opening.state !== 'open') throw signedOut()
	const { stored, mark = '' } = opening
	const cache = withMail(await openCache(store, partition, stored), homeAccountId, mail)
	const account = accountOf(cache, homeAccountId)
	if ((await commitCache(store, partition, undefined, stored.version, cache)) === 'fenced')
		throw new BrokerError('ERR_OVERLOADED', 'The session is being refreshed at the moment.')
	// Where this fails, whoever reads the tokens next does it: the mark still says that it is to be done.
	await enterAnew(account, partition, mark)
	return { account, ...(carried.written !== undefined && { sealed: carried.written }) }
}
