import { randomUUID } from 'node:crypto'
import {
	type AccountInfo,
	type AuthenticationResult,
	ConfidentialClientApplication,
	CryptoProvider,
	DistributedCachePlugin,
	type ICacheClient,
	type NodeAuthOptions,
} from '@azure/msal-node'
import { Redis } from 'ioredis'
import { clientId, clientSecret, codeOf, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import {
	createRoster,
	createSessionMaker,
	type PersonTokens,
	requireCertificate,
	type SeededSession,
} from '../sessions.js'
import { countCommands, inBatches, requireRedis } from '../token-store.js'

/**
 * msal-node as its documentation recommends for web applications: a client per request, its cache filled from the
 * user's partition by `DistributedCachePlugin`, the account kept in the session. In its favour: the authority's
 * metadata is given, partitions in memory cost a `Map` look-up, nothing is sealed, the id_token's signature is not
 * verified, and one client does both steps of a sign-in.
 * https://learn.microsoft.com/entra/msal/javascript/node/caching
 */
export async function createArm(params: Params, world: World): Promise<Arm<AuthenticationResult>> {
	const { operation } = params
	const maker = createSessionMaker(params, world)
	const { sessions, renew } = createRoster(params, maker)
	const store = params.store === 'redis' ? redisPartitions(requireRedis(world)) : memoryPartitions()
	const auth = authOf(params, world)
	const accounts = new Map<string, AccountInfo>()

	const clientFor = (partition: string) => createClient(auth, store.client, partition)
	const acquire = ({ msal }: SeededSession) =>
		clientFor(msal.partition).acquireTokenSilent({
			account: accounts.get(msal.account.objectId) as AccountInfo,
			scopes: [...scopes],
		})

	return {
		async prepare() {
			if (operation === 'login') return
			const { added, removed } = renew()
			for (const session of added)
				if (!accounts.has(session.msal.account.objectId))
					accounts.set(session.msal.account.objectId, accountOf(session, world))
			if ((params.member ?? 0) > 0) return
			await store.drop(removed)
			await store.fill(added)
		},
		start:
			operation === 'login'
				? (person) => redeem(clientFor(randomUUID()), person)
				: (index) => acquire(sessions[index] as SeededSession),
		check: (index, result) => checkResult('msal-per-request', params, maker.tokens(index), result),
		storeCalls: store.calls,
		close: store.close,
	}
}

/** What every client is made with. */
export function authOf({ credential }: Params, world: World): NodeAuthOptions {
	return {
		clientId,
		authority: world.authority,
		knownAuthorities: [world.host],
		authorityMetadata: world.authorityMetadata,
		...(credential === 'secret' ? { clientSecret } : { clientCertificate: requireCertificate(world) }),
	}
}

/** A client for one request of one user. */
export function createClient(auth: NodeAuthOptions, cache: ICacheClient, key: string) {
	const partition = async () => key
	return new ConfidentialClientApplication({
		auth,
		cache: { cachePlugin: new DistributedCachePlugin(cache, { getKey: partition, extractKey: partition }) },
	})
}

/** Both steps of a sign-in, as msal-node's samples take them; between them the person is at the provider. */
export async function redeem(client: ConfidentialClientApplication, person: number) {
	const { verifier, challenge } = await proofKeys.generatePkceCodes()
	const [state, nonce] = [proofKeys.createNewGuid(), proofKeys.createNewGuid()]
	const redirectUri = 'http://localhost/user/authorized'
	const common = { scopes: [...scopes], redirectUri, state, nonce }
	await client.getAuthCodeUrl({
		...common,
		responseMode: 'form_post',
		codeChallenge: challenge,
		codeChallengeMethod: 'S256',
	})
	return client.acquireTokenByCode({ ...common, code: codeOf(person, nonce), codeVerifier: verifier })
}

const proofKeys = new CryptoProvider()

/** @throws Error when MSAL's result is not the token that was to be acquired */
export function checkResult(
	arm: string,
	{ operation, processes }: Params,
	{ seeded, refreshed, redeemed }: PersonTokens,
	{ accessToken, fromCache }: AuthenticationResult,
): void {
	const isHeld = operation === 'hit' || operation === 'cached'
	const due = isHeld ? seeded : operation === 'refresh' ? refreshed : redeemed
	// Another process may have been first: then its token is in the store.
	const isFound = fromCache === isHeld || (fromCache && processes?.ask === 'all')
	if (!isFound || accessToken !== due) throw new Error(`${arm}: not the token that was to be acquired`)
}

/** What an application keeps of MSAL's result: the account. */
export function accountOf({ msal: { account } }: SeededSession, { host }: World): AccountInfo {
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
	drop(sessions: readonly SeededSession[]): Promise<void>
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
			for (const { msal, cache } of sessions) partitions.set(msal.partition, cache)
		},
		async drop(sessions) {
			for (const { msal } of sessions) partitions.delete(msal.partition)
		},
		calls: async () => calls,
		close: async () => {},
	}
}

function redisPartitions(url: string): Partitions {
	const redis = new Redis(url)
	const written = new Set<string>()
	/** Milliseconds. */
	const lifetime = 3_600_000
	return {
		client: {
			get: async (key) => (await redis.get(key)) ?? '',
			set(key, value) {
				written.add(key)
				return redis.set(key, value, 'PX', lifetime)
			},
		},
		fill: (sessions) =>
			inBatches(sessions, async (batch) => {
				const writes = redis.pipeline()
				for (const { msal, cache } of batch) {
					written.add(msal.partition)
					writes.set(msal.partition, cache, 'PX', lifetime)
				}
				for (const [error] of (await writes.exec()) ?? []) if (error) throw error
			}),
		async drop(sessions) {
			await inBatches(sessions, (batch) => redis.unlink(...batch.map(({ msal }) => msal.partition)))
			for (const { msal } of sessions) written.delete(msal.partition)
		},
		calls: () => countCommands(redis),
		async close() {
			await inBatches(written, (batch) => redis.unlink(...batch))
			await redis.quit()
		},
	}
}
