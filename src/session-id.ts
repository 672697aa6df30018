import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { deriveKey } from './sealing.js'

/** Names of sessions for people: on a screen, in a log, on a command line. */
export interface SessionIds {
	idOf(partition: string): string
	/** `undefined`: no id of this application's, or one that was made under a secret that is gone. */
	partitionOf(id: string): string | undefined
}

/** AES Key Wrap (RFC 3394) under a 256-bit key, with the initial value of its section 2.2.3.1. */
const algorithm = 'id-aes256-wrap'
const initialValue = Buffer.alloc(8, 0xa6)

/**
 * Who knows the name of a partition can have its tokens, in this process and over `koa-msal/remote`, so it is
 * treated as a key is: wrapped. An id leads back to the session by itself, without an index or a search, and is the
 * same each time, until the first of the secrets changes; an older one is good for as long as its secret is there.
 */
export function createSessionIds(secrets: readonly KeyObject[], clientId: string): SessionIds {
	const keys = secrets.map((secret) => deriveKey(secret, 'session-id', clientId))
	return {
		idOf(partition) {
			const cipher = createCipheriv(algorithm, keys[0] as Buffer, initialValue)
			const wrapped = Buffer.concat([cipher.update(partition, 'base64url'), cipher.final()])
			// One that began with `-`, as every 64th would, is an option to a command line.
			return `s${wrapped.toString('base64url')}`
		},
		partitionOf(id) {
			const [, wrapped] = /^s([\w-]{54})$/.exec(id) ?? []
			if (wrapped === undefined) return undefined
			for (const key of keys) {
				try {
					const decipher = createDecipheriv(algorithm, key, initialValue)
					return Buffer.concat([decipher.update(wrapped, 'base64url'), decipher.final()]).toString(
						'base64url',
					)
				} catch {
					// Made under another secret, or by somebody else.
				}
			}
			return undefined
		},
	}
}
