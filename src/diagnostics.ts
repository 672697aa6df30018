import { channel } from 'node:diagnostics_channel'
import type { Outcome } from './acquired-token.js'
import type { BrokerErrorCode } from './errors.js'
import type { ProfilePart } from './profile.js'

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

/**
 * A part of a profile that a sign-in went on without, as published on the channel `koa-msal:profile`. No person.
 */
export interface ProfileFailure {
	/** `mail`: that the user can be found by their mail address. */
	readonly part: ProfilePart
	readonly error: BrokerErrorCode
	/** Milliseconds until it failed. */
	readonly duration: number
}

const acquisitions = channel('koa-msal:acquire')
const profileFailures = channel('koa-msal:profile')

/** Free while nobody listens: not even the object is made. */
export function publishAcquisition(acquisition: () => Acquisition): void {
	if (acquisitions.hasSubscribers) acquisitions.publish(acquisition())
}

/** Free while nobody listens. */
export function publishProfileFailure(failure: () => ProfileFailure): void {
	if (profileFailures.hasSubscribers) profileFailures.publish(failure())
}
