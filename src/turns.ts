/** One piece of work per name at a time, first come, first served. */
export class Turns {
	readonly #last = new Map<string, Promise<unknown>>()

	/** Whether somebody has his turn, or waits for it. */
	has(name: string): boolean {
		return this.#last.has(name)
	}

	async take<T>(name: string, work: () => Promise<T>): Promise<T> {
		const before = this.#last.get(name) ?? Promise.resolve()
		const turn = before.then(work, work)
		this.#last.set(name, turn)
		try {
			return await turn
		} finally {
			if (this.#last.get(name) === turn) this.#last.delete(name)
		}
	}
}
