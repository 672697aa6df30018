import { LRUCache } from 'lru-cache'

/** Milliseconds between two rounds. */
const interval = 500

/** Items kept at most; a blob is some 8 KB. */
const most = 10_000

/** How an item was sent; `later` leaves it for another round. It throws while the store can't be reached. */
export type Send<T> = (partition: string, item: T) => Promise<'done' | 'later'>

/**
 * What the store could not be told, by partition: refreshed blobs, which under a provider that rotates refresh
 * tokens strictly are the only ones that still work, and sign-outs. Kept, and told as soon as the store is back.
 */
export class Outbox<T extends object> {
	readonly #send: Send<T>
	readonly #items: LRUCache<string, T>
	#timer: NodeJS.Timeout | undefined
	#closed = false

	constructor(what: string, send: Send<T>) {
		this.#send = send
		this.#items = new LRUCache<string, T>({
			max: most,
			noDisposeOnSet: true,
			dispose: (_item, _partition, reason) => {
				if (reason === 'evict')
					process.emitWarning(`too many ${what} wait for the store: one is lost`, 'KoaMsalWarning')
			},
		})
	}

	get size(): number {
		return this.#items.size
	}

	get(partition: string): T | undefined {
		return this.#items.get(partition)
	}

	keep(partition: string, item: T): void {
		this.#items.set(partition, item)
		this.#schedule()
	}

	drop(partition: string): void {
		this.#items.delete(partition)
	}

	/** Tries once more, now. */
	async close(): Promise<void> {
		this.#closed = true
		clearTimeout(this.#timer)
		await this.#sendAll()
	}

	#schedule(): void {
		if (this.#closed || this.#timer) return
		this.#timer = setTimeout(async () => {
			await this.#sendAll()
			this.#timer = undefined
			if (this.#items.size > 0) this.#schedule()
		}, interval)
		this.#timer.unref()
	}

	/**
	 * The first that throws ends the round: the others would wait for the same store. It comes last in the next one,
	 * so that an item that can never be sent holds nobody up.
	 */
	async #sendAll(): Promise<void> {
		for (const partition of [...this.#items.rkeys()]) {
			// It may have been dropped or replaced since the round began.
			const item = this.#items.peek(partition)
			if (!item) continue
			try {
				if ((await this.#send(partition, item)) === 'later') continue
			} catch {
				this.#items.get(partition)
				return
			}
			if (this.#items.peek(partition) === item) this.#items.delete(partition)
		}
	}
}
