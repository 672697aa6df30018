import { BrokerError } from './errors.js'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Work under way for one partition and key. */
export interface Flight<T> {
	readonly result: Promise<T>
	/** The partition was signed out while the work ran: its result is nobody's. */
	readonly abandoned: boolean
	/** Who came while the work ran. */
	readonly joined: number
	/**
	 * Waits for something before the work goes on, and gives it up when nobody waits for the flight any more: then its
	 * signal is aborted, and who comes later begins anew.
	 */
	whileWanted<W>(wait: (signal: AbortSignal) => Promise<W>): Promise<W>
}

/** A caller's part in a flight. */
export interface Seat<T> {
	readonly result: Promise<T>
	readonly joined: boolean
	/** This caller no longer waits. */
	leave(): void
}

interface OwnFlight<T> extends Mutable<Flight<T>> {
	/** Who waits still. */
	callers: number
	leave(): void
}

/** One piece of work per partition and key at a time; whoever comes while it runs joins it. */
export class SingleFlight<T> {
	readonly #most: number
	readonly #flights = new Map<string, Map<string, OwnFlight<T>>>()
	readonly #waits = new Set<AbortController>()
	#ended: Error | undefined

	/** @param most pieces of work for one partition at a time */
	constructor(most = Number.POSITIVE_INFINITY) {
		this.#most = most
	}

	/** Starts `work`, or joins the one under way. `work` is told its flight, to see whether it was abandoned. Fails with ERR_OVERLOADED. */
	join(partition: string, key: string, work: (flight: Omit<Flight<T>, 'result'>) => Promise<T>): Seat<T> {
		const known = this.#flights.get(partition)?.get(key)
		if (known) {
			known.joined++
			known.callers++
			return { result: known.result, joined: true, leave: () => known.leave() }
		}
		if ((this.#flights.get(partition)?.size ?? 0) >= this.#most)
			return {
				result: Promise.reject(
					new BrokerError('ERR_OVERLOADED', 'This session asks for too much at a time.', { retryAfter: 1 }),
				),
				joined: false,
				leave() {},
			}
		const flights = this.#flights.get(partition) ?? new Map()
		const forget = () => {
			if (flights.get(key) === flight) flights.delete(key)
			if (flights.size === 0 && this.#flights.get(partition) === flights) this.#flights.delete(partition)
		}
		let waiting: AbortController | undefined
		const waits = this.#waits
		const ended = () => this.#ended
		const giveUp = () => {
			if (!waiting || flight.callers > 0) return
			forget()
			waiting.abort()
		}
		const flight: OwnFlight<T> = {
			result: undefined as never,
			abandoned: false,
			joined: 0,
			callers: 1,
			leave() {
				flight.callers--
				giveUp()
			},
			async whileWanted(wait) {
				if (ended()) throw ended()
				const own = new AbortController()
				waiting = own
				waits.add(own)
				try {
					giveUp()
					own.signal.throwIfAborted()
					return await wait(own.signal)
				} catch (error) {
					throw own.signal.aborted ? own.signal.reason : error
				} finally {
					waiting = undefined
					waits.delete(own)
				}
			},
		}
		this.#flights.set(partition, flights.set(key, flight))
		flight.result = work(flight).finally(forget)
		return { result: flight.result, joined: false, leave: () => flight.leave() }
	}

	/** Lets go of a partition's flights: nobody joins them any more and their results are dropped. */
	abandon(partition: string): void {
		for (const flight of this.#flights.get(partition)?.values() ?? []) flight.abandoned = true
		this.#flights.delete(partition)
	}

	/** Nothing is waited for any more before work goes on; what goes on is waited for by {@link settled}. */
	endWaits(reason: Error): void {
		this.#ended = reason
		for (const wait of this.#waits) wait.abort(reason)
	}

	/** Waits until nothing is under way. */
	async settled(): Promise<void> {
		const running = [...this.#flights.values()].flatMap((flights) => [...flights.values()])
		await Promise.allSettled(running.map((flight) => flight.result))
	}
}
