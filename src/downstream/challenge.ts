import { checkClaims } from '../silent-request.js'

/**
 * The claims that an API wants to see in a token before it takes it, from its `WWW-Authenticate`; `undefined` when
 * there are none. https://learn.microsoft.com/entra/identity-platform/claims-challenge
 */
export function claimsOfChallenge(header: string | null): string | undefined {
	if (header === null || !/(?:^|,)\s*Bearer\s/i.test(header)) return undefined
	const [, encoded] = /[\s,]claims="([\w+/=-]+)"/i.exec(header) ?? []
	if (encoded === undefined) return undefined
	const claims = Buffer.from(encoded, 'base64').toString()
	try {
		checkClaims(claims)
		return claims
	} catch {
		return undefined
	}
}
