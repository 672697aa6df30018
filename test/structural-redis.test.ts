import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, describe, it } from 'node:test'
import * as ioredis5 from 'ioredis-5'
import { redisTokenStore } from '../src/index.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { createSessionApplication } from './support/session-application.js'

const require = createRequire(import.meta.url)
/** The ioredis that koa-redis brings along: two major versions older than ours, and without types. */
const ioredis4 = createRequire(require.resolve('koa-redis'))('ioredis') as {
	new (options: object): { readonly options: object; duplicate(): unknown; disconnect(): void }
	readonly Cluster: new (
		nodes: readonly object[],
		options: object,
	) => {
		readonly isCluster: boolean
		readonly options: object
		nodes(): readonly { readonly options: object }[]
		disconnect(): void
	}
}

describe('a Redis client of the application’s own ioredis', () => {
	let redis: TestRedis
	before(async () => {
		redis = await startRedis()
	})
	after(() => redis.stop())

	it('is another version’s than ours', () => {
		const versionOf = (name: string, from = require) =>
			(from(`${name}/package.json`) as { version: string }).version
		const majors = [
			versionOf('ioredis', createRequire(require.resolve('koa-redis'))),
			versionOf('ioredis-5'),
			versionOf('ioredis'),
		].map((version) => version.split('.')[0])
		assert.deepEqual(majors, ['4', '5', '6'])
	})

	const clients = {
		'ioredis 4': () => new ioredis4({ path: redis.path, lazyConnect: true }),
		// Compiled: what is passed is a class of another declaration than ours.
		'ioredis 5': () => new ioredis5.Redis({ path: redis.path, lazyConnect: true }),
	}
	for (const [name, create] of Object.entries(clients))
		it(`keeps sessions in its Redis (${name})`, async () => {
			const client = create()
			const app = await createSessionApplication({ store: redisTokenStore(client) }, (ctx) => {
				if (ctx.path === '/set') ctx.session.value = name
				return ctx.session.value ?? null
			})
			try {
				const { cookie } = await app.get('/set')
				assert.equal((await app.get('/', cookie)).text, JSON.stringify({ body: name }))
				assert.equal((await redis.dump()).length, 1)
			} finally {
				await app.close()
				client.disconnect()
				await redis.client().flushall()
			}
		})

	it('may be a cluster’s, or options that its types describe', () => {
		const nodes = [{ host: 'one.example', port: 7000 }]
		const options = { lazyConnect: true, redisOptions: { password: 'a password' } }
		const [four, five] = [new ioredis4.Cluster(nodes, options), new ioredis5.Cluster(nodes, options)]
		for (const { connection } of [redisTokenStore(four), redisTokenStore(five)]) {
			assert.equal(connection.kind, 'cluster')
			assert.deepEqual(connection.kind === 'cluster' && connection.nodes, nodes)
		}
		four.disconnect()
		five.disconnect()
		const described: ioredis5.RedisOptions = { host: 'one.example', port: 6380 }
		assert.deepEqual(redisTokenStore(described).connection, { kind: 'server', options: described })
	})
})
