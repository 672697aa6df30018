import { BrokerError } from './errors.js'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Work under way for one partition and key. */
export interface Flight<T> {
	readonly result: Promise<T>
	/** The partition was signed out while the work ran: its result is nobody's. */
	readonly abandoned: boolean
	/** Who came while the work ran. */
	readonly joined: number
}

/** One piece of work per partition and key at a time; whoever comes while it runs joins it. */
export class SingleFlight<T> {
	readonly #most: number
	readonly #flights = new Map<string, Map<string, Mutable<Flight<T>>>>()

	/** @param most pieces of work for one partition at a time */
	constructor(most = Number.POSITIVE_INFINITY) {
		this.#most = most
	}

	/** Starts `work`, or joins the one under way. `work` is told its flight, to see whether it was abandoned. Fails with ERR_OVERLOADED. */
	join(
		partition: string,
		key: string,
		work: (flight: Omit<Flight<T>, 'result'>) => Promise<T>,
	): { readonly result: Promise<T>; readonly joined: boolean } {
		const known = this.#flights.get(partition)?.get(key)
		if (known) {
			known.joined++
			return { result: known.result, joined: true }
		}
		if ((this.#flights.get(partition)?.size ?? 0) >= this.#most)
			return {
				result: Promise.reject(
					new BrokerError('ERR_OVERLOADED', 'This session asks for too much at a time.', { retryAfter: 1 }),
				),
				joined: false,
			}
		const flight: Mutable<Flight<T>> = { result: undefined as never, abandoned: false, joined: 0 }
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
