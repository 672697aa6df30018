import { BrokerError, type BrokerErrorCode } from './errors.js'
import type { WorkerPool } from './worker-pool.js'

/** Milliseconds that a worker has to answer, for the whole to be known within two seconds. */
const patience = 1200

/** Milliseconds that the provider may take for an answer: whoever asks knows within two seconds. */
const providerPatience = 1250

/** What says that the provider, or what it thinks of this application, is not well. */
const providerCodes: ReadonlySet<string> = new Set<BrokerErrorCode>([
	'ERR_IDP_UNAVAILABLE',
	'ERR_IDP_PROTOCOL',
	'ERR_CLIENT_REJECTED',
])

/** Milliseconds for which an answer serves everybody who asks: probes cost the store nothing, however many there are. */
const lasting = 500

/** How one part is that a broker needs. */
export interface PartHealth {
	readonly ok: boolean
	/** What went wrong. */
	readonly code?: BrokerErrorCode
	/** Since when it has not been well. */
	readonly since?: Date
}

/** How a broker is. Nothing of it is secret. */
export interface Health {
	/** Whether new work can be done: a worker answers, and the store takes writes. Load makes nobody less ready. */
	readonly ready: boolean
	readonly workers: PartHealth & {
		/** Threads that are there and answer, of those that should be. */
		readonly threads: number
		readonly wanted: number
	}
	/** Of a Cluster one node is asked. */
	readonly store: PartHealth
	/**
	 * As the last call found it, or one that has waited for its answer for over a second; nobody is called for this. A
	 * provider that is down makes a broker no less ready: whoever holds a valid token is served, and another process would
	 * do no better.
	 */
	readonly provider: PartHealth
}

/** Looks how a broker is, no more often than each half second. */
export class HealthChecks {
	readonly #pool: WorkerPool
	readonly #since = new Map<keyof Health, { readonly code: BrokerErrorCode; readonly since: Date }>()
	#last: { readonly at: number; readonly looked: Promise<Health> } | undefined

	constructor(pool: WorkerPool) {
		this.#pool = pool
	}

	/** What a call to the provider came to; other failures say nothing of it. */
	providerCalled(error?: unknown): void {
		if (error === undefined) this.#since.delete('provider')
		else if (error instanceof BrokerError && providerCodes.has(error.code)) this.#note('provider', error.code)
	}

	look(): Promise<Health> {
		const at = performance.now()
		if (!this.#last || at - this.#last.at > lasting) this.#last = { at, looked: this.#look() }
		return this.#last.looked
	}

	async #look(): Promise<Health> {
		// Promised, so that it does not wait behind whatever load there is.
		const ping = await this.#pool.within(this.#pool.begin('ping', {}, true), patience).catch(codeOf)
		const { threads, wanted, waited, broken } = this.#pool.health
		const answered = typeof ping !== 'string'
		this.#note('workers', broken ? 'ERR_WORKER_FAILED' : answered ? undefined : ping)
		// Without a worker nothing is known of the store.
		if (answered) this.#note('store', ping.store ? undefined : 'ERR_STORE_UNAVAILABLE')
		if (waited > providerPatience) this.#note('provider', 'ERR_IDP_UNAVAILABLE')
		const [workers, store, provider] = [this.#of('workers'), this.#of('store'), this.#of('provider')]
		return { ready: workers.ok && store.ok, workers: { ...workers, threads, wanted }, store, provider }
	}

	#note(part: keyof Health, code: BrokerErrorCode | undefined): void {
		if (code === undefined) this.#since.delete(part)
		else this.#since.set(part, { code, since: this.#since.get(part)?.since ?? new Date() })
	}

	#of(part: keyof Health): PartHealth {
		const failure = this.#since.get(part)
		return failure ? { ok: false, ...failure } : { ok: true }
	}
}

function codeOf(error: unknown): BrokerErrorCode {
	return error instanceof BrokerError ? error.code : 'ERR_WORKER_FAILED'
}
