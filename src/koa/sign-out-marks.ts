import { TokenBroker } from '../broker.js'
import { Outbox } from '../outbox.js'
import type { Settings } from '../settings.js'
import { hashOf, transactionLifetime } from '../sign-in.js'

/** Which sessions were signed out, for a sign-in under way that has taken the place of one already. */
export interface SignOutMarks {
	/** @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED; the store is told later then */
	mark(sessionId: string): Promise<void>
	/** @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED */
	isMarked(sessionId: string): Promise<boolean>
}

/** Among the marks of sign-ins; a session's id is in none of them. */
const nameOf = (sessionId: string) => hashOf(`signed-out:${sessionId}`)

export function createSignOutMarks(broker: TokenBroker, { store }: Settings): SignOutMarks {
	/** @param promised whether it was put off already: it goes before newcomers then */
	const write = async (transaction: string, promised: boolean) => {
		if (store.kind === 'memory') {
			store.claim(transaction, '', transactionLifetime)
			return
		}
		const pool = TokenBroker.poolOf(broker)
		await pool.within(pool.begin('endSignIn', { transaction, lifetime: transactionLifetime }, promised))
	}
	const owed = new Outbox<object>('sign-outs', async (transaction) => {
		await write(transaction, true)
		return 'done'
	})
	TokenBroker.tellBeforeClose(broker, owed)
	return {
		async mark(sessionId) {
			const transaction = nameOf(sessionId)
			// A sign-in that ends meanwhile is to know it.
			owed.keep(transaction, {})
			await write(transaction, false)
			owed.drop(transaction)
		},
		async isMarked(sessionId) {
			const transaction = nameOf(sessionId)
			if (owed.get(transaction)) return true
			const found =
				store.kind === 'memory'
					? store.findClaim(transaction)
					: (await TokenBroker.poolOf(broker).run('findClaim', { transaction })).value
			return found !== undefined || owed.get(transaction) !== undefined
		},
	}
}
