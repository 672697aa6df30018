import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type RedisSource, redisTokenStore } from '../src/index.js'
import { listenForSignOuts, type SignOutNotices } from '../src/sign-out-notices.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { createLink, type RedisLink } from './support/redis-link.js'

const namespace = 'koa-msal:test'
const password = 'a password'

async function until(condition: () => boolean, milliseconds: number, what: string): Promise<void> {
	const began = performance.now()
	while (!condition()) {
		assert.ok(performance.now() - began < milliseconds, `not within ${milliseconds} ms: ${what}`)
		await sleep(10)
	}
}

describe('notices of sign-outs', () => {
	let redis: TestRedis
	let link: RedisLink
	let admin: Redis
	let notices: SignOutNotices
	const forgotten: string[] = []
	before(async () => {
		redis = await startRedis()
		link = await createLink(redis.path)
		admin = redis.client()
		await admin.acl('SETUSER', 'app', 'on', `>${password}`, '~*', '&*', '+@all')
	})
	afterEach(() => notices.close())
	after(async () => {
		await link.close()
		await redis.stop()
	})

	const isHeard = () => Number.isFinite(notices.heardSince)
	const start = async (source: RedisSource) => {
		forgotten.length = 0
		notices = listenForSignOuts(redisTokenStore(source).connection, namespace, (partition) =>
			forgotten.push(partition),
		)
		assert.equal(isHeard(), false)
		await until(isHeard, 2000, 'heard at first')
	}
	const isTold = async (partition: string) => {
		assert.equal(await admin.publish(`${namespace}:signed-out`, partition), 1)
		await until(() => forgotten.includes(partition), 1000, partition)
	}
	const heardAnew = async (before: number) => {
		await until(() => isHeard() && notices.heardSince > before, 5000, 'heard anew')
	}

	it('come one for one, and nothing has been missed since the first', async () => {
		await start({ path: redis.path })
		const { heardSince } = notices
		assert.ok(heardSince <= performance.now() && heardSince > performance.now() - 2000)
		await isTold('one')
		await isTold('two')
		assert.deepEqual(forgotten, ['one', 'two'])
		assert.equal(notices.heardSince, heardSince)
	})

	it('may have been missed while the connection was broken', async () => {
		await start({ path: redis.path })
		const { heardSince } = notices
		await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
		await heardAnew(heardSince)
		await isTold('later')
	})

	it('may have been missed on a connection that leads nowhere and does not say so', async () => {
		await start({ host: '127.0.0.1', port: link.port })
		const { heardSince } = notices
		link.lose()
		await until(() => !isHeard(), 2500, 'nothing is heard')
		await heardAnew(heardSince)
		await isTold('later')
	})

	it('are not heard without the right to it, nor without the password', async () => {
		await start({ path: redis.path, username: 'app', password })
		for (const [taken, given] of [
			['resetchannels', 'allchannels'],
			['resetpass', `>${password}`],
		] as const) {
			const { heardSince } = notices
			await admin.acl('SETUSER', 'app', taken)
			await admin.call('CLIENT', 'KILL', 'USER', 'app')
			await until(() => !isHeard(), 1000, `nothing is heard after ${taken}`)
			await sleep(1500)
			assert.equal(isHeard(), false)
			await admin.acl('SETUSER', 'app', given)
			await heardAnew(heardSince)
			await isTold(given)
		}
	})
})
