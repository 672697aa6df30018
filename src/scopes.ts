/** Scopes that every request to the provider carries; they choose no resource and play no part in a key. */
const oidcScopes = new Set(['openid', 'profile', 'email', 'offline_access'])

/** Scopes as a key needs them: case and order mean nothing to the provider. */
export interface NormalisedScopes {
	/** As asked, without repetitions: what goes to the provider. */
	readonly asked: readonly string[]
	/** In lower case, sorted, without OpenID Connect's own. */
	readonly wanted: readonly string[]
	readonly key: string
}

export function normaliseScopes(scopes: readonly string[]): NormalisedScopes {
	const asked = [...new Set(scopes)]
	const wanted = [...new Set(asked.map((scope) => scope.toLowerCase()))]
		.filter((scope) => !oidcScopes.has(scope))
		.sort()
	return Object.freeze({ asked, wanted, key: wanted.join(' ') })
}
