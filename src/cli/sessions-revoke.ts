import type { TokenBroker } from '../broker.js'
import type { UserReference } from '../wire.js'
import type { Output } from './output.js'

/** Ends one session, or all of a user, everywhere. */
export async function revokeSessions(
	broker: TokenBroker,
	output: Output,
	which: UserReference | string,
): Promise<void> {
	const revoked = await broker.sessions.revoke(which)
	output.data({ revoked })
	output.line(revoked === 1 ? '1 session was ended.' : `${revoked} sessions were ended.`)
}
