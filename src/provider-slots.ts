import { BrokerError } from './errors.js'

/** So many may wait before anybody is refused for the others' sake: of a shorter queue little can be foretold. */
const shortQueue = 64

/** The part of its time after which nobody is let wait: what is foretold is wrong by some, and a late no is the worst. */
const certainty = 0.8

/** The part that the latest slot has in the mean of what came before. */
const newness = 0.05

/**
 * Bounds the calls to the provider that are under way, so that thousands of sessions that expire together do not
 * all call at once. Whoever finds no slot waits for one, first come, first served, as long as it may; and is refused
 * at once when, as fast as slots have been passing on, none would come in time.
 */
export class ProviderSlots {
	readonly #limit: number
	readonly #waiting = new Set<() => void>()
	#taken = 0
	/** Mean of the milliseconds between two slots that passed on to somebody; 0 until there are two. */
	#interval = 0
	#measured = 0
	/** When a slot passed on last, while somebody waits. */
	#passedAt: number | undefined

	constructor(limit: number) {
		this.#limit = limit
	}

	/** Takes a slot if one is free and nobody waits. */
	tryTake(): boolean {
		if (this.#taken >= this.#limit || this.#waiting.size > 0) return false
		this.#taken++
		return true
	}

	/**
	 * @param patience milliseconds to wait at most
	 * @param signal of who no longer wants one, and leaves the queue
	 * @throws ERR_OVERLOADED after that, or at once when it would come to that
	 */
	async take(patience: number, signal?: AbortSignal): Promise<void> {
		if (this.tryTake()) return
		if (patience <= 0) throw tooMany()
		if (this.#waiting.size >= shortQueue && this.#expectedWait() > patience * certainty) throw tooMany()
		await new Promise<void>((resolve, reject) => {
			const end = () => {
				this.#waiting.delete(go)
				clearTimeout(timer)
				signal?.removeEventListener('abort', leave)
			}
			const go = () => {
				end()
				resolve()
			}
			const leave = () => {
				end()
				reject(signal?.reason)
			}
			const timer = setTimeout(() => {
				end()
				reject(tooMany())
			}, patience)
			signal?.addEventListener('abort', leave, { once: true })
			this.#waiting.add(go)
		})
	}

	give(): void {
		const [next] = this.#waiting
		if (next === undefined) {
			this.#taken--
			this.#passedAt = undefined
		} else {
			this.#measure()
			// The slot passes on, so that nobody who comes now is faster than who has waited.
			next()
		}
	}

	/** How long the last in the queue will wait, in milliseconds; longer while no slot passes on at all. */
	#expectedWait(): number {
		const sinceLast = this.#passedAt === undefined ? 0 : performance.now() - this.#passedAt
		return this.#waiting.size * this.#interval + Math.max(0, sinceLast - this.#interval)
	}

	#measure(): void {
		const now = performance.now()
		if (this.#passedAt !== undefined) {
			this.#measured++
			// Slots pass on in bursts: of the first ones all count alike.
			const part = Math.max(newness, 1 / this.#measured)
			this.#interval += part * (now - this.#passedAt - this.#interval)
		}
		this.#passedAt = now
	}
}

function tooMany(): BrokerError {
	return new BrokerError('ERR_OVERLOADED', 'Too many calls are waiting for the provider.', {
		retryAfter: 2,
	})
}
