/** Work under way for one partition and key. */
export interface Flight<T> {
	readonly result: Promise<T>
	/** The partition was signed out while the work ran: its result is nobody's. */
	readonly abandoned: boolean
}

/** One piece of work per partition and key at a time; whoever comes while it runs joins it. */
export class SingleFlight<T> {
	readonly #flights = new Map<string, Map<string, { result: Promise<T>; abandoned: boolean }>>()

	/** Starts `work`, or joins the one under way. `work` is told its flight, to see whether it was abandoned. */
	join(
		partition: string,
		key: string,
		work: (flight: Pick<Flight<T>, 'abandoned'>) => Promise<T>,
	): { readonly result: Promise<T>; readonly joined: boolean } {
		const known = this.#flights.get(partition)?.get(key)
		if (known) return { result: known.result, joined: true }
		const flight: { result: Promise<T>; abandoned: boolean } = {
			result: undefined as never,
			abandoned: false,
		}
		const flights = this.#flights.get(partition) ?? new Map()
		this.#flights.set(partition, flights.set(key, flight))
		flight.result = work(flight).finally(() => {
			if (flights.get(key) === flight) flights.delete(key)
			if (flights.size === 0 && this.#flights.get(partition) === flights) this.#flights.delete(partition)
		})
		return { result: flight.result, joined: false }
	}

	/** Lets go of a partition's flights: nobody joins them any more and their results are dropped. */
	abandon(partition: string): void {
		for (const flight of this.#flights.get(partition)?.values() ?? []) flight.abandoned = true
		this.#flights.delete(partition)
	}

	/** Waits until nothing is under way. */
	async settled(): Promise<void> {
		const running = [...this.#flights.values()].flatMap((flights) => [...flights.values()])
		await Promise.allSettled(running.map((flight) => flight.result))
	}
}
