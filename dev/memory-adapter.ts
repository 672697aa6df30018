import type { Adapter, AdapterPayload } from 'oidc-provider'

/** Everything a provider remembers; outlives the provider when its keys are rotated. */
export interface MemoryStore {
	readonly entries: Map<string, { payload: AdapterPayload; expiresAt: number }>
	readonly grants: Map<string, Set<string>>
	readonly sessionIds: Map<string, string>
}

/** An empty store. */
export function createMemoryStore(): MemoryStore {
	return { entries: new Map(), grants: new Map(), sessionIds: new Map() }
}

/** Seconds by which an entry outlives its expiry, so that the provider can say "expired" rather than "not found". */
const GRACE = 15

/**
 * The provider's default adapter is an LRU of 1,000 entries for all models together, and a sign-in writes about
 * seven: under load it silently forgets sessions and refresh tokens. This one forgets only the expired.
 */
export function createMemoryAdapter(model: string, store: MemoryStore): Adapter {
	const keyOf = (id: string) => `${model}:${id}`
	const find = (id: string): AdapterPayload | undefined => {
		const entry = store.entries.get(keyOf(id))
		if (entry && entry.expiresAt < Date.now()) {
			store.entries.delete(keyOf(id))
			return undefined
		}
		return entry?.payload
	}
	return {
		async upsert(id, payload, expiresIn) {
			const expiresAt = expiresIn ? Date.now() + (expiresIn + GRACE) * 1000 : Number.POSITIVE_INFINITY
			store.entries.set(keyOf(id), { payload, expiresAt })
			if (payload.grantId) {
				const keys = store.grants.get(payload.grantId) ?? new Set()
				store.grants.set(payload.grantId, keys.add(keyOf(id)))
			}
			if (model === 'Session' && payload.uid) store.sessionIds.set(payload.uid, id)
		},
		async find(id) {
			return find(id)
		},
		async findByUid(uid) {
			const id = store.sessionIds.get(uid)
			return id === undefined ? undefined : find(id)
		},
		async findByUserCode() {
			return undefined
		},
		async consume(id) {
			const payload = find(id)
			if (payload) payload.consumed = Math.floor(Date.now() / 1000)
		},
		async destroy(id) {
			store.entries.delete(keyOf(id))
		},
		async revokeByGrantId(grantId) {
			for (const key of store.grants.get(grantId) ?? []) store.entries.delete(key)
			store.grants.delete(grantId)
		},
	}
}

/** Forgets every code and token of one person, as "revoke sessions" in the portal does. */
export function forgetTokens(store: MemoryStore, accountId: string): void {
	for (const [key, { payload }] of store.entries) {
		const isToken = /^(RefreshToken|AuthorizationCode|AccessToken):/.test(key)
		if (isToken && payload.accountId === accountId) store.entries.delete(key)
	}
}
