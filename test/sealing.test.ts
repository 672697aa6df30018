import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { createSealer } from '../src/sealing.js'

const secret = () => createSecretKey(randomBytes(32))

describe('sealing', () => {
	const first = secret()
	const sealer = createSealer([first], 'client-a')

	it('opens what it sealed, and seals the same text differently each time', () => {
		const sealed = sealer.seal('token', 'k1', 'tëxt')
		assert.deepEqual(sealer.open('token', 'k1', sealed), {
			ok: true,
			plaintext: 'tëxt',
			outdated: false,
		})
		assert.notEqual(sealer.seal('token', 'k1', 'tëxt'), sealed)
	})

	it('is bound to its purpose, its name and the client id', () => {
		const sealed = sealer.seal('token', 'k1', 'text')
		const damaged = { ok: false, reason: 'damaged' }
		assert.deepEqual(sealer.open('session', 'k1', sealed), damaged)
		assert.deepEqual(sealer.open('token', 'k2', sealed), damaged)
		assert.deepEqual(createSealer([first], 'client-b').open('token', 'k1', sealed), damaged)
	})

	it('refuses every flipped bit, every truncation and any other spelling, and never throws', () => {
		const sealed = sealer.seal('token', 'k1', 'a short text')
		const bytes = Buffer.from(sealed, 'base64url')
		for (let i = 0; i < bytes.length; i++) {
			const flipped = Buffer.from(bytes)
			flipped[i] = (flipped[i] ?? 0) ^ 1
			assert.equal(sealer.open('token', 'k1', flipped.toString('base64url')).ok, false, `byte ${i}`)
			assert.equal(sealer.open('token', 'k1', bytes.subarray(0, i).toString('base64url')).ok, false)
		}
		for (const other of [
			'',
			' ',
			`${sealed}=`,
			` ${sealed}`,
			`${sealed}A`,
			`${sealed}\n`,
			'null',
			'{}',
			sealed.slice(1),
		])
			assert.equal(sealer.open('token', 'k1', other).ok, false, JSON.stringify(other))
	})

	it('opens under any secret of the list, seals under the first, and tells an unknown key and a later format from damage', () => {
		const second = secret()
		const old = sealer.seal('token', 'k1', 'text')
		const rolled = createSealer([second, first], 'client-a')
		assert.deepEqual(rolled.open('token', 'k1', old), { ok: true, plaintext: 'text', outdated: true })
		const fresh = rolled.seal('token', 'k1', 'text')
		assert.deepEqual(sealer.open('token', 'k1', fresh), { ok: false, reason: 'unknown-key' })
		const newer = Buffer.from(old, 'base64url')
		newer[0] = 2
		assert.deepEqual(sealer.open('token', 'k1', newer.toString('base64url')), {
			ok: false,
			reason: 'unknown-format',
		})
		for (const later of ['Ag', 'AgA', 'Ag.of.another-spelling+/=', `Ag${old.slice(2, 40)}`])
			assert.deepEqual(sealer.open('token', 'k1', later), { ok: false, reason: 'unknown-format' }, later)
		for (const none of [
			'',
			'A',
			'A=',
			' Ag',
			'é2',
			'{"version":2}',
			'null',
			'eyJ2IjoyfQ',
			'AQ',
			`AQ${old.slice(2, 40)}`,
			`${old}=`,
		])
			assert.deepEqual(sealer.open('token', 'k1', none), { ok: false, reason: 'damaged' }, none)
	})
})
