import { randomFillSync } from 'node:crypto'

/**
 * Random bytes, from a pool: to ask the system costs more than most of what the bytes are used for, so it is asked
 * for many at once, as Node does for `randomUUID`. What was handed out is not kept.
 */
export function takeRandomBytes(length: number): Buffer {
	if (length > pool.length) throw new RangeError(`No more than ${pool.length} bytes at a time.`)
	if (used + length > pool.length) {
		randomFillSync(pool)
		used = 0
	}
	const bytes = Buffer.from(pool.subarray(used, used + length))
	pool.fill(0, used, used + length)
	used += length
	return bytes
}

const pool = Buffer.alloc(4096)
let used = pool.length

/** 256 random bits, as text: a state, a nonce, a code verifier (RFC 7636, 4.1), the name of a partition or session. */
export function randomText(): string {
	return takeRandomBytes(32).toString('base64url')
}
