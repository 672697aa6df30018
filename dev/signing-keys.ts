import { randomUUID } from 'node:crypto'
import {
	exportJWK,
	generateKeyPair,
	importJWK,
	type JSONWebKeySet,
	type JWK,
	type JWTPayload,
	SignJWT,
	UnsecuredJWT,
} from 'jose'

/** How a forged token is signed: `foreign` and `unknown` by a key nobody published, `none` not at all. */
export type ForgedKey = 'foreign' | 'unknown' | 'none'

/** A private RS256 key as the provider takes it. */
export async function createSigningKey(): Promise<JWK> {
	const { privateKey } = await generateKeyPair('RS256', { modulusLength: 2048, extractable: true })
	return { ...(await exportJWK(privateKey)), kid: randomUUID(), use: 'sig', alg: 'RS256' }
}

/** What is published of `keys`. */
export function publicKeys(keys: readonly JWK[]): JSONWebKeySet {
	return {
		keys: keys.map(
			({ kty, n, e, kid, use, alg }) => ({ kty, n, e, kid, use, alg }) as JSONWebKeySet['keys'][number],
		),
	}
}

/**
 * Signs exactly the given claims. A `foreign` signature carries the kid of the real key, as a forger would write
 * it: it must fail for its signature and not merely for an unknown kid. An `unknown` one carries its own.
 */
export async function signClaims(claims: JWTPayload, signingKey: JWK, key?: ForgedKey): Promise<string> {
	if (key === 'none') return new UnsecuredJWT(claims).encode()
	const jwk = key === undefined ? signingKey : await createSigningKey()
	const { kid } = key === 'unknown' ? jwk : signingKey
	return new SignJWT(claims)
		.setProtectedHeader({ typ: 'JWT', alg: 'RS256', kid: kid as string })
		.sign(await importJWK(jwk, 'RS256'))
}
