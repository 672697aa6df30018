import assert from 'node:assert/strict'
import { it, mock } from 'node:test'
import { memoryTokenStore } from '../src/index.js'
import { createMemoryBackend } from '../src/koa/session-backend.js'

it('what is written in the last millisecond of its life in memory does not live for ever', async () => {
	const account = { homeAccountId: 'a.b', tenantId: 't', objectId: 'o', username: 'u' }
	let now = 1000
	const clock = mock.method(performance, 'now', () => now)
	try {
		for (const left of [0, 0.5]) {
			const store = memoryTokenStore()
			const sessions = createMemoryBackend(store)
			store.create('p', 'sealed', 100, account)
			store.create('q', 'sealed', 100, account)
			store.claim('u', 'mark', 100)
			await sessions.create('s', 'before', 100)
			now += 100 - left
			// Its cache looks at the clock once a millisecond of real time.
			await new Promise((resolve) => setTimeout(resolve, 5))
			store.commit('p', 'newer', account)
			store.bind('s', 'q')
			store.failClaim('u')
			await sessions.reseal('s', 'before', 'after')
			now += 1_000_000
			await new Promise((resolve) => setTimeout(resolve, 5))
			assert.deepEqual(
				[store.read('p'), store.read('q'), store.findClaim('u'), await sessions.get('s')],
				[undefined, undefined, undefined, undefined],
			)
		}
	} finally {
		clock.mock.restore()
	}
})
