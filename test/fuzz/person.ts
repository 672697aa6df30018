import { createHash } from 'node:crypto'
import type { CannedProvider } from './canned-provider.js'
import { clientId } from './fuzz-application.js'

/** Whom, and by whom, an id_token is. `none`: there is none. */
export const idTokenKinds = [
	...(['own', 'another user', 'another tenant', 'another subject', 'another nonce', 'no nonce'] as const),
	...([
		'another audience',
		'expired',
		'of another key',
		'unsigned',
		'another issuer',
		'no tenant',
		'none',
	] as const),
] as const
export type IdTokenKind = (typeof idTokenKinds)[number]

type Section = Record<string, Record<string, string>>

/** Somebody who signs in at the canned provider, and what it would say of them. */
export interface Person {
	readonly tenantId: string
	readonly objectId: string
	readonly subject: string
	readonly homeAccountId: string
	readonly nonce: string
	/** A good answer to a token request, without an id_token. */
	readonly answer: Readonly<Record<string, unknown>>
	idToken(kind: IdTokenKind): { readonly id_token?: string }
	/** A good answer to the sign-in with this nonce. */
	answerTo(nonce: string): Promise<string>
	/** Their token cache, as MSAL writes it; the access token has an hour. */
	readonly cache: Readonly<Record<string, Section>>
}

const objectId = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'
const other = '99999999-8888-4777-8666-555555555555'

/** @param number people of different numbers are of different tenants */
export async function createPerson(provider: CannedProvider, number: number): Promise<Person> {
	const tenantId = `11111111-2222-4333-8444-${String(number).padStart(12, '0')}`
	const homeAccountId = `${objectId}.${tenantId}`
	const nonce = createHash('sha256').update('nonce').digest('base64url')
	const now = Math.floor(Date.now() / 1000)
	const claims = {
		iss: provider.issuerOf(tenantId),
		aud: clientId,
		sub: 'the subject',
		tid: tenantId,
		oid: objectId,
		preferred_username: 'ada@example.test',
		nonce,
		iat: now - 10,
		exp: now + 86_400,
	}
	const { tid: _tid, ...withoutTenant } = claims
	const { nonce: _nonce, ...withoutNonce } = claims
	const tokens: Readonly<Record<IdTokenKind, string | undefined>> = {
		own: await provider.sign(claims),
		'another user': await provider.sign({ ...claims, oid: other, nonce: 'x' }),
		'another tenant': await provider.sign({ ...claims, tid: other, nonce: 'x' }),
		'another subject': await provider.sign({ ...claims, sub: 'somebody else', nonce: 'x' }),
		'another nonce': await provider.sign({ ...claims, nonce: 'another' }),
		'no nonce': await provider.sign(withoutNonce),
		'another audience': await provider.sign({ ...claims, aud: other }),
		expired: await provider.sign({ ...claims, iat: now - 7200, exp: now - 3600 }),
		'of another key': await provider.sign(claims, 'foreign'),
		unsigned: await provider.sign(claims, 'none'),
		'another issuer': await provider.sign({ ...claims, iss: provider.issuerOf(other) }),
		'no tenant': await provider.sign(withoutTenant),
		none: undefined,
	}
	const common = { home_account_id: homeAccountId, environment: provider.host }
	const cache = {
		Account: {
			[`${homeAccountId}-${provider.host}-${tenantId}`]: {
				...common,
				realm: tenantId,
				local_account_id: objectId,
				username: 'ada@example.test',
				authority_type: 'MSSTS',
			},
		},
		IdToken: {
			[`${homeAccountId}-${provider.host}-idtoken-${clientId}-${tenantId}---`]: {
				...common,
				credential_type: 'IdToken',
				client_id: clientId,
				secret: tokens.own ?? '',
				realm: tenantId,
			},
		},
		AccessToken: {
			[`${homeAccountId}-${provider.host}-accesstoken-${clientId}-${tenantId}-user.read--`]: {
				...common,
				credential_type: 'AccessToken',
				client_id: clientId,
				secret: 'canary-stored-access-token',
				realm: tenantId,
				target: 'User.Read',
				cached_at: String(now),
				expires_on: String(now + 3600),
				token_type: 'Bearer',
			},
		},
		RefreshToken: {
			[`${homeAccountId}-${provider.host}-refreshtoken-${clientId}----`]: {
				...common,
				credential_type: 'RefreshToken',
				client_id: clientId,
				secret: 'canary-stored-refresh-token',
			},
		},
		AppMetadata: {},
	}
	const answer = {
		token_type: 'Bearer',
		scope: 'User.Read openid profile',
		expires_in: 3600,
		access_token: 'canary-access-token',
		refresh_token: 'canary-refresh-token',
		client_info: Buffer.from(JSON.stringify({ uid: objectId, utid: tenantId })).toString('base64url'),
	}
	return {
		tenantId,
		objectId,
		subject: claims.sub,
		homeAccountId,
		nonce,
		answer,
		answerTo: async (nonce) =>
			JSON.stringify({ ...answer, id_token: await provider.sign({ ...claims, nonce }) }),
		idToken: (kind) => (tokens[kind] === undefined ? {} : { id_token: tokens[kind] }),
		cache,
	}
}
