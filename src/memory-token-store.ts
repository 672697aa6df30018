import { LRUCache } from 'lru-cache'
import type { WireError } from './errors.js'
import { nameOf, namesOf, requireOneUser } from './user-reference.js'
import type { FoundPartition, SignedInAccount, StoredBlob, UserReference } from './wire.js'

interface HeldPartition extends StoredBlob {
	readonly account: SignedInAccount
	/** When it ends, in milliseconds since the epoch. */
	readonly expiresOn: number
	/** The key of its web session. */
	readonly session?: string
}

/** Sessions held at most. Beyond it the least recently used is signed out: this store is for one process. */
const maxSessions = 100_000

/**
 * Keeps sealed token blobs and sessions in this process, on the main thread. For development, tests and
 * single-process applications that may sign everyone out when they restart.
 */
export class MemoryTokenStore {
	readonly kind = 'memory'
	/** What is written again keeps its time to live, unless that is over: 0 would be for ever. */
	readonly #partitions = new LRUCache<string, HeldPartition>({
		max: maxSessions,
		ttl: 1,
		ttlAutopurge: false,
		noDisposeOnSet: true,
		dispose: ({ account }, partition) => this.#leave(account, partition),
	})
	/** Partitions by every name of their users. */
	readonly #index = new Map<string, Set<string>>()
	readonly #claims = new LRUCache<string, string>({ max: maxSessions, ttl: 1 })
	/** Why the provider is not to be called, by session and by tenant. */
	readonly #heldOff = new LRUCache<string, WireError>({ max: maxSessions, ttl: 1 })
	/** Sealed sessions by key, for the session middleware. */
	readonly sessions = new LRUCache<string, string>({ max: maxSessions, ttl: 1 })

	read(partition: string): StoredBlob | undefined {
		return this.#partitions.get(partition)
	}

	/** @param lifetime milliseconds */
	create(partition: string, sealed: string, lifetime: number, account: SignedInAccount): void {
		const expiresOn = Date.now() + lifetime
		this.#partitions.set(partition, { version: 1, sealed, account, expiresOn }, { ttl: lifetime })
		this.#enter(account, partition)
	}

	/** @throws ERR_AMBIGUOUS_USER */
	sessionsOf(user: UserReference): FoundPartition[] {
		// What has expired leaves the index when it is looked at.
		const found = [...(this.#index.get(nameOf(user)) ?? [])].flatMap((name) => this.find(name) ?? [])
		requireOneUser(found)
		return found
	}

	/** Whose a partition is, and when it ends. */
	find(partition: string): FoundPartition | undefined {
		const held = this.#partitions.get(partition)
		return held && { partition, account: held.account, expiresOn: held.expiresOn }
	}

	/** All partitions that are there now. */
	list(): FoundPartition[] {
		return [...this.#partitions.entries()].map(([partition, { account, expiresOn }]) => ({
			partition,
			account,
			expiresOn,
		}))
	}

	/** @returns false when the partition is gone: nothing is brought back. */
	commit(partition: string, sealed: string, account?: SignedInAccount): boolean {
		const current = this.#partitions.get(partition)
		const ttl = this.#partitions.getRemainingTTL(partition)
		if (!current || ttl <= 0) return false
		const owner = account ?? current.account
		// People are renamed.
		this.#leave(current.account, partition)
		this.#partitions.set(
			partition,
			{ ...current, version: current.version + 1, sealed, account: owner },
			{ ttl: Math.max(1, ttl) },
		)
		this.#enter(owner, partition)
		return true
	}

	/** Lets {@link end} find a web session. @returns false when the partition is gone */
	bind(session: string, partition: string): boolean {
		const current = this.#partitions.get(partition)
		const ttl = this.#partitions.getRemainingTTL(partition)
		if (!current || ttl <= 0) return false
		this.#partitions.set(partition, { ...current, session }, { ttl: Math.max(1, ttl) })
		return true
	}

	/** Removes a partition together with its web session. */
	end(partition: string): void {
		const session = this.#partitions.get(partition)?.session
		if (session !== undefined) this.sessions.delete(session)
		this.remove(partition)
	}

	#enter(account: SignedInAccount, partition: string): void {
		for (const name of namesOf(account))
			this.#index.set(name, (this.#index.get(name) ?? new Set()).add(partition))
	}

	#leave(account: SignedInAccount, partition: string): void {
		for (const name of namesOf(account)) {
			const partitions = this.#index.get(name)
			partitions?.delete(partition)
			if (partitions?.size === 0) this.#index.delete(name)
		}
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

	/** Says of a claim that what it was for is done. */
	settleClaim(transaction: string, value: string): void {
		const ttl = this.#claims.getRemainingTTL(transaction)
		if (this.#claims.has(transaction) && ttl > 0)
			this.#claims.set(transaction, value, { ttl: Math.max(1, ttl) })
	}

	failClaim(transaction: string): void {
		this.settleClaim(transaction, '')
	}

	/** Remembers that a session or a tenant is to leave the provider alone. */
	holdOff(whose: 'session' | 'tenant', id: string, error: WireError, milliseconds: number): void {
		this.#heldOff.set(`${whose}:${id}`, error, { ttl: Math.max(1, Math.ceil(milliseconds)) })
	}

	/** Why the provider is not to be called for a session now, if so. */
	heldOff(partition: string, tenantId: string): WireError | undefined {
		for (const name of [`tenant:${tenantId}`, `session:${partition}`]) {
			const error = this.#heldOff.get(name)
			if (error) return { ...error, retryAfter: this.#heldOff.getRemainingTTL(name) / 1000 }
		}
		return undefined
	}

	findClaim(transaction: string): string | undefined {
		return this.#claims.get(transaction)
	}
}

/** A {@link MemoryTokenStore}: tokens and sessions in this process, gone when it ends. */
export function memoryTokenStore(): MemoryTokenStore {
	return new MemoryTokenStore()
}
