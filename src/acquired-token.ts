import { inspect } from 'node:util'
import { grantedScopes } from './scopes.js'
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

const expiry = Symbol('expiresOn')
const refresh = Symbol('refreshOn')

/**
 * One object answers many callers, so none of them can change it: dates are made anew each time they are read. They
 * are the token's own properties, so that a copy has them, and share their getters: with two functions of its own a
 * token takes seven times the memory. The times behind them are hidden from a copy but, unlike private fields, not
 * from a proxy of the token or an object that inherits from it.
 */
class Acquired implements AcquiredToken {
	static readonly #dates: PropertyDescriptorMap & ThisType<Acquired> = {
		expiresOn: {
			get() {
				return new Date(this[expiry])
			},
			enumerable: true,
		},
		refreshOn: {
			get() {
				return new Date(this[refresh])
			},
			enumerable: true,
		},
	}
	declare readonly [expiry]: number
	declare readonly [refresh]: number
	declare readonly expiresOn: Date
	declare readonly refreshOn: Date

	constructor(
		readonly accessToken: string,
		readonly tokenType: string,
		readonly scopes: readonly string[],
		readonly account: SignedInAccount,
		readonly outcome: Outcome,
		expiresOn: number,
		refreshOn: number,
	) {
		Object.defineProperties(this, Acquired.#dates)
		Object.defineProperty(this, expiry, { value: expiresOn })
		Object.defineProperty(this, refresh, { value: refreshOn })
		Object.freeze(this)
	}

	/** Shows dates where there would be `[Getter]`. */
	[inspect.custom](): AcquiredToken {
		return { ...this }
	}
}

/** Revives a token that came over the thread. */
export function toAcquiredToken(
	{ accessToken, tokenType, scopes, expiresOn }: WireToken,
	account: SignedInAccount,
	refreshOn: number,
	outcome: Outcome,
): AcquiredToken {
	const shared = Object.isFrozen(account) ? account : Object.freeze({ ...account })
	const { list } = grantedScopes(scopes)
	return new Acquired(accessToken, tokenType, list, shared, outcome, expiresOn, refreshOn)
}

/** The same token, come by otherwise. */
export function withOutcome(token: AcquiredToken, outcome: Outcome): AcquiredToken {
	const { accessToken, tokenType, scopes, account, expiresOn, refreshOn } = token
	return new Acquired(
		accessToken,
		tokenType,
		scopes,
		account,
		outcome,
		expiresOn.getTime(),
		refreshOn.getTime(),
	)
}
