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

/** Revives a token that came over the thread. */
export function toAcquiredToken(
	token: WireToken,
	account: SignedInAccount,
	refreshOn: number,
	outcome: Outcome,
): AcquiredToken {
	return Object.freeze({
		accessToken: token.accessToken,
		tokenType: token.tokenType,
		expiresOn: new Date(token.expiresOn),
		refreshOn: new Date(refreshOn),
		scopes: Object.freeze([...token.scopes]),
		account,
		outcome,
	})
}

/** The same token, come by otherwise. */
export function withOutcome(token: AcquiredToken, outcome: Outcome): AcquiredToken {
	return Object.freeze({ ...token, outcome })
}
