import { createSecretKey } from 'node:crypto'
import { type AcquiredToken, createTokenBroker } from '../../src/index.js'
import { MemoryTokenStore } from '../../src/memory-token-store.js'
import { createSealer } from '../../src/sealing.js'
import { clientId, clientSecret, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createSessionMaker, type SeededSession } from '../sessions.js'

const sealingSecret = 'bench-only: forty-eight different characters, 0123456789'

/** Milliseconds that a seeded partition lives. */
const lifetime = 3_600_000

/** This library by its public API, with its default settings. Only the seeding reaches inside. */
export async function createArm(params: Params, world: World): Promise<Arm<AcquiredToken>> {
	const { tokens } = params
	const maker = createSessionMaker(params, world)
	const sealer = createSealer([createSecretKey(Buffer.from(sealingSecret))], clientId)
	const store = new CountingStore()
	const broker = await createTokenBroker({
		auth: {
			clientId,
			authority: world.authority,
			knownAuthorities: [world.host],
			redirectUri: 'http://localhost/user/authorized',
			...(params.credential === 'secret' ? { clientSecret } : { clientCertificate: certificateOf(world) }),
		},
		scopes: [...scopes],
		store,
		secrets: [sealingSecret],
		network: { caFile: world.caFile },
	})
	let sessions: SeededSession[] = []
	/** The very strings that are held: equal ones compare at once, and look-alikes still compare equal. */
	const expected: string[] = []
	const outcome = tokens === 'valid' ? 'hit' : 'refreshed'

	return {
		async prepare() {
			if (tokens === 'valid' && sessions.length > 0) return
			for (const { msal } of sessions) store.remove(msal.partition)
			sessions = Array.from({ length: params.sessions }, (_, index) => {
				const session = maker.session(index)
				const { partition } = session.msal
				store.create(partition, sealer.seal('tokens', partition, session.cache), lifetime)
				return session
			})
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
		storeCalls: () => store.calls,
		close: () => broker.close(),
	}
}

class CountingStore extends MemoryTokenStore {
	calls = 0

	override read(partition: string) {
		this.calls++
		return super.read(partition)
	}

	override commit(partition: string, sealed: string) {
		this.calls++
		return super.commit(partition, sealed)
	}
}

function certificateOf({ clientCertificate }: World) {
	if (!clientCertificate) throw new Error('the case needs a client certificate')
	return clientCertificate
}
