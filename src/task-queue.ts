/**
 * Tasks that wait for a thread. Those that go on with what was let in before, and newcomers, are taken in turns, each
 * first come, first served: who has waited for the provider's turn does not wait behind thousands once more.
 */
export class TaskQueue<T> {
	readonly #isPromised: (task: T) => boolean
	readonly #promised = new Set<T>()
	readonly #newcomers = new Set<T>()
	/** Taken, and given back because no thread had room. */
	readonly #returned: T[] = []
	#turn = false

	constructor(isPromised: (task: T) => boolean) {
		this.#isPromised = isPromised
	}

	get size(): number {
		return this.#returned.length + this.#promised.size + this.#newcomers.size
	}

	push(task: T): void {
		const queue = this.#isPromised(task) ? this.#promised : this.#newcomers
		queue.add(task)
	}

	unshift(task: T): void {
		this.#returned.push(task)
	}

	shift(): T | null {
		const returned = this.#returned.pop()
		if (returned !== undefined) return returned
		this.#turn = !this.#turn
		const queues = [this.#promised, this.#newcomers]
		for (const queue of this.#turn ? queues : queues.toReversed())
			for (const task of queue) {
				queue.delete(task)
				return task
			}
		return null
	}

	remove(task: T): void {
		const at = this.#returned.indexOf(task)
		if (at >= 0) this.#returned.splice(at, 1)
		this.#promised.delete(task)
		this.#newcomers.delete(task)
	}
}
