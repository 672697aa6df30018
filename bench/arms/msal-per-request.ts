import {
	type AccountInfo,
	type AuthenticationResult,
	ConfidentialClientApplication,
	DistributedCachePlugin,
	type ICacheClient,
} from '@azure/msal-node'
import { Redis } from 'ioredis'
import { clientId, clientSecret, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createSessionMaker, requireCertificate, type SeededSession } from '../sessions.js'
import { countCommands, requireRedis } from '../token-store.js'

interface MsalSession {
	readonly partition: string
	readonly account: AccountInfo
}

/**
 * msal-node as its documentation recommends for web applications: a client per request, its cache filled from the
 * user's partition by `DistributedCachePlugin`, the account kept in the session. In its favour: the authority's
 * metadata is given, partitions in memory cost a `Map` look-up, and nothing is sealed.
 * https://learn.microsoft.com/entra/msal/javascript/node/caching
 */
export async function createArm(params: Params, world: World): Promise<Arm<AuthenticationResult>> {
	const maker = createSessionMaker(params, world)
	const store = params.store === 'redis' ? redisPartitions(requireRedis(world)) : memoryPartitions()
	const credential =
		params.credential === 'secret' ? { clientSecret } : { clientCertificate: requireCertificate(world) }
	let sessions: MsalSession[] = []

	const acquire = (session: MsalSession) => {
		const partition = async () => session.partition
		const client = new ConfidentialClientApplication({
			auth: {
				clientId,
				authority: world.authority,
				knownAuthorities: [world.host],
				authorityMetadata: world.authorityMetadata,
				...credential,
			},
			cache: {
				cachePlugin: new DistributedCachePlugin(store.client, { getKey: partition, extractKey: partition }),
			},
		})
		return client.acquireTokenSilent({ account: session.account, scopes: [...scopes] })
	}

	return {
		async prepare() {
			if (params.tokens === 'valid' && sessions.length > 0) return
			const made = Array.from({ length: params.sessions }, (_, index) => maker.session(index))
			await store.fill(made)
			sessions = made.map((session) => ({
				partition: session.msal.partition,
				account: accountOf(session, world),
			}))
		},
		start: (index) => acquire(sessions[index] as MsalSession),
		check(index, { accessToken, fromCache }) {
			const { seeded, refreshed } = maker.tokens(index)
			const isValid = params.tokens === 'valid'
			if (fromCache !== isValid || accessToken !== (isValid ? seeded : refreshed))
				throw new Error('msal-per-request: not the token that was to be acquired')
		},
		storeCalls: store.calls,
		close: store.close,
	}
}

/** What an application keeps of MSAL's result: the account. */
function accountOf({ msal: { account } }: SeededSession, { host }: World): AccountInfo {
	return {
		homeAccountId: account.homeAccountId,
		environment: host,
		tenantId: account.tenantId,
		username: account.username,
		localAccountId: account.objectId,
		...(account.name !== undefined && { name: account.name }),
	}
}

/** Where the plugin reads and writes caches, and how they get there. */
interface Partitions {
	readonly client: ICacheClient
	fill(sessions: readonly SeededSession[]): Promise<void>
	calls(): Promise<number>
	close(): Promise<void>
}

function memoryPartitions(): Partitions {
	const partitions = new Map<string, string>()
	let calls = 0
	return {
		client: {
			async get(key) {
				calls++
				return partitions.get(key) ?? ''
			},
			async set(key, value) {
				calls++
				partitions.set(key, value)
				return value
			},
		},
		async fill(sessions) {
			partitions.clear()
			for (const { msal, cache } of sessions) partitions.set(msal.partition, cache)
		},
		calls: async () => calls,
		close: async () => {},
	}
}

function redisPartitions(url: string): Partitions {
	const redis = new Redis(url)
	let filled: readonly string[] = []
	const empty = async () => {
		if (filled.length > 0) await redis.del([...filled])
		filled = []
	}
	return {
		client: {
			get: async (key) => (await redis.get(key)) ?? '',
			set: (key, value) => redis.set(key, value),
		},
		async fill(sessions) {
			await empty()
			const writes = redis.pipeline()
			for (const { msal, cache } of sessions) writes.set(msal.partition, cache)
			await writes.exec()
			filled = sessions.map(({ msal }) => msal.partition)
		},
		calls: () => countCommands(redis),
		async close() {
			await empty()
			await redis.quit()
		},
	}
}
