import { randomBytes } from 'node:crypto'
import type { SignedInAccount } from '../src/index.js'
import { clientId, grantedScopes, objectId, peopleCount, tenantId, tokensOf } from './people.js'
import type { Params, World } from './scenario.js'

/** Somebody signed in, as the library's web session knows it, and as MSAL's cache does. */
export interface SeededSession {
	readonly msal: { readonly partition: string; readonly account: SignedInAccount }
	/** MSAL's unified cache, as `TokenCache.serialize()` writes it. */
	readonly cache: string
}

/** A session's token, before and after its refresh. */
export interface PersonTokens {
	readonly seeded: string
	readonly refreshed: string
}

export function requireCertificate({ clientCertificate }: World) {
	if (!clientCertificate) throw new Error('the case needs a client certificate')
	return clientCertificate
}

/** Makes signed-in sessions without a sign-in. People's tokens are made once and shared by their sessions. */
export function createSessionMaker(params: Params, world: World) {
	const issuer = `${world.authority}/v2.0`
	const known = new Map<number, ReturnType<typeof make>>()
	const make = (person: number) => {
		const seeded = tokensOf(person, 'seeded', issuer, world.startedAt)
		const refreshed = tokensOf(person, 'refreshed', issuer, world.startedAt)
		const account: SignedInAccount = {
			homeAccountId: `${objectId(person)}.${tenantId}`,
			tenantId,
			objectId: objectId(person),
			username: `person${person}@contoso.example`,
			name: `Person ${person}`,
		}
		return {
			account,
			cache: JSON.stringify(msalCache(account, seeded, params.tokens === 'expired', world)),
			tokens: { seeded: seeded.accessToken, refreshed: refreshed.accessToken },
		}
	}
	const personOf = (session: number) => {
		const person = session % peopleCount
		const found = known.get(person) ?? make(person)
		known.set(person, found)
		return found
	}
	return {
		/** A new session of the person whose turn it is; its partition was never used before. */
		session(index: number): SeededSession {
			const { account, cache } = personOf(index)
			return { msal: { partition: randomBytes(32).toString('base64url'), account }, cache }
		},
		tokens: (index: number): PersonTokens => personOf(index).tokens,
	}
}

function msalCache(
	account: SignedInAccount,
	tokens: ReturnType<typeof tokensOf>,
	expired: boolean,
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
		AccessToken: {
			[`${id}-accesstoken-${clientId}-${tenantId}-${grantedScopes.toLowerCase()}--`]: {
				...credential('AccessToken', tokens.accessToken),
				realm: tenantId,
				target: grantedScopes,
				cached_at: String(startedAt - (expired ? 4000 : 10)),
				expires_on: String(startedAt + (expired ? -10 : 3600)),
				extended_expires_on: String(startedAt + (expired ? -10 : 7200)),
				token_type: 'Bearer',
			},
		},
		RefreshToken: { [`${id}-refreshtoken-${clientId}----`]: credential('RefreshToken', tokens.refreshToken) },
		AppMetadata: { [`appmetadata-${environment}-${clientId}`]: { client_id: clientId, environment } },
	}
}
