import { LRUCache } from 'lru-cache'
import { canonicalScope } from './canonical-scope.js'

/** Scopes that every request to the provider carries; they choose no resource and play no part in a key. */
const oidcScopes = new Set(['openid', 'profile', 'email', 'offline_access'])

/** Scopes as a key needs them: case, order and Graph's address before its own mean nothing to the provider. */
export interface NormalisedScopes {
	/** As asked, without repetitions: what goes to the provider. */
	readonly asked: readonly string[]
	/** As {@link canonicalScope} writes them, sorted, without OpenID Connect's own. */
	readonly wanted: readonly string[]
	readonly key: string
}

export function normaliseScopes(scopes: readonly string[]): NormalisedScopes {
	const asked = [...new Set(scopes)]
	const wanted = [...new Set(asked.map(canonicalScope))].filter((scope) => !oidcScopes.has(scope)).sort()
	return Object.freeze({ asked, wanted, key: wanted.join(' ') })
}

/** Whether a scope is in both, OpenID Connect's own apart: those are in the tokens of every resource. */
export function shareScope(some: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
	for (const scope of some) if (others.has(scope) && !oidcScopes.has(scope)) return true
	return false
}

/** Scopes as the provider granted them. Frozen, and the same object for everybody who is granted the same. */
export interface GrantedScopes {
	readonly list: readonly string[]
	/** As {@link canonicalScope} writes them. */
	readonly set: ReadonlySet<string>
}

/** People of one application are granted the same few; a set of its own for each takes more memory than a session. */
const granted = new LRUCache<string, GrantedScopes>({ max: 1000 })

export function grantedScopes(scopes: readonly string[]): GrantedScopes {
	const text = scopes.join(' ')
	let known = granted.get(text)
	if (!known) {
		known = Object.freeze({
			list: Object.freeze([...scopes]),
			set: new Set(scopes.map(canonicalScope)),
		})
		granted.set(text, known)
	}
	return known
}
