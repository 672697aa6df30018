import 'reflect-metadata'
import { createHash, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { exportJWK, exportPKCS8, type JWK } from 'jose'

const crypto = webcrypto
const DAY = 86_400_000
const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** What an https server on localhost needs, and what its clients must trust. All PEM. */
export interface DevCertificates {
	/** The authority's certificate: the only thing a client has to trust. Its private key no longer exists. */
	readonly ca: string
	/** The server's private key (PKCS#8). */
	readonly key: string
	/** The server's certificate, for `localhost` and `127.0.0.1`. */
	readonly cert: string
}

/** How a server's certificate differs from a good one. */
export interface DevCertificateOptions {
	/** Names that it is for. Default: `localhost` and `127.0.0.1`. */
	readonly names?: x509.JsonGeneralNames
	/** When it ends. Default: in 30 days. */
	readonly notAfter?: Date
}

/** A certificate with which an application proves its identity (`private_key_jwt`). */
export interface ClientCertificate {
	/** PKCS#8 PEM. */
	readonly privateKey: string
	/** PEM; what MSAL calls `x5c`. */
	readonly certificate: string
	/** Uppercase hex of the SHA-256 of the DER, as the portal shows it. */
	readonly thumbprintSha256: string
	/** What the provider registers for the client. */
	readonly publicJwk: JWK
}

/**
 * An authority and one server certificate for this machine's loopback names. Both the discarded key and the name
 * constraint see to it that a developer who trusts the authority trusts nobody else's certificates by it.
 */
export async function createDevCertificates({
	names = [
		{ type: 'dns', value: 'localhost' },
		{ type: 'ip', value: '127.0.0.1' },
	],
	notAfter,
}: DevCertificateOptions = {}): Promise<DevCertificates> {
	const authorityKeys = await generateEcKeys()
	const authority = await x509.X509CertificateGenerator.createSelfSigned(
		{
			serialNumber: serialNumber(),
			name: 'CN=Development stand-in CA, O=Not a real authority',
			...validity(30),
			keys: authorityKeys,
			signingAlgorithm: EC,
			extensions: [
				new x509.BasicConstraintsExtension(true, 0, true),
				new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
				loopbackOnly(),
				await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey, false, crypto),
			],
		},
		crypto,
	)
	const serverKeys = await generateEcKeys()
	const server = await x509.X509CertificateGenerator.create(
		{
			serialNumber: serialNumber(),
			subject: 'CN=localhost',
			issuer: authority.subject,
			...validity(30),
			...(notAfter && { notAfter }),
			publicKey: serverKeys.publicKey,
			signingKey: authorityKeys.privateKey,
			signingAlgorithm: EC,
			extensions: [
				new x509.BasicConstraintsExtension(false, undefined, true),
				new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
				new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
				new x509.SubjectAlternativeNameExtension(names),
				await x509.AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey, false, crypto),
			],
		},
		crypto,
	)
	return {
		ca: authority.toString('pem'),
		key: await exportPKCS8(serverKeys.privateKey),
		cert: server.toString('pem'),
	}
}

/**
 * A self-signed RSA certificate for an application.
 * @param bits RSA modulus, 2048 (default) to 4096; the larger, the dearer each signature.
 */
export async function createClientCertificate(bits = 2048): Promise<ClientCertificate> {
	const algorithm = {
		name: 'RSASSA-PKCS1-v1_5',
		hash: 'SHA-256',
		modulusLength: bits,
		publicExponent: new Uint8Array([1, 0, 1]),
	}
	const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
	const certificate = await x509.X509CertificateGenerator.createSelfSigned(
		{
			serialNumber: serialNumber(),
			name: 'CN=Development client',
			...validity(30),
			keys,
			signingAlgorithm: algorithm,
		},
		crypto,
	)
	const der = Buffer.from(certificate.rawData)
	// PS256 and RS256 keys are the same key: MSAL signs with either, so the JWK names no algorithm.
	const { kty, n, e } = await exportJWK(keys.publicKey)
	return {
		privateKey: await exportPKCS8(keys.privateKey),
		certificate: certificate.toString('pem'),
		thumbprintSha256: createHash('sha256').update(der).digest('hex').toUpperCase(),
		publicJwk: {
			kty: kty as string,
			n: n as string,
			e: e as string,
			use: 'sig',
			x5c: [der.toString('base64')],
		},
	}
}

function generateEcKeys(): Promise<webcrypto.CryptoKeyPair> {
	return crypto.subtle.generateKey(EC, true, ['sign', 'verify'])
}

function serialNumber(): string {
	const bytes = crypto.getRandomValues(new Uint8Array(16))
	// RFC 5280 §4.1.2.2: a positive integer, so the first bit stays clear and the first byte is not zero.
	bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
	return Buffer.from(bytes).toString('hex')
}

/** From yesterday, so that a machine whose clock is a little behind accepts it. */
function validity(days: number): { notBefore: Date; notAfter: Date } {
	return { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + days * DAY) }
}

/**
 * RFC 5280 §4.2.1.10, written out by hand because x509 has no class for it:
 * `permittedSubtrees [0] { dNSName [2] "localhost", iPAddress [7] 127.0.0.1/32 }`.
 */
function loopbackOnly(): x509.Extension {
	const dns = der(0x30, der(0x82, Buffer.from('localhost', 'latin1')))
	const address = der(0x30, der(0x87, Buffer.from([127, 0, 0, 1, 255, 255, 255, 255])))
	return new x509.Extension(
		'2.5.29.30',
		true,
		Uint8Array.from(der(0x30, der(0xa0, Buffer.concat([dns, address])))),
	)
}

/** One short DER element (contents under 128 bytes). */
function der(tag: number, contents: Buffer): Buffer {
	return Buffer.concat([Buffer.from([tag, contents.length]), contents])
}
