import { LRUCache } from 'lru-cache'
import type { UnsavedBlob } from './wire.js'

/** Milliseconds between two tries to write. */
const interval = 500

/** Blobs kept at most; a blob is some 8 KB. */
const most = 10_000

/**
 * Refreshed blobs that the store could not take. Under a provider that rotates refresh tokens strictly they are
 * the only ones that still work: they are kept, used, and written as soon as the store is back.
 */
export class UnsavedBlobs {
	readonly #save: (partition: string, blob: UnsavedBlob) => Promise<void>
	readonly #blobs = new LRUCache<string, UnsavedBlob>({ max: most })
	#timer: NodeJS.Timeout | undefined
	#closed = false

	/** @param save rejects while the store can't be reached */
	constructor(save: (partition: string, blob: UnsavedBlob) => Promise<void>) {
		this.#save = save
	}

	get size(): number {
		return this.#blobs.size
	}

	get(partition: string): UnsavedBlob | undefined {
		return this.#blobs.get(partition)
	}

	keep(partition: string, blob: UnsavedBlob): void {
		this.#blobs.set(partition, blob)
		this.#schedule()
	}

	drop(partition: string): void {
		this.#blobs.delete(partition)
	}

	/** Tries once more, now. */
	async close(): Promise<void> {
		this.#closed = true
		clearTimeout(this.#timer)
		await this.#saveAll()
	}

	#schedule(): void {
		if (this.#closed || this.#timer) return
		this.#timer = setTimeout(async () => {
			await this.#saveAll()
			this.#timer = undefined
			if (this.#blobs.size > 0) this.#schedule()
		}, interval)
		this.#timer.unref()
	}

	/** The first that fails ends the round: the others would wait for the same store. */
	async #saveAll(): Promise<void> {
		for (const [partition, blob] of [...this.#blobs.entries()]) {
			try {
				await this.#save(partition, blob)
			} catch {
				return
			}
			if (this.#blobs.peek(partition) === blob) this.#blobs.delete(partition)
		}
	}
}
