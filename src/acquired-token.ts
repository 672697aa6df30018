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
	{ accessToken, tokenType, scopes, expiresOn }: WireToken,
	account: SignedInAccount,
	refreshOn: number,
	outcome: Outcome,
): AcquiredToken {
	const shared = Object.isFrozen(account) ? account : Object.freeze({ ...account })
	return create(accessToken, tokenType, Object.freeze([...scopes]), shared, outcome, expiresOn, refreshOn)
}

/** The same token, come by otherwise. */
export function withOutcome(token: AcquiredToken, outcome: Outcome): AcquiredToken {
	const { accessToken, tokenType, scopes, account } = token
	const [expiresOn, refreshOn] = [token.expiresOn.getTime(), token.refreshOn.getTime()]
	return create(accessToken, tokenType, scopes, account, outcome, expiresOn, refreshOn)
}

/** One object answers many callers, so none of them can change it: dates are made anew each time they are read. */
function create(
	accessToken: string,
	tokenType: string,
	scopes: readonly string[],
	account: SignedInAccount,
	outcome: Outcome,
	expiresOn: number,
	refreshOn: number,
): AcquiredToken {
	return Object.freeze({
		accessToken,
		tokenType,
		get expiresOn() {
			return new Date(expiresOn)
		},
		get refreshOn() {
			return new Date(refreshOn)
		},
		scopes,
		account,
		outcome,
	})
}
