import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { decodeJwt, type JWTPayload } from 'jose'
import { TENANT_ID } from '../../dev/directory.js'
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
import type { SignedInAccount } from '../../src/wire.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis } from '../support/redis.js'

const older = 'an older secret, of more than 32 bytes: 0123456789'
const newer = 'a newer secret, of more than 32 bytes: 9876543210'
const tenantId = TENANT_ID
const person = (n: number, upn: string, name: string): Person => ({
	oid: `0d000000-0000-4000-8000-00000000010${n}`,
	upn,
	name,
})
const n = person(1, 'n@contoso.example', 'Nora N')
const john = person(2, 'john@contoso.example', 'John J')
const twin = person(3, 'Twin@contoso.example', 'Twin One')
const other = person(4, 'twin@contoso.example', 'Twin Two')
/** Has a claim to the address of somebody else. */
const mallory = { ...person(5, 'mallory@contoso.example', 'Mallory M'), mail: john.upn }
const everybody = [n, john, twin, other, mallory]
const foreignTenant = '22222222-2222-4333-8444-555555555555'

const namespaceOf = ([key = '']: readonly string[]) => key.slice(0, key.indexOf(':i:'))
const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

for (const kind of ['memory', 'Redis'] as const)
	describe(`B16: the sessions of a user, ${kind}`, () => {
		let world: World
		let redis: Awaited<ReturnType<typeof startRedis>>
		let app: Application
		let store: RedisTokenStore | MemoryTokenStore
		before(async () => {
			;[world, redis] = await Promise.all([createWorld({ people: everybody }), startRedis()])
			store = kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore()
			app = await createApplication(world, { secrets: [older], store })
		})
		after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		const signIn = async ({ name }: Person) => {
			const page = await app.signIn(app.browser(), name)
			assert.equal(page.status, 200, page.html)
			return (app.seen.session as { msal: { partition: string } }).msal.partition
		}
		/** Signs in while the provider writes other claims into the id_token, as it would for such a person. */
		const signInAs = async (someone: Person, changes: JWTPayload, at = app) => {
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => {
					const claims = { ...decodeJwt(String(answer.id_token)), ...changes }
					return { ...answer, id_token: await world.standIn.signIdToken(claims) }
				},
			})
			const page = await at.signIn(at.browser(), someone.name)
			assert.equal(page.status, 200, page.html)
			return (at.seen.session as { msal: { partition: string } }).msal.partition
		}
		const partitionsOf = async (user: UserReference, from = app) =>
			(await from.broker.sessions.find(user)).map(({ partition }) => partition).sort()

		it('are found by the exact immutable id, or by the exact user name in any case, and no other', async () => {
			const own = [await signIn(n), await signIn(n)].sort()
			await signIn(john)
			assert.deepEqual(await partitionsOf({ tenantId, objectId: n.oid }), own)
			assert.deepEqual(await partitionsOf({ tenantId, username: 'N@Contoso.example' }), own)
			for (const username of [
				'n',
				'*',
				'n*',
				'?@contoso.example',
				'hn@contoso.example',
				'[n]@contoso.example',
				'%',
			])
				assert.deepEqual(await partitionsOf({ tenantId, username }), [], username)
			assert.deepEqual(await partitionsOf({ tenantId, objectId: '*' }), [])
			assert.deepEqual(await partitionsOf({ tenantId: 'another', objectId: n.oid }), [])
			assert.deepEqual(await partitionsOf({ tenantId: 'another', username: n.upn }), [])
		})

		it('are gone from it when they end, and can be ended all at once', async () => {
			for (const ticket of await app.broker.sessions.find({ tenantId, objectId: n.oid })) {
				assert.equal(ticket.account.username, n.upn)
				await app.broker.signOut({ msal: ticket })
				await assert.rejects(app.broker.acquireSilent({ msal: ticket }), code('ERR_SIGNED_OUT'))
			}
			assert.deepEqual(await partitionsOf({ tenantId, objectId: n.oid }), [])
			assert.equal((await partitionsOf({ tenantId, objectId: john.oid })).length, 1)
		})

		it('of two users under one name are an error, and by id they are not', async () => {
			const one = await signIn(twin)
			await signIn(other)
			await assert.rejects(partitionsOf({ tenantId, username: 'twin@contoso.example' }), (error) => {
				assert.ok(error instanceof BrokerError)
				assert.deepEqual([error.code, error.status], ['ERR_AMBIGUOUS_USER', 409])
				return true
			})
			assert.deepEqual(await partitionsOf({ tenantId, objectId: twin.oid }), [one])
		})

		it('are found by a mail address that is the user name, and by a UPN that is not', async () => {
			const upn = 'john_fabrikam.example#EXT#@contoso.example'
			const own = [await signInAs(john, { preferred_username: 'john@fabrikam.example', upn })]
			for (const user of [
				{ username: 'john@fabrikam.example' },
				{ mail: 'John@Fabrikam.example' },
				{ username: upn },
				{ mail: upn.toLowerCase() },
			])
				assert.deepEqual(await partitionsOf({ tenantId, ...user }), own, JSON.stringify(user))
			const [ticket] = await app.broker.sessions.find({ tenantId, username: upn })
			await app.broker.signOut({ msal: ticket })
			assert.deepEqual(await partitionsOf({ tenantId, mail: upn }), [])
		})

		it('are never found by the email claim, in which anybody can have anybody’s address', async () => {
			const own = await partitionsOf({ tenantId, objectId: john.oid })
			assert.equal(own.length, 1)
			const partition = await signIn(mallory)
			for (const user of [{ mail: john.upn }, { username: john.upn }])
				assert.deepEqual(await partitionsOf({ tenantId, ...user }), own, JSON.stringify(user))
			assert.deepEqual(await partitionsOf({ tenantId, mail: mallory.upn }), [partition])
			const nobodys = 'victim@contoso.example'
			await signInAs(mallory, { email: nobodys, email_verified: true, verified_primary_email: [nobodys] })
			for (const user of [{ mail: nobodys }, { username: nobodys }])
				assert.deepEqual(await partitionsOf({ tenantId, ...user }), [], JSON.stringify(user))
		})

		it('are those of the tenant that was named: another one can call its people what it likes', async () => {
			const many = await createApplication(world, {
				secrets: [older],
				store,
				auth: {
					authority: `${world.standIn.origin}/common`,
					allowedTenants: [tenantId, foreignTenant],
				},
			})
			try {
				const own = await partitionsOf({ tenantId, objectId: john.oid })
				const iss = world.standIn.issuer.replace(tenantId, foreignTenant)
				const claims = { tid: foreignTenant, iss, preferred_username: john.upn, email: john.upn }
				const foreign = await signInAs(mallory, { ...claims, oid: john.oid }, many)
				for (const user of [{ objectId: john.oid }, { username: john.upn }, { mail: john.upn }]) {
					assert.deepEqual(await partitionsOf({ tenantId, ...user }), own, JSON.stringify(user))
					assert.deepEqual(await partitionsOf({ tenantId: foreignTenant, ...user }), [foreign])
				}
			} finally {
				await many.close()
			}
		})

		it('leave nothing under a name that nobody has any more: its next owner is alone', async () => {
			for (const ticket of await app.broker.sessions.find({ tenantId, objectId: twin.oid }))
				await app.broker.signOut({ msal: ticket })
			const [left] = await app.broker.sessions.find({ tenantId, username: 'twin@contoso.example' })
			assert.equal(left?.account.objectId, other.oid)
			await app.broker.signOut({ msal: left })
			assert.deepEqual(await partitionsOf({ tenantId, username: twin.upn }), [])
		})

		it('are refused to half a reference, which could match more than was meant', async () => {
			for (const user of [
				{},
				null,
				{ tenantId },
				{ objectId: n.oid },
				{ tenantId, objectId: '' },
				{ tenantId, email: n.upn },
				{ mail: n.upn },
				{ tenantId, mail: n.upn, username: n.upn },
				{ tenantId, objectId: n.oid, username: john.upn },
				{ tenantId, objectId: ['x'] },
				{ tenantId, objectId: undefined, username: john.upn },
			])
				await assert.rejects(
					app.broker.sessions.find(user as never),
					code('ERR_BAD_REQUEST'),
					JSON.stringify(user),
				)
		})

		if (kind === 'Redis') {
			it('are found under a newer secret too, and a blob that is lost is no session', async () => {
				const rolled = await createApplication(world, {
					secrets: [newer, older],
					store: redisTokenStore({ path: redis.path }),
				})
				try {
					const own = [await signIn(n)]
					assert.deepEqual(await partitionsOf({ tenantId, username: n.upn }, rolled), own)
					assert.equal((await rolled.signIn(rolled.browser(), n.name)).status, 200)
					assert.equal((await partitionsOf({ tenantId, objectId: n.oid }, rolled)).length, 2)
					const [blob] = (await redis.client().keys(`*:t:{${own[0]}}`)) as [string]
					await redis.client().del(blob)
					assert.equal((await partitionsOf({ tenantId, objectId: n.oid }, rolled)).length, 1)
				} finally {
					await rolled.close()
				}
			})

			it('leave the index when they are signed out, or else when they would have ended', async () => {
				const client = redis.client()
				const indexed = async () => (await client.keys('*:i:*')).sort()
				for (const { oid } of [n, john, twin, other])
					for (const ticket of await app.broker.sessions.find({ tenantId, objectId: oid }))
						await app.broker.signOut({ msal: ticket })
				await client.flushall()
				const first = await signIn(n)
				const keys = await indexed()
				assert.equal(keys.length, 2, 'by id and by name')
				const life = await client.pttl(`${namespaceOf(keys)}:t:{${first}}`)
				for (const key of keys) {
					assert.ok(Math.abs((await client.pttl(key)) - life) < 1000, 'as long as the session')
					await client.zadd(key, 'XX', Date.now() - 1, first)
				}
				assert.deepEqual(await partitionsOf({ tenantId, username: n.upn }), [], 'what has ended')
				const second = await signIn(n)
				for (const key of keys) assert.deepEqual(await client.zrange(key, '0', '-1'), [second])
				assert.deepEqual(await indexed(), keys)
				for (const ticket of await app.broker.sessions.find({ tenantId, objectId: n.oid }))
					await app.broker.signOut({ msal: ticket })
				assert.deepEqual(await indexed(), [])
			})

			it('leave the index when another sign-in takes their place, the same user’s or somebody else’s', async () => {
				const client = redis.client()
				await client.flushall()
				const browser = app.browser()
				const entries = async () => {
					const keys = await client.keys('*:i:*')
					return (await Promise.all(keys.map((key) => client.zrange(key, '0', '-1')))).flat()
				}
				for (const { name } of [n, n, john]) {
					for (const cookie of browser.jar.cookies)
						if (cookie.name.startsWith('idp_')) browser.jar.clear(cookie.name)
					assert.equal((await app.signIn(browser, name)).status, 200)
					const { partition } = (app.seen.session as { msal: SessionTicket }).msal
					assert.deepEqual(await entries(), [partition, partition], 'by id and by name')
				}
			})

			it('are not another’s, whatever the index says', async () => {
				const client = redis.client()
				await client.flushall()
				await signIn(n)
				const keys = await client.keys('*:i:*')
				const partition = await signIn(john)
				for (const key of keys) await client.zadd(key, Date.now() + 60_000, partition)
				for (const user of [{ objectId: n.oid }, { username: n.upn }])
					assert.equal((await partitionsOf({ tenantId, ...user })).length, 1)
				assert.deepEqual(await partitionsOf({ tenantId, objectId: john.oid }), [partition])
			})

			it('name nobody in Redis, and every entry ends by itself', async () => {
				const dump = (await redis.dump()).join('\n').toLowerCase()
				for (const { oid, upn } of [n, john, twin]) {
					assert.ok(!dump.includes(oid) && !dump.includes(upn.toLowerCase()))
					assert.ok(!dump.includes(Buffer.from(oid).toString('hex')))
				}
				for (const key of await redis.client().keys('*')) assert.ok((await redis.client().pttl(key)) > 0, key)
			})
		}
	})

