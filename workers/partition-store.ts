import type { StoredBlob } from '../src/wire.js'

/** Where sealed token caches live. A blob is written over the version that was read, or not at all. */
export interface PartitionStore {
	read(partition: string): Promise<StoredBlob | undefined>
	/** @param lifetime milliseconds */
	create(partition: string, sealed: string, lifetime: number): Promise<void>
	/** @returns the newer blob when somebody else was faster; `gone` when the partition was deleted. */
	commit(partition: string, version: number, sealed: string): Promise<'written' | 'gone' | StoredBlob>
	remove(partition: string): Promise<void>
}

/**
 * The memory store as a worker sees it: blobs come with the task and leave with its result, and the main
 * thread, which owns the store, does the writing.
 */
export class CarriedStore implements PartitionStore {
	readonly #stored: ReadonlyMap<string, StoredBlob>
	/** The blob to be written by the main thread. */
	written: string | undefined

	constructor(stored: ReadonlyMap<string, StoredBlob>) {
		this.#stored = stored
	}

	async read(partition: string): Promise<StoredBlob | undefined> {
		return this.#stored.get(partition)
	}

	async create(_partition: string, sealed: string): Promise<void> {
		this.written = sealed
	}

	async commit(_partition: string, _version: number, sealed: string): Promise<'written'> {
		this.written = sealed
		return 'written'
	}

	/** The main thread removes what a sign-in replaced, or what could not be opened, on its own account. */
	async remove(): Promise<void> {}
}
