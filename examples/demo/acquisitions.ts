import type { AcquiredToken, Outcome, SilentRequest } from '../../src/index.js'

/** One acquisition, as it is shown: how it went, never what it brought. */
export interface Call {
	readonly what: string
	readonly outcome: Outcome
	/** Milliseconds. */
	readonly took: number
	/** Milliseconds since the epoch. */
	readonly at: number
	/** Calls of the same moment that joined this one. */
	readonly joined?: number
}

/** Something to try: a button, and the address that it posts to. */
export interface Action {
	readonly name: string
	readonly path: string
	readonly request: SilentRequest
	/** How often it is asked for at the same moment. */
	readonly times: number
}

export const actions: readonly Action[] = [
	{ name: 'Acquire again', path: '/token/acquire', request: {}, times: 1 },
	{ name: 'Force a refresh', path: '/token/refresh', request: { forceRefresh: true }, times: 1 },
	{ name: 'Ten at once', path: '/token/ten', request: { forceRefresh: true }, times: 10 },
]

/** Acquires a token and takes the time. */
export async function timed(
	what: string,
	acquire: () => Promise<AcquiredToken>,
): Promise<{ token: AcquiredToken; call: Call }> {
	const started = performance.now()
	const token = await acquire()
	const took = performance.now() - started
	return { token, call: { what, outcome: token.outcome, took, at: Date.now() } }
}
