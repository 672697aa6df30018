import { createHash, randomBytes } from 'node:crypto'
import type { SignedInAccount } from '../src/index.js'
import {
	clientId,
	type Generation,
	grantedScopes,
	objectId,
	peopleCount,
	resourceScope,
	resourceToken,
	tenantId,
	tokensOf,
} from './people.js'

import type { Params, World } from './scenario.js'

/** Somebody signed in, as the library's web session knows it, and as MSAL's cache does. */
export interface SeededSession {
	readonly msal: { readonly partition: string; readonly account: SignedInAccount }
	/** MSAL's unified cache, as `TokenCache.serialize()` writes it. */
	readonly cache: string
	/** Of the cache's longest-lived access token, milliseconds since the epoch. */
	readonly expiresOn: number
}

/** A session's token; what comes from the provider only where it is asked. */
export interface PersonTokens {
	readonly seeded: string
	readonly refreshed: string
	readonly redeemed: string
}

/** Seconds from the start of the run: a token must still be good at its end. */
const validFor = 7200

export function requireCertificate({ clientCertificate }: World) {
	if (!clientCertificate) throw new Error('the case needs a client certificate')
	return clientCertificate
}

/** Makes signed-in sessions without a sign-in. People's tokens are made once and shared by their sessions. */
export function createSessionMaker(
	params: Pick<Params, 'operation' | 'resources' | 'sharedToken'>,
	world: World,
) {
	const issuer = `${world.authority}/v2.0`
	const known = new Map<number, ReturnType<typeof make>>()
	const others = Array.from({ length: (params.resources ?? 1) - 1 }, (_, at) =>
		resourceToken(at + 1, issuer, world.startedAt),
	)
	const make = (person: number) => {
		const tokens = (generation: Generation) => tokensOf(person, generation, issuer, world.startedAt)
		const seeded = tokens('seeded')
		const [refreshed, redeemed] =
			params.operation === 'refresh' || params.operation === 'login'
				? [tokens('refreshed').accessToken, tokens('redeemed').accessToken]
				: ['', '']
		const account: SignedInAccount = {
			homeAccountId: `${objectId(person)}.${tenantId}`,
			tenantId,
			objectId: objectId(person),
			username: `person${person}@contoso.example`,
			name: `Person ${person}`,
		}
		const anyValid = params.operation !== 'refresh' || others.length > 0
		return {
			account,
			expiresOn: (world.startedAt + (anyValid ? validFor : -10)) * 1000,
			cache: JSON.stringify(msalCache(account, seeded, params.operation === 'refresh', others, world)),
			tokens: { seeded: seeded.accessToken, refreshed, redeemed },
		}
	}
	const personOf = (session: number) => {
		const person = params.sharedToken ? 0 : session % peopleCount
		const found = known.get(person) ?? make(person)
		known.set(person, found)
		return found
	}
	return {
		/**
		 * A new session of the person whose turn it is; its partition was never used before.
		 * @param generation where several processes make the same sessions: of which round they are
		 */
		session(index: number, generation?: number): SeededSession {
			const { account, cache, expiresOn } = personOf(index)
			const partition =
				generation === undefined
					? randomBytes(32)
					: createHash('sha256').update(`${world.startedAt}/${generation}/${index}`).digest()
			return { msal: { partition: partition.toString('base64url'), account }, cache, expiresOn }
		},
		tokens: (index: number): PersonTokens => personOf(index).tokens,
	}
}

type Tokens = ReturnType<typeof tokensOf>

/** @param others valid tokens for other resources */
function msalCache(
	account: SignedInAccount,
	tokens: Tokens,
	expired: boolean,
	others: readonly string[],
	{ host: environment, startedAt }: World,
) {
	const home = account.homeAccountId
	const owner = { home_account_id: home, environment }
	const credential = (type: string, secret: string) => ({
		...owner,
		credential_type: type,
		client_id: clientId,
		secret,
	})
	const id = `${home}-${environment}`
	const accessToken = (secret: string, target: string, isExpired: boolean) => [
		`${id}-accesstoken-${clientId}-${tenantId}-${target.toLowerCase()}--`,
		{
			...credential('AccessToken', secret),
			realm: tenantId,
			target,
			cached_at: String(startedAt - (isExpired ? 4000 : 10)),
			expires_on: String(startedAt + (isExpired ? -10 : validFor)),
			extended_expires_on: String(startedAt + (isExpired ? -10 : 2 * validFor)),
			token_type: 'Bearer',
		},
	]
	return {
		Account: {
			[`${id}-${tenantId}`]: {
				...owner,
				realm: tenantId,
				local_account_id: account.objectId,
				username: account.username,
				authority_type: 'MSSTS',
				name: account.name,
				client_info: tokens.clientInfo,
				tenantProfiles: [
					JSON.stringify({
						tenantId,
						localAccountId: account.objectId,
						name: account.name,
						isHomeTenant: true,
					}),
				],
			},
		},
		IdToken: {
			[`${id}-idtoken-${clientId}-${tenantId}---`]: {
				...credential('IdToken', tokens.idToken),
				realm: tenantId,
			},
		},
		AccessToken: Object.fromEntries([
			accessToken(tokens.accessToken, grantedScopes, expired),
			...others.map((token, at) => accessToken(token, resourceScope(at + 1), false)),
		]),
		RefreshToken: { [`${id}-refreshtoken-${clientId}----`]: credential('RefreshToken', tokens.refreshToken) },
		AppMetadata: { [`appmetadata-${environment}-${clientId}`]: { client_id: clientId, environment } },
	}
}

/** The sessions of an arm, from round to round: those that a round has used up are replaced by new ones. */
export function createRoster(params: Params, maker: ReturnType<typeof createSessionMaker>) {
	const sessions: SeededSession[] = []
	let generation = 0
	return {
		sessions,
		/** @returns what to put into the store, and what to take out of it */
		renew(): { readonly added: readonly SeededSession[]; readonly removed: readonly SeededSession[] } {
			const isFirst = sessions.length === 0
			const usedUp = params.operation === 'refresh' || params.operation === 'cached'
			const count = isFirst ? params.sessions : usedUp ? usedInARound(params) : 0
			const removed = isFirst ? [] : sessions.slice(0, count)
			for (let index = 0; index < count; index++)
				sessions[index] = maker.session(index, params.processes && generation)
			generation++
			return { added: sessions.slice(0, count), removed }
		},
	}
}

/** Sessions that the longest of the passes asks for. */
function usedInARound({ sessions, operations = sessions, fixedRate, processes }: Params): number {
	if (processes) return sessions
	const arrivals = fixedRate ? Math.ceil((fixedRate.arrivalsPerSecond * fixedRate.milliseconds) / 1000) : 0
	return Math.min(sessions, Math.max(operations, arrivals))
}
