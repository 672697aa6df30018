import { type AuthenticationResult, ConfidentialClientApplication } from '@azure/msal-node'
import { scopes } from '../people.js'
import type { Arm, Params, World } from '../scenario.js'
import { createRoster, createSessionMaker, type SeededSession } from '../sessions.js'
import { authOf, checkResult, redeem } from './msal-per-request.js'

/**
 * msal-node with one client for all users, everybody's tokens in its own memory, as the vendor's caching page shows
 * it: the account is asked of the cache by its id, then the token.
 * https://learn.microsoft.com/entra/msal/javascript/node/caching
 */
export async function createArm(params: Params, world: World): Promise<Arm<AuthenticationResult>> {
	const { operation } = params
	const maker = createSessionMaker(params, world)
	const { sessions, renew } = createRoster(params, maker)
	const auth = authOf(params, world)
	let client = new ConfidentialClientApplication({ auth })

	const acquire = async ({ msal }: SeededSession) => {
		const account = await client.getTokenCache().getAccountByHomeId(msal.account.homeAccountId)
		if (!account) throw new Error('msal-shared: nobody is signed in')
		return client.acquireTokenSilent({ account, scopes: [...scopes] })
	}

	return {
		async prepare() {
			const { added } = renew()
			if (operation === 'hit' && added.length === 0) return
			// A client that has been used would keep what it has learnt.
			client = new ConfidentialClientApplication({ auth })
			if (operation !== 'login') client.getTokenCache().deserialize(mergeCaches(sessions))
		},
		start:
			operation === 'login'
				? (person) => redeem(client, person)
				: (index) => acquire(sessions[index] as SeededSession),
		check: (index, result) => checkResult('msal-shared', params, maker.tokens(index), result),
	}
}

/** Everybody's caches as one. */
function mergeCaches(sessions: readonly SeededSession[]): string {
	const merged: Record<string, Record<string, unknown>> = {}
	for (const { cache } of sessions)
		for (const [kind, entries] of Object.entries(JSON.parse(cache) as typeof merged)) {
			merged[kind] ??= {}
			Object.assign(merged[kind], entries)
		}
	return JSON.stringify(merged)
}
