import { LRUCache } from 'lru-cache'

/** Milliseconds between two rounds. */
const interval = 500

/** Items kept at most; a blob is some 8 KB. */
const most = 10_000

/** Items that are sent at a time: one that cannot be told takes the store's patience, three quarters of a second. */
const width = 128

/** How an item was sent; `later` leaves it for another round. It throws while the store can't be reached. */
export type Send<T> = (partition: string, item: T) => Promise<'done' | 'later'>

/**
 * What the store could not be told, by partition: refreshed blobs, which under a provider that rotates refresh
 * tokens strictly are the only ones that still work, and sign-outs. Kept, and told as soon as the store is back.
 */
export class Outbox<T extends object> {
	readonly #send: Send<T>
	readonly #items: LRUCache<string, T>
	readonly #failed = new WeakSet<T>()
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
		return this.#items.peek(partition)
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
	 * Several at a time, so that a part of the store that is away holds up nothing of the others; what failed before comes
	 * last. When so many fail in a row the store is taken to be away, and the round ends.
	 */
	async #sendAll(): Promise<void> {
		const partitions = [...this.#items.rkeys()]
		const waiting = [
			...partitions.filter((partition) => !this.#hasFailed(partition)),
			...partitions.filter((partition) => this.#hasFailed(partition)),
		].values()
		const underWay = new Set<Promise<void>>()
		let failures = 0
		const fill = () => {
			while (failures + underWay.size < width) {
				const { value: partition } = waiting.next()
				if (partition === undefined) return
				const sent = this.#sendOne(partition).then((came) => {
					if (came === 'arrived') failures = 0
					else if (came === 'failed') failures++
					underWay.delete(sent)
				})
				underWay.add(sent)
			}
		}
		for (fill(); underWay.size > 0; fill()) await Promise.race(underWay)
	}

	#hasFailed(partition: string): boolean {
		const item = this.#items.peek(partition)
		return item !== undefined && this.#failed.has(item)
	}

	async #sendOne(partition: string): Promise<'arrived' | 'failed' | 'dropped'> {
		// It may have been dropped or replaced since the round began.
		const item = this.#items.peek(partition)
		if (!item) return 'dropped'
		try {
			const how = await this.#send(partition, item)
			if (how === 'done' && this.#items.peek(partition) === item) this.#items.delete(partition)
			return 'arrived'
		} catch {
			this.#failed.add(item)
			// Behind the others that failed, in the next round.
			this.#items.get(partition)
			return 'failed'
		}
	}
}
