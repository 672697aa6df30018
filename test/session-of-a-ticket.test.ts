import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import {
	BrokerError,
	type MemoryTokenStore,
	memoryTokenStore,
	type RedisTokenStore,
	redisTokenStore,
	type SessionTicket,
} from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const { ada, grace } = people

for (const kind of ['memory', 'Redis'] as const)
	describe(`the web session of a ticket, ${kind}`, () => {
		let world: World
		let redis: TestRedis
		let store: MemoryTokenStore | RedisTokenStore
		let app: Application
		before(async () => {
			;[world, redis] = await Promise.all([createWorld(), startRedis()])
			store = kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore()
			app = await createApplication(world, {
				secrets,
				store,
				configure: (koa) =>
					koa.use(async (ctx, next) => {
						if (ctx.path === '/regenerate') await ctx.session.regenerate()
						if (ctx.path === '/late') {
							for (const msal of await ticketsOf(ada)) await app.broker.signOut({ msal })
							ctx.session.kept = 'too late'
						}
						await next()
					}),
			})
		})
		after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		afterEach(async () => {
			for (const user of [ada, grace])
				for (const msal of await ticketsOf(user)) await app.broker.signOut({ msal })
			await redis.client().flushall()
			if (store.kind === 'memory') store.sessions.clear()
		})

		/** As an administrator would: by the user, without a cookie. */
		const ticketsOf = ({ oid }: { readonly oid: string }) =>
			app.broker.sessions.find({ tenantId: world.standIn.tenantId, objectId: oid })
		const sessionsHeld = async () =>
			store.kind === 'memory' ? store.sessions.size : (await redis.client().keys('*:s:*')).length
		const signIn = async (browser: Browser, { name }: { readonly name: string }) => {
			const page = await app.signIn(browser, name)
			await browser.get(`${app.origin}/keep?value=data`)
			return page
		}
		const kept = async (browser: Browser) =>
			(await browser.get(`${app.origin}/kept`)).json<{ kept: unknown }>().kept

		it('ends with the sign-out of a ticket that was found by its user, and nobody else’s does', async () => {
			const [first, second, other] = [app.browser(), app.browser(), app.browser()]
			await signIn(first, ada)
			await signIn(second, ada)
			await signIn(other, grace)
			assert.equal(await sessionsHeld(), 3)
			const tickets = await ticketsOf(ada)
			assert.equal(tickets.length, 2)
			for (const msal of tickets) await app.broker.signOut({ msal })
			assert.equal(await sessionsHeld(), 1)
			for (const browser of [first, second]) {
				assert.equal(await kept(browser), null)
				assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
			}
			assert.equal(await kept(other), 'data')
			assert.equal((await other.get(`${app.origin}/token`)).status, 200)
		})

		it('is found under the id that it has now, whoever has given it another', async () => {
			const browser = app.browser()
			await signIn(browser, ada)
			await browser.get(`${app.origin}/regenerate`)
			assert.equal(await kept(browser), 'data')
			await browser.follow(`${app.origin}/user/login`)
			await browser.get(`${app.origin}/regenerate`)
			assert.equal(await sessionsHeld(), 1)
			const [msal, ...more] = await ticketsOf(ada)
			assert.equal(more.length, 0)
			await app.broker.signOut({ msal })
			assert.equal(await sessionsHeld(), 0)
		})

		it('is not brought back by a request that was under way', async () => {
			const browser = app.browser()
			await signIn(browser, ada)
			const page = await browser.get(`${app.origin}/late`)
			assert.equal(page.status, 200, page.html)
			assert.equal(await sessionsHeld(), 0)
			assert.equal(await kept(browser), null)
		})

		it('is not begun when its tokens are signed out first', async (t) => {
			const warnings = t.mock.method(process, 'emitWarning', () => {})
			const { acquireByCode } = app.broker
			app.broker.acquireByCode = async (...args) => {
				const done = await acquireByCode.apply(app.broker, args)
				for (const msal of await ticketsOf(ada)) await app.broker.signOut({ msal })
				return done
			}
			const browser = app.browser()
			try {
				await app.signIn(browser, ada.name)
			} finally {
				app.broker.acquireByCode = acquireByCode
			}
			assert.equal(await sessionsHeld(), 0)
			assert.deepEqual(
				browser.jar.cookies.filter(({ name }) => /^msal-(?!tx)/.test(name)),
				[],
			)
			assert.equal(warnings.mock.callCount(), 1)
			assert.match(String(warnings.mock.calls[0]?.arguments[0]), /another store/)
		})
	})

describe('a sign-out that reaches the tokens and not yet the web session', () => {
	it('is told the session again when it is tried again, and keeps no token meanwhile', async () => {
		const [world, redis] = await Promise.all([createWorld(), startRedis()])
		const app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		const client = redis.client()
		try {
			const browser = app.browser()
			await app.signIn(browser)
			const { msal } = app.seen.session as { msal: SessionTicket }
			const [key = ''] = await client.keys('*:t:*')
			const [session = ''] = await client.keys('*:s:*')
			// As when the node of a cluster that has the session is down.
			const patterns = ['t', 'l', 'f', 'i'].map((letter) => `~*:${letter}:*`)
			await client.acl('SETUSER', 'default', 'resetkeys', ...patterns)
			await assert.rejects(
				app.broker.signOut({ msal }),
				(error) => error instanceof BrokerError && error.code === 'ERR_STORE_UNAVAILABLE',
			)
			assert.deepEqual(await client.hgetall(key), { s: session })
			assert.equal(await app.broker.isSignedIn({ msal }), false)
			await client.acl('SETUSER', 'default', '~*')
			while ((await client.exists(session, key)) > 0) await sleep(20)
			assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
		} finally {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		}
	})
})
