import { createHash } from 'node:crypto'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import { GRAPH_AUDIENCE } from '../directory.js'

/** Who calls, by a token that was checked. */
export interface Caller {
	readonly oid: string
	/** Satisfied authentication contexts. */
	readonly acrs: readonly string[]
	/** Whether the token carries a delegated or an application permission. */
	can(permission: string): boolean
}

/** What is wrong with a token, in Graph's words. */
export interface BadToken {
	readonly problem: string
}

/** Checks an `Authorization` header: signature, issuer, audience and lifetime. */
export async function verifyBearer(
	header: string,
	{ issuer, jwks }: { readonly issuer: string; readonly jwks: JSONWebKeySet },
): Promise<Caller | BadToken> {
	const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]*)$/.exec(header) ?? []
	if (!token) return { problem: 'Access token is empty.' }
	try {
		const options = { issuer, audience: GRAPH_AUDIENCE, clockTolerance: 300 }
		const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), options)
		return describeCaller(payload)
	} catch (error) {
		const expired = error instanceof errors.JWTExpired
		return {
			problem: expired
				? 'Lifetime validation failed, the token is expired.'
				: `IDX: ${(error as Error).message}`,
		}
	}
}

/** What a log says of a header: the same token has the same fingerprint, and nobody learns the token. */
export function fingerprint(header: string): string | undefined {
	return header ? createHash('sha256').update(header).digest('hex').slice(0, 12) : undefined
}

function describeCaller(payload: JWTPayload): Caller {
	const scopes = typeof payload.scp === 'string' ? payload.scp.split(' ') : []
	const permissions = [...scopes, ...strings(payload.roles)]
	return {
		oid: String(payload.oid),
		acrs: strings(payload.acrs),
		can: (permission) => permissions.includes(permission),
	}
}

function strings(value: unknown): string[] {
	return Array.isArray(value) ? value.map(String) : []
}
