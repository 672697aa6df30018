import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { recordLength } from './seal-many.js'

const program = fileURLToPath(new URL('./seal-many.js', import.meta.url))
const processes = 4
const threads = 4
const blobs = Number(process.env.BLOBS ?? 1_000_000)
const saltLength = 32

describe('D6: blobs sealed under one secret', { timeout: 120_000 }, () => {
	it(`never share a salt or an IV: ${blobs} blobs of ${processes} processes × ${threads} threads`, async () => {
		const each = Math.ceil(blobs / processes / threads)
		const parts = await Promise.all(
			Array.from({ length: processes }, async () => {
				const child = spawn(process.execPath, [program, String(threads), String(each)], {
					stdio: ['ignore', 'pipe', 'inherit'],
				})
				const [records, [code]] = await Promise.all([buffer(child.stdout), once(child, 'exit')])
				assert.equal(code, 0)
				return records
			}),
		)
		const salts = new Set<string>()
		const ivs = new Set<string>()
		for (const records of parts) {
			assert.equal(records.length, threads * each * recordLength)
			for (let at = 0; at < records.length; at += recordLength) {
				salts.add(records.toString('latin1', at, at + saltLength))
				ivs.add(records.toString('latin1', at + saltLength, at + recordLength))
			}
		}
		assert.equal(recordLength - saltLength, 12, 'an IV has 96 bits')
		assert.equal(salts.size, processes * threads * each)
		assert.equal(ivs.size, processes * threads * each)
	})
})
