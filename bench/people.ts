import { createHash, type KeyObject, sign } from 'node:crypto'

export const clientId = '11111111-2222-4333-8444-555555555555'
export const clientSecret = 'bench~secret.of-no-value'
export const tenantId = '72f988bf-86f1-41af-91ab-2d7cd011db47'

/** People that the canned provider knows. With more sessions than this, some people have several. */
export const peopleCount = 1_000

/** What is asked for in every scenario. */
export const scopes = ['User.Read', 'User.Read.All'] as const
export const grantedScopes = 'openid profile offline_access User.Read User.Read.All'

/** Characters, as in tokens that Entra ID gives for Microsoft Graph. */
const sizes = { accessToken: 2_500, idToken: 1_300, refreshToken: 1_500, signature: 342 }

export function objectId(person: number): string {
	return `00000000-0000-4000-8000-${String(person).padStart(12, '0')}`
}

/** What people consent to beside, in caches of many resources; the first resource is Microsoft Graph. */
export function resourceScope(resource: number): string {
	return `api://resource-${resource}.contoso.example/Data.Read`
}

/** Looks random, and is the same in every process: whoever checks a token makes it anew. */
function filler(label: string, length: number): string {
	let text = ''
	for (let block = 0; text.length < length; block++)
		text += createHash('sha512').update(`${label}/${block}`).digest('base64url')
	return text.slice(0, length)
}

/** What fills tokens up to their size is the same in all of them. */
const padding = filler('pad', sizes.accessToken)

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
export const signingKeyId = 'bench'
const header = encode({ typ: 'JWT', alg: 'RS256', kid: signingKeyId })
const signature = filler('signature', sizes.signature)

/** Shaped like RS256; nobody in a benchmark verifies it. */
function jwt(claims: object, length: number): string {
	const bare = encode({ ...claims, pad: '' }).length
	const room = length - header.length - bare - signature.length - 2
	const payload = encode({ ...claims, pad: padding.slice(0, Math.max(0, Math.floor((room * 3) / 4))) })
	return `${header}.${payload}.${signature}`
}

/** `seeded` tokens are in the store before a round; `refreshed` and `redeemed` ones come from the provider. */
export type Generation = 'seeded' | 'refreshed' | 'redeemed'

function claimsOf(person: number, issuer: string, startedAt: number) {
	return {
		aud: clientId,
		iss: issuer,
		iat: startedAt,
		nbf: startedAt,
		exp: startedAt + 3600,
		name: `Person ${person}`,
		oid: objectId(person),
		preferred_username: `person${person}@contoso.example`,
		sub: filler(`sub/${person}`, 43),
		tid: tenantId,
		ver: '2.0',
	}
}

export function tokensOf(person: number, generation: Generation, issuer: string, startedAt: number) {
	const claims = { ...claimsOf(person, issuer, startedAt), generation }
	return {
		accessToken: jwt({ ...claims, scp: scopes.join(' ') }, sizes.accessToken),
		idToken: jwt(claims, sizes.idToken),
		// The provider reads from it whom it answers.
		refreshToken: `${person}.${filler(`${generation}/${person}`, sizes.refreshToken)}`,
		clientInfo: encode({ uid: objectId(person), utid: tenantId }),
	}
}

/** A token for another resource than Microsoft Graph; nobody asks for it, so people share it. */
export function resourceToken(resource: number, issuer: string, startedAt: number): string {
	const claims = claimsOf(0, issuer, startedAt)
	return jwt({ ...claims, aud: `api://resource-${resource}.contoso.example` }, sizes.accessToken)
}

/** An authorization code says who signs in and with which nonce: the canned provider remembers nothing. */
export const codeOf = (person: number, nonce: string) => `${person}.${nonce}`

/** Signed in earnest: the broker verifies it. */
export function signIdToken(
	person: number,
	nonce: string,
	issuer: string,
	startedAt: number,
	key: KeyObject,
) {
	const signed = `${header}.${encode({ ...claimsOf(person, issuer, startedAt), nonce })}`
	return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`
}

/** A part of an access token that no two people and generations share: what an HTTP answer carries of it. */
export const excerptOf = (accessToken: string) => accessToken.slice(60, 760)
