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
 * One use of `forUser`, as published on the channel `koa-msal:out-of-band`: who had a token of theirs asked for, and
 * what came of it. Never a token, nor a name.
 */
export interface OutOfBandUse {
	readonly tenantId: string
	/** Absent when the user was referred to by an alias, and that led to nobody or to two. */
	readonly objectId?: string
	readonly scopes: readonly string[]
	/** How the token was come by. */
	readonly outcome: Outcome | 'failed'
	readonly error?: BrokerErrorCode
	/** As in the provider's logs. */
	readonly correlationId: string
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
const outOfBandUses = channel('koa-msal:out-of-band')
const profileFailures = channel('koa-msal:profile')

/** Free while nobody listens: not even the object is made. */
export function publishAcquisition(acquisition: () => Acquisition): void {
	if (acquisitions.hasSubscribers) acquisitions.publish(acquisition())
}

/** Told before the token is handed out. */
export function publishOutOfBandUse(use: () => OutOfBandUse): void {
	if (outOfBandUses.hasSubscribers) outOfBandUses.publish(use())
}

/** Free while nobody listens. */
export function publishProfileFailure(failure: () => ProfileFailure): void {
	if (profileFailures.hasSubscribers) profileFailures.publish(failure())
}
