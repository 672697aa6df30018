import { createHash, createSecretKey } from 'node:crypto'
import { type AcquiredToken, createTokenBroker } from '../../src/index.js'
import { createSealer } from '../../src/sealing.js'
import { clientId, clientSecret, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createSessionMaker, requireCertificate, type SeededSession } from '../sessions.js'
import { createSeededStore } from '../token-store.js'

const sealingSecret = 'bench-only: forty-eight different characters, 0123456789'

/** As src/settings.ts and workers/redis-store.ts name a partition. */
const namespace = `koa-msal:${createHash('sha256').update(clientId).digest('hex').slice(0, 16)}`
const keyOf = (partition: string) => `${namespace}:t:{${partition}}`

/** This library by its public API, with its default settings. Only the seeding reaches inside. */
export async function createArm(params: Params, world: World): Promise<Arm<AcquiredToken>> {
	const { tokens } = params
	const maker = createSessionMaker(params, world)
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
	})
	let sessions: readonly SeededSession[] = []
	/** The very strings that are held: equal ones compare at once, and look-alikes still compare equal. */
	const expected: string[] = []
	const outcome = tokens === 'valid' ? 'hit' : 'refreshed'

	return {
		async prepare() {
			if (tokens === 'valid' && sessions.length > 0) return
			sessions = Array.from({ length: params.sessions }, (_, index) => maker.session(index))
			await seeded.fill(
				sessions.map(({ msal: { partition, account }, cache }) => ({
					partition,
					account,
					sealed: sealer.seal('tokens', partition, cache),
				})),
			)
			if (tokens === 'expired') return
			for (const [index, session] of sessions.entries()) {
				const first = await broker.acquireSilent(session)
				if (first.outcome !== 'cached' || first.accessToken !== maker.tokens(index).seeded)
					throw new Error('broker: the seeded token was not read from the store')
				expected[index] = first.accessToken
			}
		},
		start: (index) => broker.acquireSilent(sessions[index] as SeededSession),
		check(index, token) {
			const wanted = tokens === 'valid' ? expected[index] : maker.tokens(index).refreshed
			if (token.outcome !== outcome || token.accessToken !== wanted)
				throw new Error(`broker: ${token.outcome}, and not the token that was to be acquired`)
		},
		storeCalls: seeded.calls,
		async close() {
			await broker.close()
			await seeded.close()
		},
	}
}
