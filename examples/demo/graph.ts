import { rootCertificates } from 'node:tls'
import { Agent, fetch, type Response } from 'undici'
import type { SessionLike, TokenBroker } from '../../src/index.js'

/** What the demo shows of a person. All but the name can be missing: guests have little. */
export interface Profile {
	readonly displayName: string
	readonly jobTitle?: string | null
	readonly mail?: string | null
	readonly userPrincipalName?: string | null
}

/** A person, or why there is none to show. */
export type Lookup =
	| { readonly profile: Profile }
	| { readonly none: 'nobody' | 'not permitted' | 'no answer' }

export interface Graph {
	/** @throws what `acquireSilent` throws */
	lookUp(session: SessionLike, path: '/me' | '/me/manager', scopes: readonly string[]): Promise<Lookup>
	close(): Promise<void>
}

/** Milliseconds a page waits for Graph: it can be shown without. */
const patience = 5_000

/** Reads people from Microsoft Graph, with the broker's tokens. */
export function createGraph(broker: TokenBroker, endpoint: string, ca?: string): Graph {
	const dispatcher = new Agent({ connect: ca === undefined ? {} : { ca: [...rootCertificates, ca] } })

	const call = (path: string, accessToken: string) =>
		fetch(endpoint + path, {
			dispatcher,
			headers: { Authorization: `Bearer ${accessToken}`, Accept: 'application/json' },
			redirect: 'error',
			signal: AbortSignal.timeout(patience),
		})

	return {
		async lookUp(session, path, scopes) {
			// Ask the broker whenever a token is needed, and keep none: a hit costs a look-up.
			const held = await broker.acquireSilent(session, { scopes })
			let answer = await call(path, held.accessToken).catch(() => undefined)
			const claims = answer && claimsChallenge(answer)
			if (claims !== undefined) {
				// Graph wants a newer or a stronger token. The provider says which, or wants the person back.
				const won = await broker.acquireSilent(session, { scopes, claims })
				answer = await call(path, won.accessToken).catch(() => undefined)
			}
			if (answer?.status === 200) return { profile: (await answer.json()) as Profile }
			await answer?.body?.cancel()
			if (answer?.status === 404) return { none: 'nobody' }
			return { none: answer?.status === 403 ? 'not permitted' : 'no answer' }
		},
		close: () => dispatcher.close(),
	}
}

/** https://learn.microsoft.com/entra/identity-platform/claims-challenge */
function claimsChallenge({ status, headers }: Response): string | undefined {
	if (status !== 401) return undefined
	const [, encoded] = /\bclaims="([^"]+)"/.exec(headers.get('www-authenticate') ?? '') ?? []
	return encoded && Buffer.from(encoded, 'base64').toString()
}
