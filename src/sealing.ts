import { createCipheriv, createDecipheriv, createHmac, hkdfSync, type KeyObject } from 'node:crypto'
import { takeRandomBytes } from './random.js'

/**
 * Sealing: everything this library leaves outside the process (token blobs, sessions, transaction cookies)
 * is AES-256-GCM under a key of its own.
 *
 * A sealed text is base64url of `version(1) | key id(8) | salt(32) | iv(12) | ciphertext | tag(16)`. Each blob's
 * key is HKDF-SHA-256 (RFC 5869) of a secret with a random salt, so no key ever seals many messages and the
 * limits on random GCM nonces (NIST SP 800-38D, 8.3) are out of reach. The associated data binds the blob to
 * its purpose, the client id and the name it is stored under: moved elsewhere, it does not open.
 */
export interface Sealer {
	seal(purpose: string, name: string, plaintext: string): string
	open(purpose: string, name: string, sealed: string): Opened
}

/**
 * `unknown-key` and `unknown-format` may be another process's newer work and must be left alone;
 * `damaged` failed under a key that we hold and can be removed.
 */
export type Opened =
	/** `outdated`: sealed under an older secret, and to be sealed anew before that one is taken away. */
	| { readonly ok: true; readonly plaintext: string; readonly outdated: boolean }
	| { readonly ok: false; readonly reason: 'unknown-key' | 'unknown-format' | 'damaged' }

const formatVersion = 1
/**
 * The two characters that hold a first byte under 32. Versions count up, and begin so whatever follows; what does
 * not, as other text and JSON, plain or in base64, is of none.
 */
const beginsWithVersion = /^[A-H][\w-]/
const keyIdLength = 8
const saltLength = 32
const ivLength = 12
const tagLength = 16
const headerLength = 1 + keyIdLength + saltLength + ivLength

/** @param secrets the first seals, all open. `KeyObject`s, so that they reach a thread as opaque handles. */
export function createSealer(secrets: readonly KeyObject[], clientId: string): Sealer {
	const keys = secrets.map((secret) => ({ id: keyId(secret), secret }))
	const active = keys[0]
	if (!active) throw new TypeError('createSealer needs at least one secret')

	const keyFor = (secret: KeyObject, salt: Buffer, purpose: string) =>
		new Uint8Array(hkdfSync('sha256', secret, salt, `koa-msal/${purpose}/${clientId}`, 32))
	const associatedData = (header: Buffer, purpose: string, name: string) =>
		Buffer.concat([header, Buffer.from(JSON.stringify([purpose, clientId, name]))])

	return {
		seal(purpose, name, plaintext) {
			const salt = takeRandomBytes(saltLength)
			const iv = takeRandomBytes(ivLength)
			const header = Buffer.concat([Buffer.of(formatVersion), active.id, salt, iv])
			const cipher = createCipheriv('aes-256-gcm', keyFor(active.secret, salt, purpose), iv, {
				authTagLength: tagLength,
			})
			cipher.setAAD(associatedData(header, purpose, name))
			return Buffer.concat([
				header,
				cipher.update(plaintext, 'utf8'),
				cipher.final(),
				cipher.getAuthTag(),
			]).toString('base64url')
		},

		open(purpose, name, sealed) {
			const bytes = Buffer.from(sealed, 'base64url')
			// First, for a later version may be of another length and spelling from there on.
			if (beginsWithVersion.test(sealed) && bytes[0] !== formatVersion)
				return { ok: false, reason: 'unknown-format' }
			// Buffer.from skips what is not base64url: only the one canonical spelling of the bytes is ours.
			if (bytes.length < headerLength + tagLength || bytes.toString('base64url') !== sealed)
				return { ok: false, reason: 'damaged' }
			const id = bytes.subarray(1, 1 + keyIdLength)
			const key = keys.find((candidate) => candidate.id.equals(id))
			if (!key) return { ok: false, reason: 'unknown-key' }
			const salt = bytes.subarray(1 + keyIdLength, 1 + keyIdLength + saltLength)
			const iv = bytes.subarray(headerLength - ivLength, headerLength)
			try {
				const decipher = createDecipheriv('aes-256-gcm', keyFor(key.secret, salt, purpose), iv, {
					authTagLength: tagLength,
				})
				decipher.setAAD(associatedData(bytes.subarray(0, headerLength), purpose, name))
				decipher.setAuthTag(bytes.subarray(bytes.length - tagLength))
				const ciphertext = bytes.subarray(headerLength, bytes.length - tagLength)
				const plaintext = decipher.update(ciphertext, undefined, 'utf8') + decipher.final('utf8')
				return { ok: true, plaintext, outdated: key !== active }
			} catch {
				return { ok: false, reason: 'damaged' }
			}
		},
	}
}

/** The longest plaintext, in UTF-8, whose sealed text has no more characters than this. */
export function plaintextBytes(sealed: number): number {
	return Math.floor((sealed * 3) / 4) - headerLength - tagLength
}

/** A name for a secret that says nothing about it, so that a blob can tell which of several opens it. */
function keyId(secret: KeyObject): Buffer {
	return createHmac('sha256', secret).update('koa-msal/key-id').digest().subarray(0, keyIdLength)
}

/** A key for one purpose that is not sealing (cookie signatures, say), from a secret. */
export function deriveKey(secret: KeyObject, purpose: string, clientId: string): Buffer {
	return Buffer.from(hkdfSync('sha256', secret, '', `koa-msal/${purpose}/${clientId}`, 32))
}
