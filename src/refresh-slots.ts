import { BrokerError } from './errors.js'

/**
 * Bounds the calls to the provider that are under way, so that thousands of sessions that expire together do not
 * all call at once. Whoever finds no slot waits for one, first come, first served, until its deadline.
 */
export class RefreshSlots {
	readonly #limit: number
	readonly #waiting = new Set<() => void>()
	#taken = 0

	constructor(limit: number) {
		this.#limit = limit
	}

	/** Takes a slot if one is free and nobody waits. */
	tryTake(): boolean {
		if (this.#taken >= this.#limit || this.#waiting.size > 0) return false
		this.#taken++
		return true
	}

	/** @throws ERR_OVERLOADED at the deadline (milliseconds since the epoch) */
	async take(deadline: number): Promise<void> {
		if (this.tryTake()) return
		await new Promise<void>((resolve, reject) => {
			const go = () => {
				clearTimeout(timer)
				resolve()
			}
			const timer = setTimeout(() => {
				this.#waiting.delete(go)
				reject(
					new BrokerError('ERR_OVERLOADED', 'Too many refreshes are waiting for the provider.', {
						retryAfter: 2,
					}),
				)
			}, deadline - Date.now())
			this.#waiting.add(go)
		})
	}

	give(): void {
		const [next] = this.#waiting
		if (next === undefined) this.#taken--
		else {
			// The slot passes on, so that nobody who comes now is faster than who has waited.
			this.#waiting.delete(next)
			next()
		}
	}
}
