import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { WireCredential } from '../src/wire.js'

type Certificate = Extract<WireCredential, { kind: 'certificate' }>

/** Seconds an assertion is valid, as msal-node's own. */
const lifetime = 600
/** Seconds before its end at which the next one is made. */
const margin = 60

/**
 * Client assertions (RFC 7523) signed once per ten minutes and worker, not once per user as MSAL does: the
 * signature is the dearest part of a refresh (3.4 ms with RSA 4096).
 * Format: https://learn.microsoft.com/entra/identity-platform/certificate-credentials
 */
export function createAssertionSigner(
	certificate: Certificate,
	clientId: string,
): (audience: string) => Promise<string> {
	const held = new Map<string, { assertion: Promise<string>; until: number }>()
	return (audience) => {
		const now = Math.floor(Date.now() / 1000)
		const known = held.get(audience)
		if (known && known.until > now) return known.assertion
		const assertion = new SignJWT()
			.setProtectedHeader({
				alg: 'PS256',
				typ: 'JWT',
				'x5t#S256': Buffer.from(certificate.thumbprintSha256, 'hex').toString('base64url'),
				...(certificate.x5c !== undefined && { x5c: chain(certificate.x5c) }),
			})
			.setIssuer(clientId)
			.setSubject(clientId)
			.setAudience(audience)
			.setJti(randomUUID())
			.setIssuedAt(now)
			.setNotBefore(now)
			.setExpirationTime(now + lifetime)
			.sign(certificate.privateKey)
		held.set(audience, { assertion, until: now + lifetime - margin })
		assertion.catch(() => held.delete(audience))
		return assertion
	}
}

/** PEM certificates as the base64 DER list of a JWT header (RFC 7515, 4.1.6). */
function chain(pem: string): string[] {
	return [...pem.matchAll(/-----BEGIN CERTIFICATE-----([\s\S]+?)-----END CERTIFICATE-----/g)].map(
		([, body]) => (body ?? '').replace(/\s/g, ''),
	)
}
