// node seal-many.js <threads> <blobs per thread>: writes the salt and the IV of every blob to stdout.
import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createSealer } from '../../src/sealing.js'

/** version(1) | key id(8) | salt(32) | iv(12) | ciphertext | tag(16) */
const [saltAt, ivAt, ciphertextAt, tagLength] = [9, 41, 53, 16]
export const recordLength = ciphertextAt - saltAt

function sealMany(count: number): Uint8Array<ArrayBuffer> {
	const sealer = createSealer(
		[createSecretKey(Buffer.from('a test secret of more than 32 bytes: 0123456789'))],
		'a client id',
	)
	const plaintext = 'the same text, again and again'
	const records = Buffer.from(new ArrayBuffer(count * recordLength))
	for (let i = 0; i < count; i++) {
		const sealed = sealer.seal('tokens', 'the same name', plaintext)
		const bytes = Buffer.from(sealed, 'base64url')
		assert.equal(bytes.length, ciphertextAt + plaintext.length + tagLength)
		bytes.copy(records, i * recordLength, saltAt, ciphertextAt)
		if (i % 1000 > 0) continue
		// The places are right, and all 16 bytes of the tag are looked at: a change of any bit is noticed.
		for (const at of [saltAt, ivAt, ciphertextAt, bytes.length - tagLength, bytes.length - 1]) {
			const changed = Buffer.from(bytes)
			changed[at] = (changed[at] as number) ^ 1
			assert.equal(sealer.open('tokens', 'the same name', changed.toString('base64url')).ok, false)
		}
		assert.ok(sealer.open('tokens', 'the same name', sealed).ok)
	}
	return records
}

if (!isMainThread) {
	const records = sealMany(workerData as number)
	parentPort?.postMessage(records, [records.buffer])
} else if (process.argv[1] === import.meta.filename) {
	const [threads, count] = process.argv.slice(2).map(Number)
	for (let i = 0; i < (threads as number); i++) {
		const worker = new Worker(import.meta.filename, { workerData: count })
		worker.on('message', (records: Uint8Array) => process.stdout.write(records))
	}
}
