/** When a fault strikes; common to the provider and Graph. */
export interface FaultTiming {
	/** How often it strikes. Default 1. */
	readonly times?: number
	/** How many requests that match pass before. Default 0. */
	readonly skip?: number
	/** Waits before anything else, milliseconds. Alone, the request is then answered normally. */
	readonly delayMs?: number
	/** Cuts the connection before any byte. */
	readonly drop?: boolean
	/** Sends the beginning of an answer, then cuts the connection; what was asked for is not done. */
	readonly halfBody?: boolean
	/** Sends the beginning of an answer, and never the rest. */
	readonly stall?: boolean
	/** The same, with a byte more each 50 milliseconds. */
	readonly drip?: boolean
	/** Never answers. */
	readonly hang?: boolean
}

/** Changes a successful token answer, for instance to forge its id_token. */
export type TokenRewrite = (
	answer: Record<string, unknown>,
) => Record<string, unknown> | Promise<Record<string, unknown>>

/** Faults waiting for their requests. */
export interface FaultQueue<Fault extends FaultTiming, Request> {
	add(...faults: Fault[]): void
	/** The fault that strikes this request, counted down. */
	take(request: Request): Fault | undefined
	clear(): void
}

/** @param matches whether a fault is meant for a request */
export function createFaultQueue<Fault extends FaultTiming, Request>(
	matches: (fault: Fault, request: Request) => boolean,
): FaultQueue<Fault, Request> {
	let waiting: { fault: Fault; times: number; skip: number }[] = []
	return {
		add(...faults) {
			waiting.push(...faults.map((fault) => ({ fault, times: fault.times ?? 1, skip: fault.skip ?? 0 })))
		},
		take(request) {
			const meant = waiting.filter(({ fault }) => matches(fault, request))
			const striking = meant.find(({ skip }) => skip <= 0)
			for (const entry of meant) if (entry.skip > 0) entry.skip--
			if (striking) {
				striking.times--
				waiting = waiting.filter(({ times }) => times > 0)
			}
			return striking?.fault
		},
		clear() {
			waiting = []
		},
	}
}
