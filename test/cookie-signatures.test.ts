import assert from 'node:assert/strict'
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
