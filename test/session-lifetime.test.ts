import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it, mock } from 'node:test'
import { memoryTokenStore, redisTokenStore } from '../src/index.js'
import { createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'
import { createSessionApplication, request, type SessionApplication } from './support/session-application.js'

const minute = 60_000
const idleTimeout = 10 * minute
const absoluteTimeout = 60 * minute

/** Lets the clock that sessions are measured by stand `ms` later; Redis keeps its own. */
function later(ms: number): void {
	const now = Date.now() + ms
	mock.timers.reset()
	mock.timers.enable({ apis: ['Date'], now })
}
afterEach(() => mock.timers.reset())

describe('the lifetime of a session in Redis (max_age of app_init_redis_session; B10)', () => {
	let redis: Awaited<ReturnType<typeof startRedis>>
	let client: ReturnType<typeof redis.client>
	let app: SessionApplication
	before(async () => {
		redis = await startRedis()
		client = redis.client()
	})
	after(() => redis.stop())

	/** A new application forgets which sessions it has told Redis of, as another process never knew. */
	async function application(): Promise<SessionApplication> {
		return createSessionApplication(
			{ store: redisTokenStore({ path: redis.path }), session: { idleTimeout, absoluteTimeout } },
			async (ctx) => {
				if (ctx.path === '/set') ctx.session.value = ctx.query.value
				if (ctx.path === '/regenerate') await ctx.session.regenerate()
				if (ctx.path === '/late') {
					later(2 * absoluteTimeout)
					ctx.session.value = 'late'
				}
				return JSON.parse(JSON.stringify(ctx.session))
			},
		)
	}

	async function stored(): Promise<{ readonly cookie: string; readonly key: string }> {
		await client.flushall()
		const { cookie = '' } = await app.get('/set?value=x')
		const [key = ''] = await client.keys('*')
		return { cookie, key }
	}

	async function lives(key: string, about: number): Promise<void> {
		const left = await client.pttl(key)
		assert.ok(left > about - 5000 && left <= about, `${left} ms, not about ${about}`)
	}

	before(async () => {
		app = await application()
	})
	after(() => app.close())

	it('is the idle time at first, and again after every change', async () => {
		const { cookie, key } = await stored()
		await lives(key, idleTimeout)
		await client.pexpire(key, 1000)
		await app.get('/set?value=y', cookie)
		await lives(key, idleTimeout)
	})

	it('is the idle time again after a visit that only reads', async () => {
		const { cookie, key } = await stored()
		await client.pexpire(key, 1000)
		await app.get('/', cookie)
		await lives(key, idleTimeout)
	})

	it('is not told to Redis on every visit', async () => {
		const { cookie, key } = await stored()
		await app.get('/', cookie)
		const monitor = await redis.monitor()
		for (let visit = 0; visit < 5; visit++) await app.get('/', cookie)
		const commands = await monitor.commands()
		monitor.stop()
		assert.deepEqual(
			commands.map(([command, named]) => [command?.toLowerCase(), named]),
			Array.from({ length: 5 }, () => ['get', key]),
		)
	})

	it('never goes beyond the absolute one, by visits or by changes', async () => {
		const { cookie, key } = await stored()
		later(absoluteTimeout - 2 * minute)
		// Neither a change, nor a visit to another process, gets more than what is left.
		assert.equal((await app.get('/set?value=y', cookie)).text, '{"body":{"value":"y"}}')
		await lives(key, 2 * minute)
		await client.persist(key)
		const other = await application()
		try {
			assert.equal((await other.get('/', cookie)).text, '{"body":{"value":"y"}}')
			await lives(key, 2 * minute)
		} finally {
			await other.close()
		}
	})

	it('ends at the absolute time although it was in use, and although Redis would keep it', async () => {
		const { cookie, key } = await stored()
		for (let passed = 0; passed < absoluteTimeout - idleTimeout; passed += idleTimeout / 2) {
			later(idleTimeout / 2)
			assert.equal((await app.get('/set?value=x', cookie)).text, '{"body":{"value":"x"}}')
		}
		await client.persist(key)
		later(idleTimeout + 1)
		const ended = await app.get('/', cookie)
		assert.deepEqual([ended.status, ended.text], [200, '{"body":{}}'])
		assert.deepEqual(await client.keys('*'), [])
	})

	it('is not begun anew by regenerate()', async () => {
		const { cookie } = await stored()
		later(absoluteTimeout - minute)
		const renewed = await app.get('/regenerate', cookie)
		assert.ok(renewed.cookie)
		const [key = ''] = await client.keys('*')
		await lives(key, minute)
	})

	it('ends within a request that takes longer: what that stores is gone, without an error', async () => {
		const { cookie } = await stored()
		const late = await app.get('/late', cookie)
		assert.deepEqual([late.status, late.lines], [200, []])
		mock.timers.reset()
		assert.deepEqual(await client.keys('*'), [])
		assert.equal((await app.get('/', cookie)).text, '{"body":{}}')
	})

	it('ends with the key: whoever comes after the idle time is anonymous', async () => {
		const { cookie, key } = await stored()
		await client.pexpire(key, 1)
		while (await client.exists(key)) {
			// Redis’s own clock
		}
		const ended = await app.get('/', cookie)
		assert.deepEqual([ended.status, ended.text], [200, '{"body":{}}'])
	})
})

describe('the lifetime of a session in memory (B10)', () => {
	it('is the idle time after the last visit', async (t) => {
		let passed = 0
		const now = performance.now.bind(performance)
		t.mock.method(performance, 'now', () => now() + passed)
		const app = await createSessionApplication(
			{ store: memoryTokenStore(), session: { idleTimeout, absoluteTimeout } },
			(ctx) => {
				if (ctx.path === '/set') ctx.session.value = 'x'
				return JSON.parse(JSON.stringify(ctx.session))
			},
		)
		// What the store remembers of the time is renewed by a timer.
		const tick = () => new Promise((resolve) => setTimeout(resolve, 5))
		try {
			const { cookie } = await app.get('/set')
			for (let visit = 0; visit < 3; visit++) {
				passed += idleTimeout - minute
				await tick()
				assert.equal((await app.get('/', cookie)).text, '{"body":{"value":"x"}}', `visit ${visit}`)
			}
			passed += idleTimeout + minute
			await tick()
			assert.equal((await app.get('/', cookie)).text, '{"body":{}}')
		} finally {
			await app.close()
		}
	})

	it('ends at the absolute time although it is in use', async () => {
		const app = await createSessionApplication(
			{ store: memoryTokenStore(), session: { idleTimeout: absoluteTimeout, absoluteTimeout } },
			(ctx) => {
				ctx.session.visits = (ctx.session.visits ?? 0) + 1
				return ctx.session.visits
			},
		)
		try {
			const { cookie } = await app.get('/')
			later(absoluteTimeout / 2)
			assert.equal((await app.get('/', cookie)).text, '{"body":2}')
			later(absoluteTimeout / 2 + 1)
			const ended = await app.get('/', cookie)
			assert.equal(ended.text, '{"body":1}')
			assert.ok(ended.cookie && ended.cookie !== cookie)
		} finally {
			await app.close()
		}
	})

	it('of an hour at most needs no idle time to be set with it', async () => {
		const app = await createSessionApplication({ session: { absoluteTimeout: 60 * minute } }, () => 'fine')
		await app.close()
	})
})

describe('the absolute lifetime and signing in', () => {
	let world: World
	before(async () => {
		world = await createWorld()
	})
	after(() => world.close())

	it('begins with the sign-in, whenever the visit began (B10)', async () => {
		const redis = await startRedis()
		const app = await createApplication(world, {
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			store: redisTokenStore({ path: redis.path }),
			session: { idleTimeout, absoluteTimeout: idleTimeout },
			auth: { responseMode: 'query' },
		})
		try {
			const browser = app.browser()
			await browser.get(`${app.origin}/keep?value=kept`)
			const client = redis.client()
			const [first = ''] = await client.keys('*:s:*')
			later(4 * minute)
			await app.signIn(browser)
			const [key = ''] = await client.keys('*:s:*')
			assert.notEqual(key, first)
			assert.ok((await client.pttl(key)) > idleTimeout - 5000)
			const [partition = ''] = await client.keys('*:t:*')
			const left = await client.pttl(partition)
			assert.ok(left > idleTimeout - 5000 && left <= idleTimeout, String(left))
			assert.equal((await request(`${app.origin}/kept`)).text, '{"kept":null}')
			assert.equal((await browser.get(`${app.origin}/kept`)).html, '{"kept":"kept"}')
		} finally {
			await app.close()
			await redis.stop()
		}
	})
})
