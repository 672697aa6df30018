import type { WireError } from '../src/errors.js'
import type { StoredBlob } from '../src/wire.js'

/** How a partition is found. */
export type Opening =
	/** It does not exist: signed out. */
	| { readonly state: 'gone' }
	/**
	 * Here it is. `leased`: nobody else may refresh it until we commit, release, or stop renewing. `mark`: which names
	 * the user index has it under, as far as that is known.
	 */
	| {
			readonly state: 'open'
			readonly stored: StoredBlob
			readonly leased: boolean
			readonly mark?: string
	  }
	/** What is there is none of ours: larger than any blob, or no hash. It was not read. */
	| { readonly state: 'damaged' }
	/** Somebody else is refreshing it. */
	| { readonly state: 'busy'; readonly stored?: StoredBlob }
	/** A refresh failed a moment ago, and this is why: nobody tries again yet. */
	| { readonly state: 'held-off'; readonly error: WireError }

export interface OpenRequest {
	/** Who asks: leases are given to, renewed by and taken from one holder. */
	readonly holder: string
	/**
	 * A lease is wanted if no token in the blob lives beyond this time, in milliseconds since the epoch; `never`
	 * only reads.
	 */
	readonly leaseUnlessBeyond: number | 'never'
	/** What the caller has read a moment ago: it is not sent again unless it has changed. */
	readonly known?: StoredBlob
	/** The blob is wanted also when somebody else has the lease. */
	readonly readIfBusy?: boolean
}

export interface Commit {
	/** Whose lease it was refreshed under; `undefined` for what is no refresh. */
	readonly holder: string | undefined
	/** It was refreshed a while ago: the lease may have run out since, and somebody else may have refreshed. */
	readonly late?: boolean
	/** The version that was read; it must still be the current one. */
	readonly version: number
	readonly sealed: string
	/** When the longest-lived access token in the blob expires, in milliseconds since the epoch. */
	readonly expiresOn: number
}

export interface NewBlob extends Pick<Commit, 'sealed' | 'expiresOn'> {
	/** Milliseconds that the partition lives. */
	readonly lifetime: number
	/** Which names the user index has it under. */
	readonly mark: string
}

/** `fenced`: the lease has passed to somebody else, whose work counts. */
export type CommitAnswer = 'written' | 'gone' | 'fenced' | StoredBlob

/** Where sealed token caches live. A blob is written over the version that was read, or not at all. */
export interface PartitionStore {
	/** One round trip: reads, and takes the lease where it is wanted and free. */
	open(partition: string, request: OpenRequest): Promise<Opening>
	/** One round trip: writes, and gives the lease back. */
	commit(partition: string, commit: Commit): Promise<CommitAnswer>
	create(partition: string, blob: NewBlob): Promise<void>
	/** @returns false when the lease is somebody else's by now */
	renew(partition: string, holder: string): Promise<boolean>
	/** Gives the lease back with nothing written; with a failure, for the others to know for a while. */
	release(
		partition: string,
		holder: string,
		failure?: { error: WireError; milliseconds: number },
	): Promise<void>
	remove(partition: string): Promise<void>
}

/**
 * The memory store as a worker sees it: the blob comes with the task and leaves with its result, and the main
 * thread, which owns the store and lets one task at a time change a partition, does the writing.
 */
export class CarriedStore implements PartitionStore {
	readonly #stored: StoredBlob | undefined
	readonly #heldOff: WireError | undefined
	/** The blob to be written by the main thread. */
	written: string | undefined
	/** Milliseconds for which nobody is to try again, for the main thread to know. */
	holdOff = 0

	constructor(stored: StoredBlob | undefined, heldOff?: WireError) {
		this.#stored = stored
		this.#heldOff = heldOff
	}

	/** Held off is who needs a lease, as with Redis: what the blob can answer, it answers. */
	async open(_partition: string, { leaseUnlessBeyond }: OpenRequest): Promise<Opening> {
		if (!this.#stored) return { state: 'gone' }
		if (this.#heldOff && leaseUnlessBeyond === Number.POSITIVE_INFINITY)
			return { state: 'held-off', error: this.#heldOff }
		return { state: 'open', stored: this.#stored, leased: leaseUnlessBeyond !== 'never' && !this.#heldOff }
	}

	async commit(_partition: string, { sealed }: Commit): Promise<'written'> {
		this.written = sealed
		return 'written'
	}

	async create(_partition: string, { sealed }: NewBlob): Promise<void> {
		this.written = sealed
	}

	async renew(): Promise<boolean> {
		return true
	}

	async release(_partition: string, _holder: string, failure?: { milliseconds: number }): Promise<void> {
		this.holdOff = failure?.milliseconds ?? 0
	}

	/** The main thread removes what a sign-in replaced, or what could not be opened, on its own account. */
	async remove(): Promise<void> {}
}