describe('the sessions of a user while secrets are rolled', () => {
	const steps = [[older], [older, newer], [newer, older], [newer]]
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ people: everybody }), startRedis()])
	})
	after(async () => {
		await Promise.all([redis.stop(), world.close()])
	})
	beforeEach(() => redis.client().flushall())
	afterEach(() => world.standIn.clearFaults())

	/** A process that has these secrets, for as long as it takes. */
	async function during<T>(secrets: readonly string[], work: (app: Application) => Promise<T>): Promise<T> {
		const app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		try {
			return await work(app)
		} finally {
			await app.close()
		}
	}
	/** Signs n in under the first step's secret. */
	const signedIn = () =>
		during([older], async (app) => {
			const page = await app.signIn(app.browser(), n.name)
			assert.equal(page.status, 200, page.html)
			return app.seen.session as { msal: SessionTicket }
		})
	const acquire = (app: Application, session: object, forceRefresh = false) =>
		app.broker.acquireSilent(session, { forceRefresh }).then(
			({ outcome }) => outcome as string,
			(error: BrokerError) => error.code as string,
		)
	async function assertFound(app: Application, session: { msal: SessionTicket }, username = n.upn) {
		for (const user of [{ objectId: n.oid }, { username }]) {
			const found = await app.broker.sessions.find({ tenantId, ...user })
			assert.deepEqual(
				found.map(({ partition }) => partition),
				[session.msal.partition],
				JSON.stringify(user),
			)
		}
	}

	for (const [what, forceRefresh] of [
		['only read', false],
		['refreshed', true],
	] as const)
		it(`are found at every step, when their tokens are ${what}, and can be ended at the last`, async () => {
			const session = await signedIn()
			for (const secrets of steps.slice(1))
				await during(secrets, async (app) => {
					await assertFound(app, session)
					assert.equal(await acquire(app, session, forceRefresh), forceRefresh ? 'refreshed' : 'cached')
					await assertFound(app, session)
				})
			await during([newer], (app) => app.broker.signOut(session))
			const client = redis.client()
			assert.deepEqual(await client.keys('*:t:*'), [])
			const left = await client.keys('*:i:*')
			assert.equal(left.length, 2, 'what the older secret names, until it ends by itself')
			for (const key of left) assert.ok((await client.pttl(key)) > 0)
		})

	it('are found when the provider has refused to refresh, too', async () => {
		const session = await signedIn()
		world.standIn.revokeUserTokens(n.oid)
		await during([newer, older], async (app) =>
			assert.equal(await acquire(app, session, true), 'ERR_INTERACTION_REQUIRED'),
		)
		await during([newer], (app) => assertFound(app, session))
	})

	it('are found when processes of two steps were at work at the same time', async () => {
		const session = await signedIn()
		await during([older, newer], (behind) =>
			during([newer, older], async (ahead) => {
				for (const app of [ahead, behind, ahead, behind]) {
					assert.equal(await acquire(app, session, true), 'refreshed')
					await Promise.all([assertFound(behind, session), assertFound(ahead, session)])
				}
			}),
		)
		await during([newer, older], (app) => acquire(app, session))
		await during([newer], (app) => assertFound(app, session))
	})

	it('are entered by a later process when the index could not be written while all else could', async () => {
		const session = await signedIn()
		const client = redis.client()
		await client.acl('SETUSER', 'default', '-zadd')
		try {
			await during([newer, older], async (app) => assert.equal(await acquire(app, session), 'cached'))
		} finally {
			await client.acl('SETUSER', 'default', '+zadd')
		}
		await during([newer], async (app) => {
			assert.deepEqual(await app.broker.sessions.find({ tenantId, objectId: n.oid }), [])
			assert.equal(await acquire(app, session), 'cached', 'the blob had been sealed anew')
			await assertFound(app, session)
		})
	})

	it('are found by the name that the user has since a refresh, and no longer by the old one', async () => {
		const session = await signedIn()
		await during([older], async (app) => {
			const renamed = 'nora@contoso.example'
			world.standIn.inject({
				grant: 'refresh_token',
				rewrite: async (answer) => {
					const claims = { ...decodeJwt(String(answer.id_token)), preferred_username: renamed }
					return { ...answer, id_token: await world.standIn.signIdToken(claims) }
				},
			})
			assert.equal(await acquire(app, session, true), 'refreshed')
			await assertFound(app, session, renamed)
			assert.deepEqual(await app.broker.sessions.find({ tenantId, username: n.upn }), [])
		})
	})

	it('cost no look at the index while nothing has changed', async () => {
		const session = await signedIn()
		await during([older], async (app) => {
			const monitor = await redis.monitor()
			assert.equal(await acquire(app, session), 'cached')
			assert.equal(await acquire(app, session), 'hit')
			assert.equal(await acquire(app, session, true), 'refreshed')
			const commands = await monitor.commands()
			monitor.stop()
			assert.ok(commands.length > 0)
			const asked = (line: string) => line.includes(':i:') || /^pttl [^ ]*:t:/i.test(line)
			assert.deepEqual(commands.map((command) => command.join(' ')).filter(asked), [])
		})
	})
})

