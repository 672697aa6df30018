import { createHash, createSecretKey } from 'node:crypto'
import { AccessTokenCache, type HeldToken } from '../../src/access-token-cache.js'
import { withOutcome } from '../../src/acquired-token.js'
import { type AcquiredToken, createTokenBroker } from '../../src/index.js'
import { createSealer } from '../../src/sealing.js'
import { clientId, clientSecret, codeOf, objectId, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createRoster, createSessionMaker, requireCertificate, type SeededSession } from '../sessions.js'
import { createSeededStore } from '../token-store.js'

export const sealingSecret = 'bench-only: forty-eight different characters, 0123456789'

/** As src/settings.ts and workers/redis-store.ts name a partition. */
const namespace = `koa-msal:${createHash('sha256').update(clientId).digest('hex').slice(0, 16)}`
const keyOf = (partition: string) => `${namespace}:t:{${partition}}`

/** This library by its public API, with its default settings. Only the seeding reaches inside. */
export async function createArm(params: Params, world: World): Promise<Arm<AcquiredToken>> {
	const { operation } = params
	const maker = createSessionMaker(params, world)
	const { sessions, renew } = createRoster(params, maker)
	const sealer = createSealer([createSecretKey(Buffer.from(sealingSecret))], clientId)
	const seeded = createSeededStore(params, world, keyOf)
	const broker = await createTokenBroker({
		auth: {
			clientId,
			authority: world.authority,
			knownAuthorities: [world.host],
			redirectUri: 'http://localhost/user/authorized',
			...(params.credential === 'secret'
				? { clientSecret }
				: { clientCertificate: requireCertificate(world) }),
		},
		scopes: [...scopes],
		store: seeded.store,
		secrets: [sealingSecret],
		network: { caFile: world.caFile },
		// What a sign-in leaves in Redis is soon gone.
		session: { absoluteTimeout: 15 * 60_000 },
		// Default, unless more are to be held.
		...(params.sharedToken && { cache: { maxEntries: params.sessions, maxBytes: Number.MAX_SAFE_INTEGER } }),
	})
	/** The very strings that are held: equal ones compare at once, and look-alikes still compare equal. */
	const expected: string[] = []

	const fill = (given: readonly SeededSession[]) =>
		seeded.fill(
			(function* () {
				for (const { msal, cache, expiresOn } of given)
					yield { ...msal, expiresOn, sealed: sealer.seal('tokens', msal.partition, cache) }
			})(),
		)

	/** Has a token read from the store into memory, as the first request of a session does. */
	const load = async (index: number) => {
		const token = await broker.acquireSilent(sessions[index])
		if (token.outcome !== 'cached' || token.accessToken !== maker.tokens(index).seeded)
			throw new Error('broker: the seeded token was not read from the store')
		expected[index] = token.accessToken
	}

	const signIn = async (person: number): Promise<AcquiredToken> => {
		const { transaction } = await broker.getAuthCodeUrl()
		const { state, nonce } = transaction
		const done = await broker.acquireByCode({ state, code: codeOf(person, nonce) }, transaction)
		if (done.repeated || done.ticket.account.objectId !== objectId(person))
			throw new Error('broker: somebody else was signed in')
		return done.token
	}

	/** Chosen once: made anew for each check, these cost more than a hit. */
	const isDue = {
		hit: (index: number, { outcome, accessToken }: AcquiredToken) =>
			outcome === 'hit' && accessToken === expected[index],
		cached: (index: number, { outcome, accessToken }: AcquiredToken) =>
			outcome === 'cached' && accessToken === maker.tokens(index).seeded,
		// Another process may have been first: then its token is in the store.
		refresh: (index: number, { outcome, accessToken }: AcquiredToken) =>
			(outcome === 'refreshed' || (params.processes?.ask === 'all' && outcome === 'cached')) &&
			accessToken === maker.tokens(index).refreshed,
		login: (index: number, { outcome, accessToken }: AcquiredToken) =>
			outcome === 'refreshed' && accessToken === maker.tokens(index).redeemed,
	}[operation]

	return {
		async prepare() {
			if (operation === 'login') return
			const { added, removed } = renew()
			// Of several processes on one store, the first fills it.
			if ((params.member ?? 0) > 0) return
			await seeded.drop(removed.map(({ msal }) => msal.partition))
			await fill(params.sharedToken ? added.slice(0, 1) : added)
			if (operation !== 'hit' || added.length === 0) return
			if (params.sharedToken) {
				await holdMore(() => load(0), sessions)
				for (let index = 1; index < sessions.length; index++) expected.push(expected[0] as string)
			} else for (const index of sessions.keys()) await load(index)
		},
		start: operation === 'login' ? signIn : (index) => broker.acquireSilent(sessions[index]),
		check(index, token) {
			if (!isDue(index, token))
				throw new Error(`broker: ${token.outcome}, and not the token that was to be acquired`)
		},
		storeCalls: seeded.calls,
		async close() {
			await broker.close()
			await seeded.close()
		},
	}
}

/**
 * Has one token read in earnest, and held for all other sessions as well: a million trips to a store that holds a
 * million caches would take minutes and more memory than there is.
 */
async function holdMore(first: () => Promise<void>, sessions: readonly SeededSession[]): Promise<void> {
	const { put } = AccessTokenCache.prototype
	let seen: { readonly cache: AccessTokenCache; readonly held: HeldToken } | undefined
	AccessTokenCache.prototype.put = function (partition, held) {
		seen = { cache: this, held }
		put.call(this, partition, held)
	}
	try {
		await first()
	} finally {
		AccessTokenCache.prototype.put = put
	}
	if (!seen) throw new Error('broker: nothing was held')
	const { cache, held } = seen
	for (const { msal } of sessions.slice(1)) {
		const token = withOutcome(held.token, 'hit')
		cache.put(msal.partition, { ...held, token, answer: Promise.resolve(token) })
	}
	if (cache.size !== sessions.length) throw new Error(`broker: ${cache.size} tokens are held`)
}
