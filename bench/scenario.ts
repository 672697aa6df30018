/** What a case measures under; written to the results as it is. */
export interface Params {
	/** `hit`: held in memory. `cached`: valid in the store. `refresh`: expired. `login`: a code is redeemed. */
	readonly operation: 'hit' | 'cached' | 'refresh' | 'login'
	/** Sessions that are signed in; where an operation uses one up, each is used once a round. */
	readonly sessions: number
	/** Only so many of them are asked for. */
	readonly hot?: number
	/** For `memory`: sessions that come when as many as may be held are held. */
	readonly beyond?: number
	/** All sessions hold one and the same token text, so that a million of them fit. */
	readonly sharedToken?: boolean
	/** Access tokens, of one resource each, in a session's cache. Default 1. */
	readonly resources?: number
	/** Operations under way at a time. */
	readonly inFlight: number
	/** `turns`: that many begin together in each turn of the event loop; `lanes`: one ends, the next begins. */
	readonly schedule: 'turns' | 'lanes'
	/** How long a round lasts. Without `operations`, `milliseconds` decides. */
	readonly operations?: number
	readonly milliseconds?: number
	readonly rounds: number
	/** A second pass: operations begin at a fixed rate, whatever becomes of those before. */
	readonly fixedRate?: { readonly arrivalsPerSecond: number; readonly milliseconds: number }
	readonly credential: 'secret' | 'certificate'
	readonly rsaBits?: number
	readonly providerLatencyMs: number
	/** Where token caches are: in the process that is measured, or in Redis. */
	readonly store: 'memory' | 'redis'
	/** Processes that share the store, and whether each of them asks for every session, or for its part of them. */
	readonly processes?: { readonly count: number; readonly ask: 'all' | 'part' }
	/** One of those processes. */
	readonly member?: number
	/** What HTTP requests are made of, for the scenario `http`. */
	readonly http?: HttpParams
}

export interface HttpParams {
	/** `throughput`: as many requests as it takes. `ping`: an unrelated route beside refreshes. */
	readonly load: 'throughput' | 'ping'
	readonly pingsPerSecond?: number
	readonly refreshesPerSecond?: number
}

/** What an arm must have done, or the run fails. */
export interface Expectation {
	/** POSTs that reach the token endpoint, per operation: exactly this many. */
	readonly providerCallsPerOp: number
	/** Or fewer: who comes late finds what somebody else has refreshed, and how many do is chance. */
	readonly orFewer?: boolean
	/** Where an arm cannot do what the others do in a reasonable time: its own bounds, written to the results. */
	readonly bounds?: Partial<Params>
}

/** How a case is run: `runs/<name>.ts`. */
export type RunKind = 'arms' | 'http' | 'processes' | 'memory' | 'start'

/** One row of a table for each of some arms, named as their files in `arms/`. */
export interface Case {
	readonly params: Params
	readonly arms: Readonly<Record<string, Expectation>>
}

/** What `scenarios/<name>.ts` exports as `scenario`. */
export interface Scenario {
	/** One line for the table's head. */
	readonly summary: string
	/** Default `arms`. */
	readonly run?: RunKind
	/** @param available what this machine has */
	cases(options: {
		readonly quick: boolean
		readonly available: { readonly redis: boolean }
	}): readonly Case[]
}

/** What all processes of one run share; a plain value. */
export interface World {
	/** `https://localhost:port` of the canned provider. */
	readonly origin: string
	readonly host: string
	readonly authority: string
	/** The provider's OpenID configuration, as JSON. */
	readonly authorityMetadata: string
	readonly caFile: string
	/** Seconds since the epoch: all processes make the same tokens from it. */
	readonly startedAt: number
	readonly clientCertificate?: { readonly privateKey: string; readonly thumbprintSha256: string }
	readonly redisUrl?: string
}

/** One way to do a scenario's operation, in a process of its own. `T` is what it resolves to. */
export interface Arm<T> {
	/** Before every round, untimed. */
	prepare(): Promise<void>
	/** One operation on a session, from 0 to `params.sessions - 1`. */
	start(session: number): Promise<T>
	/** @throws Error when the operation did not do its work */
	check(session: number, result: T): void
	/** Calls to the token store so far, where there is one. */
	storeCalls?(): Promise<number>
	close?(): Promise<void>
}

/** What `arms/<name>.ts` exports as `createArm`. */
export type CreateArm = (params: Params, world: World) => Promise<Arm<unknown>>

/** Percentiles in milliseconds. */
export interface Delay {
	readonly p50: number
	readonly p99: number
	readonly p999: number
	readonly max: number
}

/** A round in which the event loop was watched, and nothing else. */
export interface WatchedRound {
	readonly operations: number
	/** As `monitorEventLoopDelay` counts it: the 1 ms timer itself is included. */
	readonly eventLoopDelayMs: Delay
}

/** What one round of one arm has shown. */
export interface Measurement {
	readonly operations: number
	readonly opsPerSecond: number
	/** While its event loop was not idle; on a busy machine also while it waited for a processor. */
	readonly mainThreadMicrosPerOp: number
	/** While it was on a processor. Linux only. */
	readonly mainThreadCpuMicrosPerOp?: number
	/** Of all threads of the process. */
	readonly cpuMicrosPerOp: number
	readonly latencyMs: { readonly p50: number; readonly p99: number }
	readonly rssMiB: number
	readonly storeCallsPerOp: number
}

/** What the pass at a fixed rate has shown. Latencies count from when an operation was due. */
export interface FixedRate {
	readonly arrivalsPerSecond: number
	readonly operations: number
	/** Until the last of them was done: longer than the arrivals took, where an arm could not keep up. */
	readonly milliseconds: number
	readonly eventLoopDelayMs: Delay
	readonly latencyMs: { readonly p50: number; readonly p99: number }
	/** The event-loop delay as a distribution: percent and milliseconds. */
	readonly delayPercentiles: readonly (readonly [percent: number, milliseconds: number])[]
	/** The event-loop delay over time: the longest of each tenth of a second, or of longer where it was blocked. */
	readonly delaySeries: readonly (readonly [endMs: number, maxMs: number])[]
}
