/** What a case measures under; written to the results as it is. */
export interface Params {
	/** Sessions that are signed in; of `expired` ones, each is used once a round. */
	readonly sessions: number
	readonly tokens: 'valid' | 'expired'
	/** Operations under way at a time. */
	readonly inFlight: number
	/** `turns`: that many begin together in each turn of the event loop; `lanes`: one ends, the next begins. */
	readonly schedule: 'turns' | 'lanes'
	/** How long a round lasts. Without `operations`, `milliseconds` decides. */
	readonly operations?: number
	readonly milliseconds?: number
	readonly rounds: number
	readonly credential: 'secret' | 'certificate'
	readonly rsaBits?: number
	readonly providerLatencyMs: number
	/** Where token caches are: in the process that is measured, or in Redis. */
	readonly store: 'memory' | 'redis'
}

/** What an arm must have done, or the run fails. */
export interface Expectation {
	/** POSTs that reach the token endpoint, per operation: exactly this many. */
	readonly providerCallsPerOp: number
}

/** One row of a table for each of some arms, named as their files in `arms/`. */
export interface Case {
	readonly params: Params
	readonly arms: Readonly<Record<string, Expectation>>
}

/** What `scenarios/<name>.ts` exports as `scenario`. */
export interface Scenario {
	/** One line for the table's head. */
	readonly summary: string
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
	/** As `monitorEventLoopDelay` counts it: the 1 ms timer itself is included. */
	readonly eventLoopDelayMs: Delay
	readonly latencyMs: { readonly p50: number; readonly p99: number }
	readonly rssMiB: number
	readonly storeCallsPerOp: number
}
