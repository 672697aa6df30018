import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { BrokerError } from '../src/errors.js'
import { redisStore } from './context.js'

/** Milliseconds for which the store's word is believed without asking again. */
const freshness = 1000

/** Tenants of which something is remembered. */
const known = new LRUCache<string, { until: number; checkedAt: number }>({ max: 1000 })

/** A tenant's name for the store: its id is nobody else's business. */
const nameOf = (tenantId: string) => createHash('sha256').update(tenantId).digest('base64url').slice(0, 22)

/** People who are to call less, by partition. The store tells other processes when the lease is given back. */
const sessions = new LRUCache<string, number>({ max: 10_000 })

/**
 * The provider's `Retry-After` is for all of an application's processes, not for the one that was told.
 * @throws ERR_IDP_UNAVAILABLE while the provider wants no calls of this tenant, or of this session
 */
export async function heedThrottling(tenantId: string, partition: string): Promise<void> {
	const tenant = nameOf(tenantId)
	const now = performance.now()
	let state = known.get(tenant)
	if (!state || (redisStore && state.until <= now && state.checkedAt + freshness < now)) {
		// A store that is down keeps nobody from the provider, who says so again if need be.
		const left = (await redisStore?.throttled(tenant).catch(() => 0)) ?? 0
		// The provider may have said something newer meanwhile. Nothing is not "until now": of two that ask at once, the
		// one that asked first would be held off until the other did.
		const until = left > 0 ? now + left : 0
		state = { until: Math.max(until, known.get(tenant)?.until ?? 0), checkedAt: now }
		known.set(tenant, state)
	}
	const until = Math.max(state.until, sessions.get(partition) ?? 0)
	if (until > now)
		throw new BrokerError('ERR_IDP_UNAVAILABLE', 'The provider is throttling this application.', {
			retryAfter: (until - now) / 1000,
		})
}

/** Milliseconds for which this thread knows that the provider wants no calls of a tenant. */
export function throttledFor(tenantId: string): number {
	return Math.max(0, (known.get(nameOf(tenantId))?.until ?? 0) - performance.now())
}

/** Remembers what the provider has asked for: here, and for a tenant in the store. */
export async function rememberThrottling(
	{ whose, seconds }: { readonly whose: 'session' | 'tenant'; readonly seconds: number },
	tenantId: string,
	partition: string,
): Promise<void> {
	const now = performance.now()
	const until = now + seconds * 1000
	if (whose === 'session') {
		sessions.set(partition, Math.max(until, sessions.get(partition) ?? 0))
		return
	}
	const tenant = nameOf(tenantId)
	known.set(tenant, { until: Math.max(until, known.get(tenant)?.until ?? 0), checkedAt: now })
	await redisStore?.throttle(tenant, seconds * 1000).catch(() => {})
}
