import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { toAcquiredToken, withOutcome } from '../src/acquired-token.js'

describe('an acquired token', () => {
	const account = { homeAccountId: 'home', tenantId: 'tenant', objectId: 'object', username: 'ada' }
	const wire = {
		accessToken: 'secret',
		tokenType: 'Bearer',
		scopes: ['User.Read'],
		expiresOn: 1_800_000_000_000,
	}
	const token = toAcquiredToken(wire, account, 1_790_000_000_000, 'refreshed')
	const { expiresOn, ...rest } = wire
	const plain = {
		...rest,
		account,
		outcome: 'refreshed',
		expiresOn: new Date(expiresOn),
		refreshOn: new Date(1_790_000_000_000),
	}

	it('can be changed by none of its holders', () => {
		token.expiresOn.setTime(0)
		assert.equal(token.expiresOn.getTime(), expiresOn)
		assert.throws(() => Object.assign(token, { expiresOn: new Date(0) }), TypeError)
		assert.throws(() => Object.assign(token, { accessToken: '' }), TypeError)
		assert.deepEqual({ ...withOutcome(token, 'hit') }, { ...plain, outcome: 'hit' })
	})

	it('is copied whole, and nothing else with it', () => {
		for (const copy of [{ ...token }, structuredClone(token)]) {
			assert.deepEqual(copy, plain)
			assert.deepEqual(Reflect.ownKeys(copy).sort(), Object.keys(plain).sort())
		}
		assert.deepEqual(JSON.parse(JSON.stringify(token)), JSON.parse(JSON.stringify(plain)))
	})

	it('has its dates through a proxy and as a prototype', () => {
		for (const other of [new Proxy(token, {}), Object.create(token) as typeof token]) {
			assert.deepEqual(other.expiresOn, plain.expiresOn)
			assert.deepEqual(other.refreshOn, plain.refreshOn)
		}
	})

	it('shows its dates where it is inspected', () => {
		assert.doesNotMatch(inspect(token), /Getter/)
		assert.match(inspect(token), /expiresOn: 2027-01-15T08:00:00.000Z/)
	})
})
