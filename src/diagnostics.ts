import { channel } from 'node:diagnostics_channel'
import type { Outcome } from './acquired-token.js'
import type { BrokerErrorCode } from './errors.js'

/**
 * One answer of `acquireSilent`, as published on the channel `koa-msal:acquire`. No token, no person. Times are
 * milliseconds; those that a call did not need are absent.
 */
export interface Acquisition {
	/** How the token was come by; absent when the call failed. */
	readonly outcome?: Outcome
	readonly error?: BrokerErrorCode
	/** From the call to its answer; 0 for one from memory. */
	readonly duration: number
	/** Callers who joined this one's task and got its answer. */
	readonly joined?: number
	/** For which the task waited for a worker. */
	readonly queued?: number
	/** For which another process's refresh of the same session was waited for. */
	readonly leaseWait?: number
}

const acquisitions = channel('koa-msal:acquire')

/** Free while nobody listens: not even the object is made. */
export function publishAcquisition(acquisition: () => Acquisition): void {
	if (acquisitions.hasSubscribers) acquisitions.publish(acquisition())
}
