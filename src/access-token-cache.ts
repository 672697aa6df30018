import type { AcquiredToken } from './acquired-token.js'
import { shareScope } from './scopes.js'

/** A token as L1 holds it. Times are milliseconds since the epoch. */
export interface HeldToken {
	/** What a hit returns: frozen, `outcome: 'hit'`. */
	readonly token: AcquiredToken
	/** The same as a promise, made once: a hit makes nothing at all. */
	readonly answer: Promise<AcquiredToken>
	/** Normalised scopes that were asked for, joined. */
	readonly scopesKey: string
	/** Scopes that were granted, in the form in which they are compared. */
	readonly granted: ReadonlySet<string>
	/** The claims challenge that it was won by. */
	readonly claims: string | undefined
	/** From then on it is stale: still handed out, while a refresh runs behind it. */
	readonly refreshOn: number
	/** From then on it is a miss. */
	readonly usableUntil: number
	/** No refresh behind it before then: the last one failed. As the next two of `performance.now()`, which never jumps. */
	cooldownUntil: number
	/** When its partition was last known to be alive. */
	confirmedAt: number
	/** When the store was last asked whether it is. */
	askedAt: number
	/** While the store is asked. */
	answered: Promise<void> | undefined
}

/** Everything held for one partition; a node of the eviction queue. */
interface Shelf {
	readonly partition: string
	held: HeldToken[]
	bytes: number
	visited: boolean
	newer: Shelf | undefined
	older: Shelf | undefined
}

/** Tokens held for one partition at most; the oldest goes. */
const tokensPerPartition = 32

/**
 * L1: plain results of recent acquisitions, on the main thread, so that a hit costs a look-up and nothing else.
 *
 * Bounded by entries and by bytes. Eviction is SIEVE (Zhang et al., NSDI '24): a look-up only sets a bit, which
 * keeps a hit as cheap as a `Map`'s. A partition is evicted as a whole; it then costs one trip to L2.
 */
export class AccessTokenCache {
	readonly #shelves = new Map<string, Shelf>()
	readonly #maxEntries: number
	readonly #maxBytes: number
	#newest: Shelf | undefined
	#oldest: Shelf | undefined
	#hand: Shelf | undefined
	#entries = 0
	#bytes = 0

	constructor(bounds: { readonly maxEntries: number; readonly maxBytes: number }) {
		this.#maxEntries = bounds.maxEntries
		this.#maxBytes = bounds.maxBytes
	}

	/** Tokens held now. */
	get size(): number {
		return this.#entries
	}

	/** Approximate bytes held now. */
	get bytes(): number {
		return this.#bytes
	}

	/**
	 * A token that still lives at `now`, for the scopes or more. With `claims` only one won by the same claims.
	 * Without scopes only one that was asked for without: any other is for a resource that was not meant.
	 */
	get(
		partition: string,
		scopesKey: string,
		scopes: readonly string[],
		claims: string | undefined,
		now: number,
	): HeldToken | undefined {
		const shelf = this.#shelves.get(partition)
		if (shelf === undefined) return undefined
		for (const held of shelf.held) {
			if (
				held.scopesKey !== scopesKey &&
				!(scopes.length > 0 && scopes.every((scope) => held.granted.has(scope)))
			)
				continue
			if (claims !== undefined && held.claims !== claims) continue
			if (held.usableUntil <= now) continue
			shelf.visited = true
			return held
		}
		return undefined
	}

	/**
	 * Replaces the tokens for the same scopes and those that share a granted one, however they were won: nobody keeps
	 * a rejected one, though it carry more. The stored tokens follow the same rule, which is MSAL's.
	 */
	put(partition: string, held: HeldToken): void {
		let shelf = this.#shelves.get(partition)
		if (shelf === undefined) {
			shelf = { partition, held: [], bytes: 0, visited: false, newer: undefined, older: this.#newest }
			if (this.#newest) this.#newest.newer = shelf
			this.#newest = shelf
			this.#oldest ??= shelf
			this.#shelves.set(partition, shelf)
		}
		const others = shelf.held.filter(
			(other) => other.scopesKey !== held.scopesKey && !shareScope(other.granted, held.granted),
		)
		this.#fill(shelf, [held, ...others].slice(0, tokensPerPartition))
		while (this.#entries > this.#maxEntries || this.#bytes > this.#maxBytes) this.#evict()
	}

	/** Forgets a partition. */
	drop(partition: string): void {
		const shelf = this.#shelves.get(partition)
		if (shelf) this.#remove(shelf)
	}

	clear(): void {
		this.#shelves.clear()
		this.#newest = this.#oldest = this.#hand = undefined
		this.#entries = this.#bytes = 0
	}

	#fill(shelf: Shelf, held: HeldToken[]): void {
		const bytes = held.reduce((sum, one) => sum + sizeOf(one), 0)
		this.#entries += held.length - shelf.held.length
		this.#bytes += bytes - shelf.bytes
		shelf.held = held
		shelf.bytes = bytes
	}

	#evict(): void {
		let shelf = this.#hand ?? this.#oldest
		while (shelf?.visited) {
			shelf.visited = false
			shelf = shelf.newer ?? this.#oldest
		}
		if (!shelf) return
		this.#hand = shelf.newer
		this.#remove(shelf)
	}

	#remove(shelf: Shelf): void {
		this.#fill(shelf, [])
		if (this.#hand === shelf) this.#hand = shelf.newer
		if (shelf.newer) shelf.newer.older = shelf.older
		else this.#newest = shelf.older
		if (shelf.older) shelf.older.newer = shelf.newer
		else this.#oldest = shelf.newer
		this.#shelves.delete(shelf.partition)
	}
}

/** Bytes of the strings, which are one byte a character here, and a flat allowance for the objects. */
function sizeOf(held: HeldToken): number {
	return held.token.accessToken.length + held.scopesKey.length + (held.claims?.length ?? 0) + 1024
}
