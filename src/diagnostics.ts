import { channel } from 'node:diagnostics_channel'
import type { Outcome } from './acquired-token.js'

/** One answer of `acquireSilent`, as published on the channel `koa-msal:acquire`. No token, no person. */
export interface Acquisition {
	readonly outcome: Outcome
	/** Milliseconds from the call to the pool to its answer; 0 for one from memory. */
	readonly milliseconds: number
}

const acquisitions = channel('koa-msal:acquire')

/** Free while nobody listens. */
export function publishAcquisition(acquisition: Acquisition): void {
	if (acquisitions.hasSubscribers) acquisitions.publish(acquisition)
}