describe('the index of the memory store', () => {
	const minute = 60_000
	const account = (number: number, username = `user${number}@contoso.example`): SignedInAccount => ({
		homeAccountId: `${number}.${tenantId}`,
		tenantId,
		objectId: `${number}`,
		username,
	})

	it('finds one of 50,000 users by name as fast as one of ten', () => {
		const timeOf = (users: number) => {
			const store = memoryTokenStore()
			for (let user = 0; user < users; user++) store.create(`p${user}`, 'sealed', minute, account(user))
			const look = () => assert.equal(store.sessionsOf({ tenantId, username: account(7).username }).length, 1)
			const times = Array.from({ length: 101 }, () => {
				const started = performance.now()
				look()
				return performance.now() - started
			})
			return times.toSorted((a, b) => a - b)[50] as number
		}
		const [few, many] = [timeOf(10), timeOf(50_000)]
		assert.ok(many < 20 * few + 0.1, `${few} ms and ${many} ms`)
	})

	it('follows a user who is renamed, as the newest id_token says', () => {
		const store = memoryTokenStore()
		store.create('p', 'sealed', minute, account(1, 'maiden@contoso.example'))
		store.commit('p', 'sealed anew', account(1, 'married@contoso.example'))
		const found = (username: string) => store.sessionsOf({ tenantId, username }).length
		assert.deepEqual([found('maiden@contoso.example'), found('Married@contoso.example')], [0, 1])
		store.create('q', 'sealed', minute, account(2, 'maiden@contoso.example'))
		assert.deepEqual([found('maiden@contoso.example'), found('married@contoso.example')], [1, 1])
	})

	it('leads nowhere once a session has expired', async (t) => {
		let passed = 0
		const now = performance.now.bind(performance)
		t.mock.method(performance, 'now', () => now() + passed)
		const store = memoryTokenStore()
		store.create('p', 'sealed', minute, account(1))
		store.create('q', 'sealed', 3 * minute, account(1))
		passed = 2 * minute
		// What the store remembers of the time is renewed by a timer.
		await new Promise((resolve) => setTimeout(resolve, 5))
		for (const user of [{ objectId: '1' }, { username: account(1).username }])
			assert.deepEqual(
				store.sessionsOf({ tenantId, ...user }).map(({ partition }) => partition),
				['q'],
			)
	})
})
