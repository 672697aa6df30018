import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { AccessTokenCache, type HeldToken } from '../src/access-token-cache.js'
import { normaliseScopes } from '../src/scopes.js'

const token = (
	scopes: readonly string[],
	usableUntil = 1000,
	claims?: string,
	granted: readonly string[] = scopes,
): HeldToken =>
	({
		token: { accessToken: 'x'.repeat(100), scopes },
		answer: Promise.resolve(),
		scopesKey: normaliseScopes(scopes).key,
		granted: new Set(granted.map((scope) => scope.toLowerCase())),
		...(claims !== undefined && { claims }),
		refreshOn: usableUntil / 2,
		usableUntil,
		cooldownUntil: 0,
		confirmedAt: 0,
		askedAt: 0,
	}) as unknown as HeldToken

const get = (cache: AccessTokenCache, partition: string, scopes: string[], now = 0, claims?: string) => {
	const { key, wanted } = normaliseScopes(scopes)
	return cache.get(partition, key, wanted, claims, now)
}

const roomy = { maxEntries: 1000, maxBytes: 10_000_000 }

describe('the access token cache', () => {
	it('answers until the token is no longer usable', () => {
		const cache = new AccessTokenCache(roomy)
		const held = token(['User.Read'])
		cache.put('p', held)
		assert.equal(get(cache, 'p', ['User.Read'], 999), held)
		assert.equal(get(cache, 'p', ['User.Read'], 1000), undefined)
		assert.equal(get(cache, 'other', ['User.Read']), undefined)
	})

	it('answers a request for some of the scopes that a token carries, never for more', () => {
		const cache = new AccessTokenCache(roomy)
		cache.put('p', token(['User.Read', 'Mail.Read']))
		assert.ok(get(cache, 'p', ['mail.read']))
		assert.equal(get(cache, 'p', ['Mail.Read', 'Files.Read']), undefined)
	})

	it('answers a request for OpenID Connect’s scopes alone only with a token that was asked for so', () => {
		const cache = new AccessTokenCache(roomy)
		cache.put('p', token(['api://one/Read', 'openid', 'profile']))
		assert.equal(get(cache, 'p', ['openid', 'profile']), undefined)
		const plain = token(['openid', 'email'], 1000, undefined, ['openid', 'email', 'User.Read'])
		cache.put('p', plain)
		assert.equal(get(cache, 'p', ['profile']), plain)
		assert.equal(cache.size, 2)
	})

	it('replaces the token for the same scopes, and answers a claims challenge only by its own', () => {
		const cache = new AccessTokenCache(roomy)
		cache.put('p', token(['User.Read']))
		assert.equal(get(cache, 'p', ['User.Read'], 0, '{"c":1}'), undefined)
		const stepped = token(['User.Read'], 1000, '{"c":1}')
		cache.put('p', stepped)
		assert.equal(cache.size, 1)
		assert.equal(get(cache, 'p', ['User.Read'], 0, '{"c":1}'), stepped)
		assert.equal(get(cache, 'p', ['User.Read']), stepped, 'nobody keeps the rejected one')
	})

	it('replaces every token that shares a scope with the new one, but for those of OpenID Connect', () => {
		const cache = new AccessTokenCache(roomy)
		const oidc = ['openid', 'profile', 'email', 'offline_access']
		const other = token(['api://one/Read', ...oidc])
		cache.put('p', other)
		cache.put('p', token(['User.Read', 'Mail.Read', ...oidc]))
		const forced = token(['MAIL.READ', ...oidc])
		cache.put('p', forced)
		assert.equal(get(cache, 'p', ['Mail.Read']), forced)
		assert.equal(get(cache, 'p', ['User.Read', 'Mail.Read']), undefined, 'the rejected one carried more')
		assert.equal(get(cache, 'p', ['User.Read']), undefined)
		assert.equal(get(cache, 'p', ['api://one/Read']), other)
		assert.equal(cache.size, 2)
	})

	it('answers nobody with a token after one that shares a scope with it, whatever was asked and granted', () => {
		const some = fc.subarray(['User.Read', 'Mail.Read', 'api://one/Read', 'openid', 'profile'], {
			minLength: 1,
		})
		const wins = fc.array(fc.record({ asked: some, granted: some }), { minLength: 1, maxLength: 12 })
		const plain = (scopes: readonly string[]) => normaliseScopes(scopes).wanted
		let hits = 0
		fc.assert(
			fc.property(wins, some, (won, wanted) => {
				const cache = new AccessTokenCache(roomy)
				const held = won.map(({ asked, granted }) => token(asked, 1000, undefined, granted))
				for (const [index, one] of held.entries()) {
					cache.put('p', one)
					assert.equal(get(cache, 'p', won[index]?.asked ?? []), one, 'its own request')
				}
				const found = get(cache, 'p', wanted)
				if (!found) return
				hits++
				const index = held.indexOf(found)
				const { asked = [], granted = [] } = won[index] ?? {}
				const carried = new Set(plain(granted))
				const sameRequest = normaliseScopes(asked).key === normaliseScopes(wanted).key
				const all = plain(wanted)
				assert.ok(sameRequest || (all.length > 0 && all.every((scope) => carried.has(scope))))
				for (const later of won.slice(index + 1))
					assert.ok(!plain(later.granted).some((scope) => carried.has(scope)), 'a rejected one is kept')
			}),
			{ numRuns: 2000 },
		)
		assert.ok(hits > 100, `the property was about ${hits} hits`)
	})

	it('forgets a partition', () => {
		const cache = new AccessTokenCache(roomy)
		cache.put('p', token(['User.Read']))
		cache.drop('p')
		cache.drop('p')
		assert.equal(get(cache, 'p', ['User.Read']), undefined)
		assert.deepEqual([cache.size, cache.bytes], [0, 0])
	})

	it('keeps what is used when it has to let go of something', () => {
		const cache = new AccessTokenCache({ maxEntries: 3, maxBytes: 10_000_000 })
		for (const partition of ['a', 'b', 'c']) cache.put(partition, token(['User.Read']))
		get(cache, 'a', ['User.Read'])
		cache.put('d', token(['User.Read']))
		assert.ok(get(cache, 'a', ['User.Read']), 'used since it was put in')
		assert.equal(get(cache, 'b', ['User.Read']), undefined)
	})

	it('stays within its bounds, and its counts are right, whatever is put, used and dropped', () => {
		const step = fc.record({
			do: fc.constantFrom('put', 'put', 'put', 'get', 'drop'),
			partition: fc.integer({ min: 0, max: 9 }).map(String),
			scopes: fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1 }),
		})
		fc.assert(
			fc.property(
				fc.array(step, { maxLength: 200 }),
				fc.integer({ min: 1, max: 12 }),
				(steps, maxEntries) => {
					const maxBytes = 8 * 1200
					const cache = new AccessTokenCache({ maxEntries, maxBytes })
					for (const { do: action, partition, scopes } of steps) {
						if (action === 'put') cache.put(partition, token(scopes))
						else if (action === 'get') get(cache, partition, scopes)
						else cache.drop(partition)
						assert.ok(cache.size <= maxEntries && cache.bytes <= maxBytes)
						if (action === 'put' && maxEntries > 4) assert.ok(cache.size > 0)
					}
					for (let partition = 0; partition < 10; partition++) cache.drop(String(partition))
					assert.deepEqual([cache.size, cache.bytes], [0, 0])
				},
			),
		)
	})
})

describe('normalised scopes', () => {
	it('have one key for the same scopes in any order, case and number', () => {
		fc.assert(
			fc.property(
				fc.array(fc.stringMatching(/^[A-Za-z.:/-]{1,20}$/), { minLength: 1, maxLength: 8 }),
				(scopes) => {
					const { key } = normaliseScopes(scopes)
					const shuffled = [...scopes.map((scope) => scope.toUpperCase()), ...scopes].reverse()
					assert.equal(normaliseScopes(shuffled).key, key)
					assert.equal(normaliseScopes([...scopes, 'openid', 'offline_access']).key, key)
				},
			),
		)
	})
})
