import { TokenBroker } from '../broker.js'
import { hashOf, transactionLifetime } from '../sign-in.js'
import type { Login } from './login.js'

/** Among the marks of sign-ins; a session's id is in none of them. */
const nameOf = (sessionId: string) => hashOf(`signed-out:${sessionId}`)

/**
 * Remembers that a session was signed out, for a sign-in under way that has taken its place already.
 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED
 */
export async function markSignedOut(
	{ broker, settings: { store } }: Login,
	sessionId: string,
): Promise<void> {
	const transaction = nameOf(sessionId)
	if (store.kind === 'memory') store.claim(transaction, '', transactionLifetime)
	else await TokenBroker.poolOf(broker).run('endSignIn', { transaction, lifetime: transactionLifetime })
}

/** @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED */
export async function wasSignedOut(
	{ broker, settings: { store } }: Login,
	sessionId: string,
): Promise<boolean> {
	const transaction = nameOf(sessionId)
	const mark =
		store.kind === 'memory'
			? store.findClaim(transaction)
			: (await TokenBroker.poolOf(broker).run('findClaim', { transaction })).value
	return mark !== undefined
}
