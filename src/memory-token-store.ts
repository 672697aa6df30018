import { LRUCache } from 'lru-cache'
import { BrokerError } from './errors.js'
import type { SignedInAccount, StoredBlob, UserReference } from './wire.js'

/** Sessions held at most. Beyond it the least recently used is signed out: this store is for one process. */
const maxSessions = 100_000

/**
 * Keeps sealed token blobs and sessions in this process, on the main thread. For development, tests and
 * single-process applications that may sign everyone out when they restart.
 */
export class MemoryTokenStore {
	readonly kind = 'memory'
	readonly #partitions = new LRUCache<string, StoredBlob & { readonly account: SignedInAccount }>({
		max: maxSessions,
		ttl: 1,
		ttlAutopurge: false,
		noDisposeOnSet: true,
		dispose: ({ account }, partition) => this.#leave(account, partition),
	})
	/** Partitions by tenant and object id. */
	readonly #users = new Map<string, Set<string>>()
	readonly #claims = new LRUCache<string, string>({ max: maxSessions, ttl: 1 })
	readonly #turns = new Map<string, Promise<unknown>>()
	/** Sealed sessions by key, for the session middleware. */
	readonly sessions = new LRUCache<string, string>({ max: maxSessions, ttl: 1 })

	read(partition: string): StoredBlob | undefined {
		return this.#partitions.get(partition)
	}

	/** @param lifetime milliseconds */
	create(partition: string, sealed: string, lifetime: number, account: SignedInAccount): void {
		this.#partitions.set(partition, { version: 1, sealed, account }, { ttl: lifetime })
		const user = userOf(account)
		this.#users.set(user, (this.#users.get(user) ?? new Set()).add(partition))
	}

	/** @throws ERR_AMBIGUOUS_USER */
	sessionsOf(user: UserReference): { readonly partition: string; readonly account: SignedInAccount }[] {
		const partitions = 'objectId' in user ? (this.#users.get(userOf(user)) ?? []) : this.#partitions.keys()
		const found = [...partitions].flatMap((partition) => {
			const account = this.#partitions.get(partition)?.account
			return account && isMeant(account, user) ? [{ partition, account }] : []
		})
		if (new Set(found.map(({ account }) => account.objectId)).size > 1)
			throw new BrokerError(
				'ERR_AMBIGUOUS_USER',
				'Two users of this tenant go by that name. Use the object id.',
			)
		return found
	}

	#leave(account: SignedInAccount, partition: string): void {
		const user = userOf(account)
		const partitions = this.#users.get(user)
		partitions?.delete(partition)
		if (partitions?.size === 0) this.#users.delete(user)
	}

	/** @returns false when the partition is gone: nothing is brought back. */
	commit(partition: string, sealed: string): boolean {
		const current = this.#partitions.get(partition)
		if (!current) return false
		const ttl = this.#partitions.getRemainingTTL(partition)
		const { version, account } = current
		this.#partitions.set(partition, { version: version + 1, sealed, account }, { ttl })
		return true
	}

	remove(partition: string): void {
		this.#partitions.delete(partition)
	}

	/** Marks a transaction as used. @returns the mark of an earlier use, or `undefined`. */
	claim(transaction: string, value: string, lifetime: number): string | undefined {
		const earlier = this.#claims.get(transaction)
		if (earlier === undefined) this.#claims.set(transaction, value, { ttl: lifetime })
		return earlier
	}

	failClaim(transaction: string): void {
		if (this.#claims.has(transaction))
			this.#claims.set(transaction, '', { ttl: this.#claims.getRemainingTTL(transaction) })
	}

	findClaim(transaction: string): string | undefined {
		return this.#claims.get(transaction)
	}

	/** One change of a partition at a time, so that its blob is never written from an older version. */
	async inTurn<T>(partition: string, work: () => Promise<T>): Promise<T> {
		const before = this.#turns.get(partition) ?? Promise.resolve()
		const turn = before.then(work, work)
		this.#turns.set(partition, turn)
		try {
			return await turn
		} finally {
			if (this.#turns.get(partition) === turn) this.#turns.delete(partition)
		}
	}
}

/** A {@link MemoryTokenStore}: tokens and sessions in this process, gone when it ends. */
export function memoryTokenStore(): MemoryTokenStore {
	return new MemoryTokenStore()
}

function userOf({ tenantId, objectId }: { readonly tenantId: string; readonly objectId: string }): string {
	return JSON.stringify([tenantId, objectId])
}

function isMeant(account: SignedInAccount, user: UserReference): boolean {
	if (account.tenantId !== user.tenantId) return false
	return 'objectId' in user
		? account.objectId === user.objectId
		: account.username.normalize('NFC').toLowerCase() === user.username.normalize('NFC').toLowerCase()
}
