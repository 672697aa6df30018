import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser } from '../dev/cookie-jar-browser.js'
import { TokenBroker } from '../src/broker.js'
import { BrokerError, createMsalRoutes, redisTokenStore } from '../src/index.js'
import { answersOf, assertRefused, assertSignedIn, deliver, isSession } from './support/answers.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { type Answer, gate, request } from './support/session-application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const json = { accept: 'application/json' }

describe('a sign-out that the store can’t be told at once (E10)', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let answers: ReturnType<typeof answersOf>
	/** What `/slow` does with its session when it goes on. */
	let slowly: (session: { regenerate(): Promise<void> }) => unknown
	let entered = gate()
	let released = gate()
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		answers = answersOf(world.standIn)
		app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			configure: (own, { broker }) => {
				own.use(createMsalRoutes(broker, { prefix: '/auth' }))
				own.use(async (ctx, next) => {
					if (ctx.path !== '/slow') return next()
					entered.open()
					await released.opened
					if ((await slowly(ctx.session)) === null) ctx.session = null
					ctx.body = 'done'
				})
			},
		})
	})
	after(async () => {
		await app.close()
		await redis.stop()
		await world.close()
	})
	beforeEach(async () => {
		await redis.client().flushall()
		;[entered, released] = [gate(), gate()]
	})
	afterEach(async () => {
		world.standIn.clearFaults()
		await answers.close()
	})

	const cookieOf = (browser: Browser) => {
		const { name, value } = browser.jar.cookies.find((cookie) => isSession(`${cookie.name}=`)) ?? {}
		return `${name}=${value}`
	}
	/** Sessions, and tokens. */
	const left = async () => (await redis.client().keys('*')).filter((key) => /^koa-msal:[^:]+:[st]:/.test(key))

	async function whileAway<T>(work: () => Promise<T>): Promise<T> {
		process.kill(redis.pid, 'SIGSTOP')
		try {
			return await work()
		} finally {
			process.kill(redis.pid, 'SIGCONT')
		}
	}

	/** Somebody who is signed in has signed in at the provider once more, who takes its time with the code. */
	async function secondSignIn() {
		const browser = answers.browser()
		assertSignedIn(await deliver(browser, app, await answers.answerOf(browser, app)))
		const fields = await answers.answerOf(browser, app)
		world.standIn.clearLog()
		world.standIn.inject({ grant: 'authorization_code', delayMs: 2500 })
		return { cookie: cookieOf(browser), post: () => deliver(browser, app, fields) }
	}

	async function redeeming(): Promise<void> {
		while (world.standIn.count('token', 'authorization_code') < 1) await sleep(10)
	}

	/** The next mark of a sign-out finds no thread. */
	function refuseOnce({ broker }: Application): void {
		const pool = TokenBroker.poolOf(broker)
		const { begin } = pool
		pool.begin = ((...call: Parameters<typeof begin>) => {
			if (call[0] !== 'endSignIn') return begin.apply(pool, call)
			pool.begin = begin
			return Promise.reject(new BrokerError('ERR_OVERLOADED', 'No worker was free.'))
		}) as typeof begin
	}

	function assertToldLater(answer: Answer): void {
		assert.deepEqual([answer.status, answer.cleared], [503, true], answer.text)
		assert.match(answer.text, /You are signed out in this browser/)
	}

	async function ended(): Promise<void> {
		for (const end = performance.now() + 5000; (await left()).length > 0; await sleep(50))
			assert.ok(performance.now() < end, (await left()).join())
	}

	for (const [what, how] of [
		['gives its session a new id', (session) => session.regenerate()],
		['ends its session', () => null],
		['stores its session', (session) => Object.assign(session, { value: 'x' })],
	] as const satisfies [string, typeof slowly][])
		it(`holds against a slow request that ${what}`, async () => {
			slowly = how
			const browser = app.browser()
			await app.signIn(browser)
			const cookie = cookieOf(browser)
			const slow = request(`${app.origin}/slow`, cookie)
			await entered.opened
			assertToldLater(await whileAway(() => request(`${app.origin}/user/logout`, cookie)))
			released.open()
			const { cookie: newer } = await slow
			await ended()
			for (const one of [cookie, newer])
				if (one !== undefined) assert.equal((await request(`${app.origin}/token`, one, json)).status, 401)
		})

	it('is one at routes with a prefix of their own, too', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const cookie = cookieOf(browser)
		assertToldLater(await whileAway(() => request(`${app.origin}/auth/logout`, cookie)))
		await ended()
	})

	for (const [what, signOut] of [
		['while Redis is away', (cookie) => whileAway(() => request(`${app.origin}/user/logout`, cookie))],
		[
			'that finds no thread free',
			(cookie) => {
				refuseOnce(app)
				return request(`${app.origin}/user/logout`, cookie)
			},
		],
	] as const satisfies [string, (cookie: string) => Promise<Answer>][])
		it(`holds against a sign-in of its browser that is under way: ${what}`, async () => {
			const { cookie, post } = await secondSignIn()
			const delivered = post()
			await redeeming()
			assertToldLater(await signOut(cookie))
			assertRefused(await delivered, 'ERR_LOGIN_REJECTED')
			await ended()
		})

	it('holds against a sign-in of its browser that came while Redis was away', async () => {
		const { cookie, post } = await secondSignIn()
		const delivered = await whileAway(async () => {
			const underWay = post()
			await sleep(1000) // A command has 750 ms: it could not be looked at.
			return [underWay] as const
		})
		await redeeming()
		assert.equal((await request(`${app.origin}/user/logout`, cookie)).status, 303)
		assertRefused(await delivered[0], 'ERR_LOGIN_REJECTED')
		await ended()
	})

	it('is told before the process is closed', async () => {
		const closing = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			auth: { redirectUri: `${app.origin}/user/authorized` },
		})
		const { cookie, post } = await secondSignIn()
		const delivered = post()
		await redeeming()
		refuseOnce(closing)
		assertToldLater(await request(`${closing.origin}/user/logout`, cookie))
		await closing.close()
		assertRefused(await delivered, 'ERR_LOGIN_REJECTED')
		await ended()
	})
})
