import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Redis } from 'ioredis'
import { createSetting, type Session, type Setting } from '../cluster/setting.js'
import { type BrokerProcess, wordOf } from '../support/broker-process.js'
import { readCache, writeCache } from '../support/expire.js'
import { createLink, type RedisLink } from '../support/redis-link.js'
import { times } from './account.js'

const mebibyte = 1_048_576
const tooLarge = 50 * mebibyte

describe('H4: what stands in Redis where the tokens of a session should', { timeout: 120_000 }, () => {
	let setting: Setting
	let client: Redis
	let link: RedisLink
	let one: BrokerProcess
	let others: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		client = setting.redis.client()
		link = await createLink(setting.redis.path)
		one = await setting.start({ redis: { host: '127.0.0.1', port: link.port }, pool: { threads: 1 } })
		others = await Promise.all(times(10, () => setting.signIn()))
		await one.acquire(others, { forceRefresh: true })
	})
	after(async () => {
		await link?.close()
		await setting?.close()
	})

	const keyOf = ({ msal }: Session) => `${setting.where({ msal }).namespace}:t:{${msal.partition}}`
	const peakMemory = async () => ((await one.ask({ do: 'peakMemory' })) as number) * 1024

	const poisons: Record<string, (session: Session) => Promise<unknown>> = {
		'50 MB of nothing': (session) => client.hset(keyOf(session), { v: 99, b: 'x'.repeat(tooLarge) }),
		'a cache of 50 MB, sealed well': async (session) => {
			const stored = await readCache(setting.where(session))
			assert.ok(stored)
			const [entry = {}] = Object.values(stored.cache.AccessToken ?? {})
			const AccessToken = Object.fromEntries(
				times(10_000, (at) => [`${at}`, { ...entry, target: `scope-${at}`, secret: 'x'.repeat(3700) }]),
			)
			await writeCache(setting.where(session), stored.version + 1, { ...stored.cache, AccessToken })
			assert.ok((await client.hstrlen(keyOf(session), 'b')) > tooLarge)
		},
	}
	for (const [what, poison] of Object.entries(poisons))
		it(`H4: ${what}: is a sign-out of that session, never read, and costs no memory, no thread and nobody else`, async () => {
			for (const request of [{}, { forceRefresh: true }]) {
				const victim = await setting.signIn()
				await poison(victim)
				const [memory, answered] = [await peakMemory(), link.answered]
				for (let round = 0; round < 3; round++) {
					const [first, ...rest] = await one.acquire([victim, ...others], request)
					assert.equal(wordOf(first), 'ERR_SIGNED_OUT')
					for (const reply of rest) assert.ok('outcome' in reply, wordOf(reply))
				}
				assert.ok(link.answered - answered < mebibyte, `${link.answered - answered} bytes were read`)
				const more = (await peakMemory()) - memory
				assert.ok(more < 20 * mebibyte, `${more} bytes`)
				assert.equal(await client.exists(keyOf(victim)), 0, 'nobody meets it again')
			}
			assert.equal(((await one.ask({ do: 'statistics' })) as { workerFailures: number }).workerFailures, 0)
		})

	it('H4: 50 MB that appear while it is being refreshed: are not read either', async () => {
		const victim = await setting.signIn()
		setting.world.standIn.inject({ on: 'token', delayMs: 400 })
		const answered = link.answered
		const refreshing = one.acquire([victim], { forceRefresh: true })
		while (!(await client.exists(keyOf(victim).replace(':t:', ':l:')))) await one.ask({ do: 'statistics' })
		await client.hset(keyOf(victim), { v: 99, b: 'x'.repeat(tooLarge) })
		assert.deepEqual((await refreshing).map(wordOf), ['ERR_SIGNED_OUT'])
		assert.deepEqual((await one.acquire([victim])).map(wordOf), ['ERR_SIGNED_OUT'])
		assert.equal(await client.exists(keyOf(victim)), 0)
		assert.ok(link.answered - answered < mebibyte)
	})

	it('H4: 50 MB that nobody asks for: are cleaned away as damaged', async () => {
		const victim = await setting.signIn()
		await client.hset(keyOf(victim), { v: 99, b: 'x'.repeat(tooLarge) })
		assert.equal((await setting.broker.sessions.clean()).damaged, 1)
		assert.equal(await client.exists(keyOf(victim)), 0)
	})

	it('E8: an index of another type: keeps nobody from signing in or out, and is made anew', async () => {
		const own = await setting.signIn()
		const { account } = own.msal
		const user = { tenantId: account.tenantId, objectId: account.objectId }
		const spoil = async () => {
			const keys = await client.keys(`${setting.where(own).namespace}:i:*`)
			assert.ok(keys.length > 0)
			for (const [at, key] of keys.entries()) {
				await client.del(key)
				await (at % 2 ? client.set(key, 'x') : client.rpush(key, 'x', 'y'))
			}
		}
		await spoil()
		assert.deepEqual(await setting.broker.sessions.find(user), [])
		await spoil()
		const next = await setting.signIn()
		const found = (await setting.broker.sessions.find(user)).map(({ partition }) => partition)
		assert.ok(found.includes(next.msal.partition))
		await spoil()
		await one.ask({ do: 'signOut', session: next })
		assert.equal(await client.exists(keyOf(next)), 0)
		await setting.signIn()
		await spoil()
		await setting.broker.sessions.clean()
		assert.deepEqual(await client.keys(`${setting.where(own).namespace}:i:*`), [])
	})

	it('E8: a web session of another type: is cleaned away as damaged', async () => {
		const { namespace } = setting.where(await setting.signIn())
		for (const kind of ['s', 'o']) await client.rpush(`${namespace}:${kind}:x`, 'x')
		assert.equal((await setting.broker.sessions.clean()).damaged, 2)
		assert.deepEqual(await client.exists(`${namespace}:s:x`, `${namespace}:o:x`), 0)
	})

	it('E8: of another type: is a sign-out, and can be signed out of', async () => {
		const foreign = [(key: string) => client.set(key, 'x'), (key: string) => client.rpush(key, 'x', 'y')]
		for (const put of foreign) {
			const [victim, leaver] = [await setting.signIn(), await setting.signIn()]
			for (const session of [victim, leaver]) {
				await client.del(keyOf(session))
				await put(keyOf(session))
			}
			assert.deepEqual((await one.acquire([victim])).map(wordOf), ['ERR_SIGNED_OUT'])
			assert.equal(await one.ask({ do: 'isSignedIn', session: leaver }), false)
			await one.ask({ do: 'signOut', session: leaver })
			for (const session of [victim, leaver]) assert.equal(await client.exists(keyOf(session)), 0)
		}
	})
})
