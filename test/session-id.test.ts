import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { randomText } from '../src/random.js'
import { createSessionIds } from '../src/session-id.js'

const clientId = '11111111-2222-3333-4444-555555555555'
const [older, newer] = [createSecretKey(randomBytes(32)), createSecretKey(randomBytes(32))]

describe('the id of a session', () => {
	it('leads back to it, is the same each time, and tells nothing of it', () => {
		const ids = createSessionIds([older], clientId)
		for (let round = 0; round < 100; round++) {
			const partition = randomText()
			const id = ids.idOf(partition)
			assert.match(id, /^s[\w-]{54}$/)
			assert.equal(ids.idOf(partition), id)
			assert.equal(ids.partitionOf(id), partition)
			for (let at = 0; at + 8 <= partition.length; at++) assert.ok(!id.includes(partition.slice(at, at + 8)))
		}
	})

	it('is good while its secret is there, and under no other, nor for another application', () => {
		const partition = randomText()
		const id = createSessionIds([older], clientId).idOf(partition)
		assert.equal(createSessionIds([newer, older], clientId).partitionOf(id), partition)
		assert.equal(createSessionIds([newer], clientId).partitionOf(id), undefined)
		assert.equal(createSessionIds([older], `${clientId}1`).partitionOf(id), undefined)
	})

	it('cannot be made up, nor is a partition one', () => {
		const ids = createSessionIds([older], clientId)
		const partition = randomText()
		const id = ids.idOf(partition)
		const changed = `s${id[1] === 'A' ? 'B' : 'A'}${id.slice(2)}`
		for (const text of [
			'',
			partition,
			changed,
			`${id}A`,
			id.slice(1),
			'*',
			'x'.repeat(55),
			`s${'x'.repeat(54)}`,
		])
			assert.equal(ids.partitionOf(text), undefined, text)
	})
})
