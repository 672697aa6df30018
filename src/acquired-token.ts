import type { SignedInAccount, WireToken } from './wire.js'

/**
 * How a token was come by: from memory (`hit`; `stale` when a refresh now runs behind it), from another
 * caller's acquisition under way (`inflight`), from the stored blob (`cached`), from the provider (`refreshed`).
 */
export type Outcome = 'hit' | 'stale' | 'inflight' | 'cached' | 'refreshed'

/** An access token, ready for use. Frozen. */
export interface AcquiredToken {
	/** The value of `Authorization: Bearer …`. Never log it. */
	readonly accessToken: string
	readonly tokenType: string
	/** When it expires. */
	readonly expiresOn: Date
	/** When a refresh behind it begins. */
	readonly refreshOn: Date
	/** The scopes that were granted. */
	readonly scopes: readonly string[]
	readonly account: SignedInAccount
	readonly outcome: Outcome
}

/**
 * Revives a token that came over the thread. One object answers many callers, so none of them can change it:
 * dates are made anew each time they are read.
 */
export function toAcquiredToken(
	token: WireToken,
	account: SignedInAccount,
	refreshOn: number,
	outcome: Outcome,
): AcquiredToken {
	const { accessToken, tokenType, expiresOn } = token
	return Object.freeze({
		accessToken,
		tokenType,
		get expiresOn() {
			return new Date(expiresOn)
		},
		get refreshOn() {
			return new Date(refreshOn)
		},
		scopes: Object.freeze([...token.scopes]),
		account: Object.freeze({ ...account }),
		outcome,
	})
}

/** The same token, come by otherwise. */
export function withOutcome(token: AcquiredToken, outcome: Outcome): AcquiredToken {
	const copy = Object.getOwnPropertyDescriptors(token)
	return Object.freeze(
		Object.defineProperties({} as AcquiredToken, { ...copy, outcome: { ...copy.outcome, value: outcome } }),
	)
}
