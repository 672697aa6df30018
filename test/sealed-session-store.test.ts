import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import redisStore from 'koa-redis'
import type { Browser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import { MapStore } from '../examples/existing-app/map-store.js'
import { BrokerError, memoryTokenStore, redisTokenStore, sealedSessionStore } from '../src/index.js'
import type { World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { gate } from './support/session-application.js'
import { createShopApplication, createShopWorld, type ShopApplication } from './support/shop-application.js'

const older = 'an older secret, of more than 32 bytes: 0123456789'
const newer = 'a newer secret, of more than 32 bytes: 9876543210'

describe('sealedSessionStore on koa-redis', () => {
	let world: World
	let redis: TestRedis
	/** The application's own store. */
	let sessions: ReturnType<typeof redisStore>
	let shop: ShopApplication
	/** Another process of the application. */
	let other: ShopApplication
	before(async () => {
		;[world, redis] = await Promise.all([createShopWorld(), startRedis()])
		const client = redis.client()
		sessions = redisStore({ client, serialize: JSON.stringify, unserialize: JSON.parse })
		const store = redisTokenStore({ path: redis.path })
		;[shop, other] = await Promise.all([
			createShopApplication(world, { sessions, settings: { store, secrets: [older] } }),
			createShopApplication(world, { sessions, settings: { store, secrets: [older, newer] } }),
		])
	})
	after(async () => {
		await Promise.all([shop.close(), other.close()])
		await redis.stop()
		await world.close()
	})
	beforeEach(() => redis.client().flushall())

	const json = { accept: 'application/json' }
	const typed = { method: 'GET', crossSite: false, topLevel: true } as const
	const cookieOf = (browser: Browser) => browser.jar.headerFor(new URL(shop.address), typed)
	const orders = (at: ShopApplication, cookie: string) =>
		fetch(`${at.address}/orders`, { headers: { ...json, cookie } })

	/** Sessions, of the application's own key; and tokens. */
	const held = async () =>
		(await redis.dump()).filter((line) => !line.startsWith('koa-msal:') || /^koa-msal:[^:]+:t:/.test(line))

	const sessionKey = async () => {
		const [line = ''] = (await held()).filter((one) => !one.startsWith('koa-msal:'))
		return line.split(' ')[0] ?? ''
	}

	it('keeps nothing readable in Redis, and nothing at all after a sign-out', async () => {
		const browser = shop.browser()
		await browser.post(`${shop.address}/basket`, { article: 'table' })
		await shop.signIn(browser)
		const lines = await held()
		assert.equal(lines.length, 2, 'a session and its tokens')
		for (const text of ['table', 'basket', 'homeAccountId', people.ada.upn, people.ada.oid])
			assert.ok(!lines.join().includes(text), text)
		await browser.get(`${shop.address}/user/logout`)
		assert.deepEqual(await held(), [])
	})

	it('brings nothing back from a slow request of another process', async () => {
		const [entered, released] = [gate(), gate()]
		const browser = shop.browser()
		await shop.signIn(browser)
		const cookie = cookieOf(browser)
		const behind = async (_: unknown, next: () => Promise<unknown>) => {
			entered.open()
			await released.opened
			await next()
		}
		await other.rebuilt({ sessions, behind }, async () => {
			const slow = orders(other, cookie)
			await entered.opened
			await browser.get(`${shop.address}/user/logout`)
			released.open()
			const answer = await slow
			assert.deepEqual([answer.status, answer.headers.getSetCookie()], [200, []])
		})
		assert.deepEqual(await held(), [])
		assert.equal((await orders(shop, cookie)).status, 401)
	})

	it('is over in every process with its tokens, also when somebody stores it again', async () => {
		const browser = shop.browser()
		await shop.signIn(browser)
		const cookie = cookieOf(browser)
		assert.equal((await orders(other, cookie)).status, 200)
		const key = await sessionKey()
		const stored = await redis.client().get(key)
		await browser.get(`${shop.address}/user/logout`)
		// As a process would that looked before the sign-out, and wrote after it.
		await redis.client().set(key, stored ?? '', 'EX', 600)
		const refused = await orders(other, cookie)
		assert.equal(refused.status, 401)
		assert.deepEqual(await held(), [], 'and it is removed')
	})

	it('is sealed anew under the newer secret when it is only read, and lives as long as its cookie', {
		timeout: 10_000,
	}, async ({ signal }) => {
		const browser = shop.browser()
		await browser.post(`${shop.address}/basket`, { article: 'table' })
		const key = await sessionKey()
		const client = redis.client()
		const before = await client.get(key)
		await client.expire(key, 600)
		const rolled = await createShopApplication(world, { sessions, settings: { secrets: [newer, older] } })
		const home = async () =>
			(await fetch(`${rolled.address}/`, { headers: { cookie: cookieOf(browser) } })).text()
		try {
			assert.match(await home(), /table/)
			// Nobody waits for it.
			while (!signal.aborted && (await client.get(key)) === before)
				await new Promise((resolve) => setImmediate(resolve))
			const lifetime = await client.ttl(key)
			assert.ok(lifetime > 86_000 && lifetime <= 86_410, `${lifetime} s`)
			assert.match(await home(), /table/)
		} finally {
			await rolled.close()
		}
	})

	describe('on a store that does not answer', () => {
		const unavailable = (error: unknown) =>
			error instanceof BrokerError && error.code === 'ERR_STORE_UNAVAILABLE'
		const turn = () => new Promise(setImmediate)

		/** Its first write is held until the gate opens. */
		const holding = (held: Promise<unknown>) => {
			const store = new MapStore()
			let isFirst = true
			const sealed = sealedSessionStore(
				{
					get: (key) => store.get(key),
					set: async (key, session, maxAge) => {
						const waits = isFirst
						isFirst = false
						if (waits) await held
						await store.set(key, session, maxAge)
					},
					destroy: (key) => store.destroy(key),
				},
				shop.broker,
			)
			return { store, sealed }
		}

		it('is not waited for by all that comes after', { timeout: 5000 }, async (t) => {
			const { store, sealed } = holding(new Promise(() => {}))
			t.mock.timers.enable({ apis: ['setTimeout'] })
			const lost = assert.rejects(sealed.set('key', { basket: ['lamp'] }, 60_000, { ctx: {} }), unavailable)
			const next = sealed.set('key', { basket: ['table'] }, 60_000, { ctx: {} })
			const left = sealed.destroy('key', { ctx: {} })
			await turn()
			t.mock.timers.tick(4999)
			await turn()
			assert.equal(store.entries.size, 0, 'one that is slow has its turn')
			t.mock.timers.tick(1)
			await lost
			await next
			await left
			assert.equal(store.entries.size, 0)
		})

		for (const fails of [false, true])
			it(`gets nothing back when it answers at last${fails ? ', with an error' : ''}`, async (t) => {
				const answers = gate()
				const { store, sealed } = holding(
					fails ? answers.opened.then(() => Promise.reject(new Error('down'))) : answers.opened,
				)
				t.mock.timers.enable({ apis: ['setTimeout'] })
				const lost = assert.rejects(sealed.set('key', { basket: [] }, 60_000, { ctx: {} }), unavailable)
				await turn()
				t.mock.timers.tick(5000)
				await lost
				await sealed.destroy('key', { ctx: {} })
				answers.open()
				for (let i = 0; i < 5; i++) await turn()
				assert.equal(store.entries.size, 0)
			})

		it('loses nothing that is still somebody’s when it answers at last', async (t) => {
			const answers = gate()
			const { store, sealed } = holding(answers.opened)
			t.mock.timers.enable({ apis: ['setTimeout'] })
			const lost = assert.rejects(sealed.set('key', { basket: [] }, 60_000, { ctx: {} }), unavailable)
			await turn()
			t.mock.timers.tick(5000)
			await lost
			answers.open()
			for (let i = 0; i < 5; i++) await turn()
			assert.equal(store.entries.size, 1)
		})
	})

	it('answers 503 with Retry-After, and not 500, for a store that fails (E1)', async (t) => {
		const store = new MapStore()
		const plain = await createShopApplication(world, { sessions: store })
		try {
			const browser = plain.browser()
			await plain.signIn(browser)
			for (const method of ['get', 'set', 'destroy'] as const)
				t.mock.method(store, method, () => Promise.reject(new Error('connect ECONNREFUSED')))
			for (const path of ['/orders', '/user/logout']) {
				const { status, headers } = await browser.get(`${plain.address}${path}`, json)
				assert.deepEqual([status, headers.get('retry-after')], [503, '5'], path)
			}
			const anonymous = await plain.browser().get(`${plain.address}/`)
			assert.equal(anonymous.status, 200)
			assert.ok(plain.errors.every((error) => !error.message.includes('ECONNREFUSED')))
		} finally {
			await plain.close()
		}
	})

	describe('with a sign-in whose session ended a moment before', () => {
		let store: MapStore
		let query: ShopApplication
		before(async () => {
			store = new MapStore()
			query = await createShopApplication(world, {
				sessions: store,
				settings: { auth: { responseMode: 'query' }, store: memoryTokenStore() },
			})
		})
		after(() => query.close())
		beforeEach(() => store.entries.clear())

		const tokens = async () => {
			let count = 0
			for await (const _ of query.broker.sessions.list()) count++
			return count
		}

		it('stores it all the same: it is one of its own', async (t) => {
			const browser = query.browser()
			await browser.post(`${query.address}/basket`, { article: 'lamp' })
			await browser.follow(`${query.address}/user/login`)
			const get = store.get.bind(store)
			let reads = 0
			t.mock.method(store, 'get', async (key: string) => {
				const found = await get(key)
				// As another tab does: the request has been given the session, and has looked into it.
				if (++reads === 2) store.entries.delete(key)
				return found
			})
			await browser.press('Ada Lovelace')
			assert.deepEqual([store.entries.size, await tokens()], [1, 1])
			assert.equal((await browser.get(`${query.address}/orders`)).status, 200)
		})

		it('leaves no tokens when the request is over with it', async () => {
			const browser = query.browser()
			await query.signIn(browser)
			const sealed = sealedSessionStore(store, query.broker)
			const [key = ''] = store.entries.keys()
			const { msal } = (await sealed.get(key, 60_000, { ctx: {} })) ?? {}
			const ctx = { headerSent: true }
			await sealed.set('old', { basket: [] }, 60_000, { ctx })
			store.entries.delete('old')
			await sealed.set('old', { basket: ['lamp'] }, 60_000, { ctx })
			assert.equal(store.entries.has('old'), false)
			await assert.rejects(
				sealed.set('new', { msal }, 60_000, { ctx }),
				(error) => error instanceof BrokerError && error.code === 'ERR_LOGIN_REJECTED',
			)
			assert.equal(store.entries.has('new'), false)
			assert.equal(await query.broker.isSignedIn({ msal } as object), false)
		})
	})

	it('needs a koa-session that tells the request', async () => {
		const sealed = sealedSessionStore(sessions, shop.broker)
		await assert.rejects(
			sealed.get('key', 1000, {}),
			(error) => error instanceof BrokerError && error.code === 'ERR_CONFIG' && /6\.4/.test(error.message),
		)
	})
})
