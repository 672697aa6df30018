import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { createCookieSignatures } from '../src/koa/cookie-signatures.js'
import type { Settings } from '../src/settings.js'

const secret = () => createSecretKey(randomBytes(32))
const under = (...secrets: Settings['secrets'][number][]) =>
	createCookieSignatures({ secrets, auth: { clientId: 'a' } as Settings['auth'] })

describe('signatures of session ids (B2, B5)', () => {
	const [first, second] = [secret(), secret()]
	const signatures = under(first, second)
	const id = randomBytes(32).toString('base64url')
	const good = signatures.sign(id)

	it('are good each time, and none other is, before a good one was seen and after', () => {
		const wrong = [
			'',
			good.slice(1),
			`${good}A`,
			good.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A')),
			'é'.repeat(43),
		]
		for (const signature of wrong) assert.equal(signatures.indexOf(id, signature), -1)
		for (let time = 0; time < 3; time++) assert.equal(signatures.indexOf(id, good), 0)
		for (const signature of wrong) assert.equal(signatures.indexOf(id, signature), -1)
		assert.equal(signatures.indexOf(randomBytes(32).toString('base64url'), good), -1)
	})

	it('that are remembered keep nothing alive but themselves', () => {
		// In a process of its own, where nobody else's memory counts.
		const code = `
			import { createSecretKey, randomBytes } from 'node:crypto'
			import { setTimeout as sleep } from 'node:timers/promises'
			const { createCookieSignatures } = await import('${new URL('../src/koa/cookie-signatures.js', import.meta.url)}')
			const signatures = createCookieSignatures({ secrets: [createSecretKey(randomBytes(32))], auth: { clientId: 'a' } })
			// What was collected is given back a while later, by another thread.
			const held = async () => {
				let least = Infinity
				for (let time = 0; time < 10; time++) {
					gc()
					await sleep(20)
					const { heapUsed, arrayBuffers } = process.memoryUsage()
					least = Math.min(least, heapUsed + arrayBuffers)
				}
				return least
			}
			const before = await held()
			let good = 0
			for (let i = 0; i < 2000; i++) {
				const one = randomBytes(32).toString('base64url')
				const header = Buffer.from(one + '.' + signatures.sign(one) + '; other=' + 'x'.repeat(4000)).toString('latin1')
				if (signatures.indexOf(header.slice(0, 43), header.slice(44, 87)) === 0) good++
				// What a request allocates besides, so that no two of these share what they were cut from.
				for (let j = 0; j < 4; j++) Buffer.from('x'.repeat(2000))
			}
			const each = ((await held()) - before) / 2000
			// Held till here.
			signatures.sign('')
			console.log(JSON.stringify({ good, each }))`
		const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', code])
		assert.ok(stdout.length > 0, String(stderr))
		const { good: count, each } = JSON.parse(String(stdout)) as { good: number; each: number }
		assert.equal(count, 2000)
		assert.ok(each < 1000, `${each} bytes for each`)
	})

	it('tell the secret each time, of one id under two secrets too', () => {
		const older = under(second).sign(id)
		for (const [signature, index] of [
			[older, 1],
			[good, 0],
			[older, 1],
			[older, 1],
			[good, 0],
		] as const)
			assert.equal(signatures.indexOf(id, signature), index)
		assert.equal(under(secret()).indexOf(id, good), -1)
	})
})
