import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientId, scopes } from '../../bench/people.js'
import { createRotatingProvider } from '../cluster/rotating-provider.js'
import { namespaceOf, secret } from '../cluster/setting.js'
import type { Reply } from '../fixtures/broker-process.js'
import { BrokerProcess } from '../support/broker-process.js'
import { writeCache } from '../support/expire.js'
import { startRedis } from '../support/redis.js'

/** Ten seconds in which no task runs, twice. */
const [rounds, idle] = [3, 10_000]

describe('connections to the provider', { timeout: 120_000 }, () => {
	it('H8: are kept while the threads have nothing to do: nine of ten refreshes make none', async () => {
		const [redis, { provider, seeded }] = await Promise.all([startRedis(), createRotatingProvider(20, 5)])
		const client = redis.client()
		const namespace = namespaceOf(clientId)
		for (const { session, cache } of seeded) {
			const { partition } = session.msal
			await writeCache({ redis: client, namespace, secret, clientId, partition }, 1, cache)
		}
		const one = await BrokerProcess.start({
			auth: provider.auth('one'),
			scopes,
			secrets: [secret],
			network: { caFile: provider.caFile },
			pool: { threads: 2 },
			redis: { path: redis.path },
		})
		try {
			for (let round = 1; round <= rounds; round++) {
				for (const { session } of seeded) {
					const [reply] = (await one.acquire([session], { forceRefresh: true })) as [Reply]
					assert.ok('outcome' in reply && reply.outcome === 'refreshed', JSON.stringify(reply))
				}
				if (round < rounds) await sleep(idle)
			}
			assert.equal(provider.posts, rounds * seeded.length)
			const { connections } = provider
			assert.ok(connections > 0 && connections <= provider.posts / 10, `${connections} connections`)
		} finally {
			await one.close()
			await Promise.all([redis.stop(), provider.close()])
		}
	})
})
