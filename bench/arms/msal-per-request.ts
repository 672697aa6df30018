import {
	type AccountInfo,
	type AuthenticationResult,
	ConfidentialClientApplication,
	DistributedCachePlugin,
	type ICacheClient,
} from '@azure/msal-node'
import { clientId, clientSecret, scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createSessionMaker, type SeededSession } from '../sessions.js'

interface MsalSession {
	readonly partition: string
	readonly account: AccountInfo
}

/**
 * msal-node as its documentation recommends for web applications: a client per request, its cache filled from the
 * user's partition by `DistributedCachePlugin`, the account kept in the session. In its favour: the authority's
 * metadata is given, the partitions are in this process's memory, and nothing is sealed.
 * https://learn.microsoft.com/entra/msal/javascript/node/caching
 */
export async function createArm(params: Params, world: World): Promise<Arm<AuthenticationResult>> {
	const maker = createSessionMaker(params, world)
	const partitions = new Map<string, string>()
	let storeCalls = 0
	const store: ICacheClient = {
		async get(key) {
			storeCalls++
			return partitions.get(key) ?? ''
		},
		async set(key, value) {
			storeCalls++
			partitions.set(key, value)
			return value
		},
	}
	const credential =
		params.credential === 'secret' ? { clientSecret } : { clientCertificate: certificateOf(world) }
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
				cachePlugin: new DistributedCachePlugin(store, { getKey: partition, extractKey: partition }),
			},
		})
		return client.acquireTokenSilent({ account: session.account, scopes: [...scopes] })
	}

	return {
		async prepare() {
			if (params.tokens === 'valid' && sessions.length > 0) return
			partitions.clear()
			sessions = Array.from({ length: params.sessions }, (_, index) => {
				const session = maker.session(index)
				partitions.set(session.msal.partition, session.cache)
				return { partition: session.msal.partition, account: accountOf(session, world) }
			})
		},
		start: (index) => acquire(sessions[index] as MsalSession),
		check(index, { accessToken, fromCache }) {
			const { seeded, refreshed } = maker.tokens(index)
			const isValid = params.tokens === 'valid'
			if (fromCache !== isValid || accessToken !== (isValid ? seeded : refreshed))
				throw new Error('msal-per-request: not the token that was to be acquired')
		},
		storeCalls: () => storeCalls,
	}
}

function certificateOf({ clientCertificate }: World) {
	if (!clientCertificate) throw new Error('the case needs a client certificate')
	return clientCertificate
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
