import type { TokenBroker } from '../broker.js'
import type { UserReference } from '../wire.js'
import type { Output } from './output.js'
import { showSessions } from './sessions-list.js'

/** Lists the sessions of exactly one user. */
export async function findSessions(broker: TokenBroker, output: Output, user: UserReference): Promise<void> {
	showSessions(await broker.sessions.find(user), output)
}
