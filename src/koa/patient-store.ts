import { LRUCache } from 'lru-cache'
import { BrokerError } from '../errors.js'
import { withTimeout } from '../with-timeout.js'
import { ofStore } from './of-store.js'
import type { SessionStore } from './sealed-session-store.js'

/** Milliseconds that a call of an application's store has. One that is slow is waited for; what hangs is not. */
const patience = 5000

/** Keys whose late writes are remembered at most: a store that hangs may answer none of them, ever. */
const lateWritesKept = 10_000

/** What is being written under a key, though nobody waits for it any more. */
interface LateWrites {
	count: number
	/** The key was removed meanwhile, which none of them knows of. */
	removed: boolean
}

/**
 * An application's store, each of whose calls ends: one that never settles would keep all that comes after it waiting.
 * One that fails is away as well. A write that comes about after its time brings nothing back that was removed meanwhile.
 * @throws ERR_STORE_UNAVAILABLE from every method when there is no answer in time
 */
export function patientStore(store: SessionStore) {
	const late = new LRUCache<string, LateWrites>({ max: lateWritesKept })
	const { get, set, destroy } = asynchronous(store)

	/** Removes what a late write has put there after all. */
	const watch = (key: string, written: Promise<unknown>, remove: () => Promise<unknown>): void => {
		const writes = late.get(key) ?? { count: 0, removed: false }
		writes.count++
		late.set(key, writes)
		const done = async () => {
			if (--writes.count === 0 && late.peek(key) === writes) late.delete(key)
			// Also when it has failed: that says nothing about what was written.
			if (writes.removed) await remove()
		}
		written.then(done, done).catch(() => {})
	}

	return {
		get: (...call: Parameters<SessionStore['get']>) => withTimeout(get(...call), patience, refuse),
		set: (...call: Parameters<SessionStore['set']>) => {
			const written = set(...call)
			const [key, , , options] = call
			return withTimeout(written, patience, () => {
				watch(key, written, () => destroy(key, options))
				return refuse()
			})
		},
		destroy: (...call: Parameters<SessionStore['destroy']>) => {
			const writes = late.get(call[0])
			if (writes) writes.removed = true
			return withTimeout(destroy(...call), patience, refuse)
		},
	}
}

/** What it throws at once, and what it returns that is no promise, is what a promise is. */
function asynchronous(store: SessionStore) {
	return {
		get: (...call: Parameters<SessionStore['get']>) => ofStore(() => store.get(...call)),
		set: (...call: Parameters<SessionStore['set']>) => ofStore(() => store.set(...call)),
		destroy: (...call: Parameters<SessionStore['destroy']>) => ofStore(() => store.destroy(...call)),
	}
}

function refuse(): never {
	throw new BrokerError(
		'ERR_STORE_UNAVAILABLE',
		`The application’s session store has not answered in ${patience / 1000} seconds.`,
	)
}
