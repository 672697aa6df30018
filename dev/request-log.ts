import type { RequestKind } from './exchange.js'

/** One request that the provider received. */
export interface LogEntry {
	readonly kind: RequestKind
	readonly method: string
	/** Without the query. */
	readonly path: string
	/** `grant_type` of a token request. */
	readonly grant?: string
	/** The client's own number for a token request (`client-request-id`). */
	readonly correlationId?: string
	/** It reached the provider: what was asked for is done, whether or not the answer arrives. */
	passed?: boolean
	/** Missing while unanswered, and for ever when the connection was cut. */
	status?: number
	/** Milliseconds from arrival to the end of the answer. */
	ms?: number
}

/** The requests received, oldest first. */
export interface RequestLog {
	readonly entries: LogEntry[]
	count(kind: RequestKind | '*', grant?: string): number
	clear(): void
}

const MOST_ENTRIES = 10_000

/** A log of the newest 10,000 requests. */
export function createRequestLog(): RequestLog & { add(entry: LogEntry): void } {
	const entries: LogEntry[] = []
	return {
		entries,
		add(entry) {
			entries.push(entry)
			if (entries.length > MOST_ENTRIES) entries.shift()
		},
		count: (kind, grant) =>
			entries.filter((e) => (kind === '*' || e.kind === kind) && (grant === undefined || e.grant === grant))
				.length,
		clear() {
			entries.length = 0
		},
	}
}
