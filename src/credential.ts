import { createHash, createPrivateKey, createSecretKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { described, masked } from './described.js'
import { BrokerError } from './errors.js'
import { reason } from './network.js'
import type { WireCredential } from './wire.js'
import { withTimeout } from './with-timeout.js'

/** A certificate credential. */
export interface ClientCertificate {
	/** SHA-256 of the certificate's DER, in hex. */
	readonly thumbprintSha256: string
	/** PEM, PKCS #8 or PKCS #1, not encrypted. RSA, 2048 bits or more. */
	readonly privateKey: string
	/** PEM certificate chain, for subject name and issuer authentication. */
	readonly x5c?: string
}

/** A PEM file with key and certificate. It is watched: a new certificate is used without a restart. */
export interface ClientCertificateFile {
	readonly file: string
}

/** `auth`'s credential options, of which there is one. */
export interface CredentialOptions {
	/**
	 * The secret, or a function that reads it where it is kept, called at the start and by `broker.reload()`. It has
	 * `network.timeout`.
	 */
	readonly clientSecret?: string | (() => Promise<string>)
	/** The certificate, a PEM file, or a function as for `clientSecret`. */
	readonly clientCertificate?: ClientCertificate | ClientCertificateFile | (() => Promise<ClientCertificate>)
}

/** Where the application's credential comes from. */
export interface CredentialSource {
	readonly kind: WireCredential['kind']
	/** @throws ERR_CONFIG when what comes is no credential */
	load(): Promise<WireCredential>
	/** Whether another load may bring another credential. */
	readonly rolls: boolean
	/** The file to watch. */
	readonly file?: string
	/** The option that it came from, safe to print. */
	readonly description: Readonly<Record<string, unknown>>
}

/**
 * The source for checked options; with neither of the two, assertions of the application's own.
 * @param timeout milliseconds that a function or a file has
 */
export function credentialSource(
	{ clientSecret, clientCertificate }: CredentialOptions,
	timeout: number,
): CredentialSource {
	if (typeof clientSecret === 'string')
		return fixed(toSecret(clientSecret), { clientSecret: masked(clientSecret) })
	if (clientSecret)
		return {
			kind: 'secret',
			rolls: true,
			description: { clientSecret: described(clientSecret) },
			load: async () => toSecret(await called(clientSecret, 'clientSecret', timeout)),
		}
	if (!clientCertificate) return fixed({ kind: 'assertion' }, {})
	if (typeof clientCertificate === 'function')
		return {
			kind: 'certificate',
			rolls: true,
			description: { clientCertificate: described(clientCertificate) },
			load: async () => toCertificate(await called(clientCertificate, 'clientCertificate', timeout)),
		}
	if ('file' in clientCertificate) {
		const { file } = clientCertificate
		return {
			kind: 'certificate',
			rolls: true,
			file,
			description: { clientCertificate: { file: described(file) } },
			load: async () =>
				toCertificate(readCertificate(await called(() => pemOf(file), 'clientCertificate', timeout))),
		}
	}
	const { thumbprintSha256, privateKey, x5c } = clientCertificate
	return fixed(toCertificate(clientCertificate), {
		clientCertificate: {
			thumbprintSha256,
			privateKey: masked(privateKey),
			...(x5c !== undefined && { x5c: masked(x5c) }),
		},
	})
}

/** Key and certificates of a PEM file, as Azure's SDKs take it. */
export function readCertificate(pem: string): ClientCertificate | undefined {
	const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----/.exec(
		pem,
	)?.[0]
	const certificates = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)
	if (!privateKey || !certificates?.[0]) return undefined
	try {
		const der = new X509Certificate(certificates[0]).raw
		return {
			thumbprintSha256: createHash('sha256').update(der).digest('hex'),
			privateKey,
			x5c: certificates.join('\n'),
		}
	} catch {
		return undefined
	}
}

/** Whether a certificate credential can be used. */
export function isClientCertificate(value: unknown): value is ClientCertificate {
	if (typeof value !== 'object' || value === null) return false
	const { thumbprintSha256, privateKey, x5c } = value as Partial<ClientCertificate>
	if (typeof thumbprintSha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(thumbprintSha256)) return false
	if (x5c !== undefined && !/-----BEGIN CERTIFICATE-----/.test(String(x5c))) return false
	try {
		const key = createPrivateKey(String(privateKey))
		return key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048
	} catch {
		return false
	}
}

function fixed(credential: WireCredential, description: CredentialSource['description']): CredentialSource {
	return { kind: credential.kind, rolls: false, load: async () => credential, description }
}

/** Neither the error's message nor what was returned is told: both may hold the secret. */
async function called<T>(load: () => Promise<T>, name: string, timeout: number): Promise<T> {
	try {
		return await withTimeout(load(), timeout, () => {
			throw new BrokerError('ERR_CONFIG', `auth.${name} has not answered within ${timeout} ms.`)
		})
	} catch (cause) {
		throw cause instanceof BrokerError ? cause : unusable(name, cause)
	}
}

async function pemOf(file: string): Promise<string> {
	try {
		return await readFile(file, 'utf8')
	} catch (cause) {
		throw unusable('clientCertificate', cause)
	}
}

function toSecret(secret: unknown): WireCredential {
	if (typeof secret !== 'string' || secret === '') throw unusable('clientSecret')
	return { kind: 'secret', secret: createSecretKey(Buffer.from(secret)) }
}

function toCertificate(certificate: unknown): WireCredential {
	if (!isClientCertificate(certificate)) throw unusable('clientCertificate')
	const { privateKey, thumbprintSha256, x5c } = certificate
	return {
		kind: 'certificate',
		privateKey: createPrivateKey(privateKey),
		thumbprintSha256,
		...(x5c !== undefined && { x5c }),
	}
}

/** Of what went wrong, its short word alone: a cause is printed together with the error. */
function unusable(name: string, cause?: unknown): BrokerError {
	const why = cause === undefined ? '' : ` (${reason(cause)})`
	return new BrokerError('ERR_CONFIG', `auth.${name} could not be read${why}, or is not a usable credential.`)
}
