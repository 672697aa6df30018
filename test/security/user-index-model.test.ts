import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Browser } from '../../dev/cookie-jar-browser.js'
import type { Person } from '../../dev/people.js'
import {
	BrokerError,
	type MemoryTokenStore,
	memoryTokenStore,
	type RedisTokenStore,
	redisTokenStore,
	type SessionTicket,
	type UserReference,
} from '../../src/index.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const person = (n: number, upn: string, name: string): Person => ({
	oid: `0d000000-0000-4000-8000-00000000020${n}`,
	upn,
	name,
})
/** The last two go by one name. */
const everybody = [
	person(1, 'n@contoso.example', 'Nora N'),
	person(2, 'john@contoso.example', 'John J'),
	person(3, 'Twin@contoso.example', 'Twin One'),
	person(4, 'twin@contoso.example', 'Twin Two'),
]

/** What is known of a session that somebody is signed in to. */
interface Known {
	readonly person: Person
	readonly browser: Browser
	readonly msal: SessionTicket
}

const actions = [
	'sign in',
	'sign in',
	'sign in over',
	'sign out',
	'log out',
	'regenerate',
	'refresh',
	'expire',
] as const
const step = fc.record({
	action: fc.constantFrom(...actions),
	who: fc.nat(everybody.length - 1),
	/** Which of the sessions there are, and which process. */
	which: fc.nat(20),
	where: fc.nat(1),
})

for (const kind of ['memory', 'Redis'] as const)
	describe(`the user index, whatever happens, ${kind}`, () => {
		let world: World
		let redis: TestRedis
		let store: MemoryTokenStore | RedisTokenStore
		/** With Redis, two processes of one application. */
		let apps: Application[]
		before(async () => {
			;[world, redis] = await Promise.all([createWorld({ people: everybody }), startRedis()])
			store = kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore()
			const create = () =>
				createApplication(world, {
					secrets,
					store,
					configure: (koa) =>
						koa.use(async (ctx, next) => {
							if (ctx.path === '/regenerate') await ctx.session.regenerate()
							await next()
						}),
				})
			apps = kind === 'Redis' ? [await create(), await create()] : [await create()]
		})
		after(async () => {
			await Promise.all(apps.map((app) => app.close()))
			await Promise.all([redis.stop(), world.close()])
		})

		const sessionKeys = async () =>
			store.kind === 'memory' ? store.sessions.size : (await redis.client().keys('*:s:*')).length
		/** Every partition that the index leads to. */
		const indexed = async () => {
			const client = redis.client()
			const keys = await client.keys('*:i:*')
			return new Set((await Promise.all(keys.map((key) => client.zrange(key, '0', '-1')))).flat())
		}

		async function assertFound(app: Application, known: readonly Known[]): Promise<void> {
			for (const { oid, upn } of everybody) {
				const named = known.filter((one) => one.person.upn.toLowerCase() === upn.toLowerCase())
				const own = known.filter((one) => one.person.oid === oid)
				const ambiguous = new Set(named.map((one) => one.person.oid)).size > 1
				await assertAre(app, { objectId: oid }, own)
				for (const name of [{ username: upn.toUpperCase() }, { mail: upn }])
					await assertAre(app, name, ambiguous ? 'ERR_AMBIGUOUS_USER' : named)
			}
		}

		async function assertAre(app: Application, who: object, expected: readonly Known[] | string) {
			const user = { tenantId: world.standIn.tenantId, ...who } as UserReference
			const found = await app.broker.sessions.find(user).then(
				(tickets) => tickets.map(({ partition }) => partition).sort(),
				(error: unknown) => (error instanceof BrokerError ? error.code : error),
			)
			const wanted =
				typeof expected === 'string' ? expected : expected.map(({ msal }) => msal.partition).sort()
			assert.deepEqual(found, wanted, JSON.stringify(who))
		}

		async function signIn(app: Application, someone: Person, browser: Browser): Promise<Known> {
			for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
			const page = await app.signIn(browser, someone.name)
			assert.equal(page.status, 200, page.html)
			const { msal } = app.seen.session as { msal: SessionTicket }
			return { person: someone, browser, msal }
		}

		/** @returns what becomes of the session: itself, another one, or nothing */
		async function act(app: Application, action: string, one: Known, someone: Person) {
			const { browser, msal } = one
			switch (action) {
				case 'sign in over':
					return signIn(app, someone, browser)
				case 'sign out':
					await app.broker.signOut({ msal })
					return undefined
				case 'log out':
					await browser.get(`${app.origin}/user/logout`)
					return undefined
				case 'regenerate':
					await browser.get(`${app.origin}/regenerate`)
					return one
				case 'expire': {
					if (kind === 'memory') return one
					const client = redis.client()
					const [tokens = ''] = await client.keys(`*:t:{${msal.partition}}`)
					await client.del(tokens, (await client.hget(tokens, 's')) as string)
					return 'expired'
				}
				default:
					await app.broker.acquireSilent({ msal }, { forceRefresh: true })
					return one
			}
		}

		it('finds exactly the sessions that there are, and leads nowhere after the last', async () => {
			await fc.assert(
				fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
					await redis.client().flushall()
					let known: Known[] = []
					const expired = new Set<string>()
					for (const { action, who, which, where } of steps) {
						const app = apps[where % apps.length] as Application
						const someone = everybody[who] as Person
						const one = known[which % Math.max(1, known.length)]
						if (action === 'sign in') known.push(await signIn(app, someone, app.browser()))
						else if (one) {
							const next = await act(app, action, one, someone)
							if (next !== one) known = known.filter((other) => other !== one)
							if (next === 'expired') expired.add(one.msal.partition)
							else if (next && next !== one) known.push(next)
						}
						await assertFound(app, known)
						assert.equal(await sessionKeys(), known.length)
					}
					for (const app of apps) await assertFound(app, known)
					for (const { msal } of known) await apps[0]?.broker.signOut({ msal })
					assert.equal(await sessionKeys(), 0)
					assert.deepEqual([...(await indexed())].sort(), [...expired].sort())
				}),
				{ numRuns: 20, endOnFailure: true },
			)
		})
	})
