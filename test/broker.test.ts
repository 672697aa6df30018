import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { GRAPH } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { BrokerError, redisTokenStore, type SessionLike } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** Signs somebody in and returns the session as a handler sees it. */
async function sessionOf(app: Application, name = 'Ada Lovelace'): Promise<SessionLike> {
	const page = await app.signIn(app.browser(), name)
	assert.equal(page.status, 200, page.html)
	assert.ok(app.seen.session)
	return app.seen.session
}

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('acquireSilent with tokens that live for an hour', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	let app: Application
	let session: SessionLike
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		session = await sessionOf(app)
	})
	after(async () => {
		await app.close()
		await Promise.all([redis.stop(), world.close()])
	})

	it('answers the second of two calls from memory: no thread hop, no Redis command, no provider call', async () => {
		await app.broker.acquireSilent(session, { forceRefresh: true })
		const monitor = await redis.monitor()
		const { tasks } = app.broker.statistics
		world.standIn.clearLog()
		const token = await app.broker.acquireSilent(session)
		assert.equal(token.outcome, 'hit')
		assert.equal(app.broker.statistics.tasks, tasks)
		assert.equal(world.standIn.log.length, 0)
		assert.deepEqual(await monitor.commands(), [])
		await monitor.stop()
		assert.ok(Object.isFrozen(token))
		assert.equal(await app.broker.acquireSilent(session), token, 'and makes nothing anew')
	})

	it('takes fewer, reordered, differently spelled or OpenID scopes for the same token', async () => {
		for (const scopes of [['user.read'], ['User.Read', 'openid'], ['profile', 'USER.READ', 'User.Read']])
			assert.equal((await app.broker.acquireSilent(session, { scopes })).outcome, 'hit', scopes.join(' '))
	})

	it('reads the stored blob once when memory has been lost, as after a restart, and asks no provider', async () => {
		const second = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		try {
			world.standIn.clearLog()
			const tasks = second.broker.statistics.tasks
			const outcomes = await Promise.all(
				Array.from({ length: 5 }, async () => (await second.broker.acquireSilent(session)).outcome),
			)
			assert.deepEqual(outcomes.sort(), ['cached', 'inflight', 'inflight', 'inflight', 'inflight'])
			assert.equal(second.broker.statistics.tasks, tasks + 1)
			assert.equal(world.standIn.count('token'), 0)
		} finally {
			await second.close()
		}
	})

	it('asks Redis once for a stored token, and twice for a new one', async () => {
		const second = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			pool: { threads: 1 },
		})
		const monitor = await redis.monitor()
		let seen: readonly string[] = []
		const costs = async (outcome: string, forceRefresh: boolean) => {
			assert.equal((await second.broker.acquireSilent(session, { forceRefresh })).outcome, outcome)
			// A script is sent in full when a connection first runs it, later as its hash.
			const before = seen.length
			seen = (await monitor.commands()).map(([name = '']) => name.replace('evalsha', 'eval'))
			return seen.slice(before)
		}
		try {
			assert.deepEqual(await costs('cached', false), ['eval'])
			// Whether the provider wants to be left alone is asked besides, once a second and tenant.
			assert.deepEqual(await costs('refreshed', true), ['eval', 'pttl', 'eval'])
			assert.deepEqual(await costs('refreshed', true), ['eval', 'eval'])
		} finally {
			monitor.stop()
			await second.close()
		}
	})

	it('gets a token for another resource with the same sign-in, and keeps both', async () => {
		const scopes = [`${GRAPH}/Mail.Read`]
		const other = await app.broker.acquireSilent(session, { scopes })
		assert.ok(other.scopes.some((scope) => scope.endsWith('Mail.Read')))
		assert.equal((await app.broker.acquireSilent(session, { scopes })).outcome, 'hit')
		assert.equal((await app.broker.acquireSilent(session)).outcome, 'hit')
	})

	it('replaces the held token by one that was forced', async () => {
		const before = await app.broker.acquireSilent(session)
		const forced = await app.broker.acquireSilent(session, { forceRefresh: true })
		assert.equal(forced.outcome, 'refreshed')
		assert.notEqual(forced.accessToken, before.accessToken)
		assert.equal((await app.broker.acquireSilent(session)).accessToken, forced.accessToken)
	})

	it('refuses null, undefined and a session in which nobody is signed in, with ERR_SIGNED_OUT', async () => {
		for (const nobody of [null, undefined, {}, { msal: 'x' }, { msal: { partition: '../x', account: {} } }])
			await assert.rejects(app.broker.acquireSilent(nobody), code('ERR_SIGNED_OUT'))
	})

	it('stops waiting when the signal says so, while the work goes on for others', async () => {
		world.standIn.inject({ delayMs: 200 })
		const controller = new AbortController()
		const impatient = app.broker.acquireSilent(session, { forceRefresh: true, signal: controller.signal })
		const patient = app.broker.acquireSilent(session, { forceRefresh: true })
		controller.abort()
		await assert.rejects(impatient, { name: 'AbortError' })
		assert.equal((await patient).outcome, 'inflight')
	})

	it('does not bring tokens back that land after a sign-out', async () => {
		const gone = await sessionOf(app, 'Charles Babbage')
		world.standIn.inject({ delayMs: 300 })
		const late = app.broker.acquireSilent(gone, { forceRefresh: true })
		late.catch(() => {})
		await new Promise((resolve) => setTimeout(resolve, 100))
		await app.broker.signOut(gone)
		await assert.rejects(late, code('ERR_SIGNED_OUT'))
		await assert.rejects(app.broker.acquireSilent(gone), code('ERR_SIGNED_OUT'))
		const { partition } = (gone as { msal: { partition: string } }).msal
		assert.ok(!(await redis.dump()).some((line) => line.includes(partition)), 'nothing is left in Redis')
	})

	it('tells a person who has to come back from an outage, and keeps what the provider asked for', async () => {
		const claims = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c1' } } })
		world.standIn.inject({ error: { error: 'interaction_required', code: 50076, claims } })
		await assert.rejects(app.broker.acquireSilent(session, { forceRefresh: true }), (error) => {
			assert.ok(error instanceof BrokerError)
			assert.deepEqual([error.code, error.status, error.claims], ['ERR_INTERACTION_REQUIRED', 401, claims])
			assert.deepEqual(error.scopes, ['User.Read'])
			return true
		})
	})

	for (const [what, fault, expected] of [
		['502 with HTML', { status: 502, body: '<h1>Bad gateway</h1>' }, 'ERR_IDP_UNAVAILABLE'],
		['a connection that is cut', { drop: true }, 'ERR_IDP_UNAVAILABLE'],
		['half an answer', { halfBody: true }, 'ERR_IDP_UNAVAILABLE'],
		['half of an answer whose refresh is done', { cutAfter: 0.5 }, 'ERR_IDP_UNAVAILABLE'],
		['200 with HTML', { status: 200, body: '<h1>Welcome</h1>' }, 'ERR_IDP_PROTOCOL'],
		['200 with no token', { status: 200, body: {} }, 'ERR_IDP_PROTOCOL'],
		[
			'a token that expires in bananas',
			{ rewrite: (answer: Record<string, unknown>) => ({ ...answer, expires_in: 'banana' }) },
			'ERR_IDP_PROTOCOL',
		],
		[
			'a token for somebody else',
			{
				rewrite: (answer: Record<string, unknown>) => ({
					...answer,
					client_info: Buffer.from(JSON.stringify({ uid: 'other', utid: 'tenant' })).toString('base64url'),
				}),
			},
			'ERR_IDP_PROTOCOL',
		],
		['a refused credential', { error: { error: 'invalid_client', code: 7000222 } }, 'ERR_CLIENT_REJECTED'],
		['missing consent', { error: { error: 'invalid_grant', code: 65001 } }, 'ERR_INTERACTION_REQUIRED'],
	] as const)
		it(`answers ${what} with ${expected} and signs nobody out`, async () => {
			world.standIn.inject(fault)
			await assert.rejects(app.broker.acquireSilent(session, { forceRefresh: true }), code(expected))
			assert.equal((await app.broker.acquireSilent(session)).outcome, 'hit')
			// For a moment everybody believes that the provider is not to be reached.
			await new Promise((resolve) => setTimeout(resolve, expected === 'ERR_IDP_UNAVAILABLE' ? 1010 : 0))
			const after = await app.broker.acquireSilent(session, { forceRefresh: true })
			assert.equal(after.account.objectId, people.ada.oid)
		})
})

describe('a provider that wants fewer calls', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(() => Promise.all([redis.stop(), world.close()]))

	const options = () => ({ secrets, store: redisTokenStore({ path: redis.path }) })
	const unavailable = (least: number, most: number) => (error: unknown) => {
		assert.ok(error instanceof BrokerError)
		assert.deepEqual([error.code, error.status], ['ERR_IDP_UNAVAILABLE', 503])
		assert.ok(
			error.retryAfter && error.retryAfter >= least && error.retryAfter <= most,
			`${error.retryAfter}`,
		)
		return true
	}

	it('of one person (AADSTS50196) is left alone by every process for that person, and only that one', async () => {
		const [first, second] = [
			await createApplication(world, options()),
			await createApplication(world, options()),
		]
		try {
			const ada = await sessionOf(first)
			const charles = await sessionOf(first, 'Charles Babbage')
			world.standIn.clearLog()
			world.standIn.inject({ error: { error: 'invalid_grant', code: 50196 } })
			for (const { broker } of [first, first, second])
				await assert.rejects(broker.acquireSilent(ada, { forceRefresh: true }), unavailable(50, 60))
			assert.equal(world.standIn.count('token'), 1)
			assert.equal((await first.broker.acquireSilent(ada)).outcome, 'hit', 'nobody is signed out')
			assert.equal((await second.broker.acquireSilent(charles, { forceRefresh: true })).outcome, 'refreshed')
		} finally {
			await Promise.all([first.close(), second.close()])
		}
	})

	it('of the application (429 with Retry-After) is left alone by every process, for everybody', async () => {
		const [first, second] = [
			await createApplication(world, options()),
			await createApplication(world, options()),
		]
		try {
			const ada = await sessionOf(first)
			const charles = await sessionOf(second, 'Charles Babbage')
			world.standIn.clearLog()
			world.standIn.inject({ status: 429, headers: { 'retry-after': '17' } })
			await assert.rejects(first.broker.acquireSilent(ada, { forceRefresh: true }), unavailable(16, 17))
			for (const { broker } of [first, second])
				await assert.rejects(broker.acquireSilent(charles, { forceRefresh: true }), unavailable(15, 17))
			assert.equal(world.standIn.count('token'), 1)
			assert.equal((await second.broker.acquireSilent(charles)).outcome, 'hit')
		} finally {
			await Promise.all([first.close(), second.close()])
		}
	})

	for (const [longer, shorter] of [
		[0, 400],
		[400, 0],
	] as const)
		it(`is left alone for the longest of its words, which comes ${longer < shorter ? 'first' : 'last'}`, async () => {
			const [first, second] = [
				await createApplication(world, { ...options(), pool: { threads: 1 } }),
				await createApplication(world, options()),
			]
			try {
				await redis.client().flushall()
				const [ada, charles] = [await sessionOf(first), await sessionOf(first, 'Charles Babbage')]
				const grace = await sessionOf(first, 'Grace Hopper')
				world.standIn.clearLog()
				const say = (seconds: number, delayMs: number) =>
					world.standIn.inject({
						status: 429,
						headers: { 'retry-after': String(seconds) },
						delayMs: 400 + delayMs,
					})
				say(60, longer)
				say(5, shorter)
				// Under way together: neither knows yet what the other is told.
				const refused = [ada, charles].map((session) =>
					assert.rejects(first.broker.acquireSilent(session, { forceRefresh: true }), unavailable(4, 60)),
				)
				await Promise.all(refused)
				assert.equal(world.standIn.count('token'), 2)
				for (const { broker } of [first, second])
					await assert.rejects(broker.acquireSilent(grace, { forceRefresh: true }), unavailable(50, 60))
			} finally {
				world.standIn.clearFaults()
				await Promise.all([first.close(), second.close()])
			}
		})

	it('is left alone by every thread of a process whose store is in memory', async () => {
		const app = await createApplication(world, { pool: { threads: 4, concurrency: 1 } })
		try {
			const ada = await sessionOf(app)
			const others = [await sessionOf(app, 'Charles Babbage'), await sessionOf(app, 'Grace Hopper'), ada]
			world.standIn.clearLog()
			world.standIn.inject({ status: 429, headers: { 'retry-after': '17' }, times: 9 })
			const refused = (session: SessionLike) =>
				assert.rejects(app.broker.acquireSilent(session, { forceRefresh: true }), unavailable(15, 17))
			await refused(ada)
			// Together, so that each has a thread of its own.
			await Promise.all(others.map(refused))
			assert.equal(world.standIn.count('token'), 1)
			assert.equal((await app.broker.acquireSilent(ada)).outcome, 'hit')
		} finally {
			world.standIn.clearFaults()
			await app.close()
		}
	})
})

for (const kind of ['memory', 'Redis'] as const)
	describe(`F7: a grant that was revoked, ${kind}`, () => {
		it('is asked for once, then the person has to come back; a token that is still valid is served', async () => {
			const [world, redis] = await Promise.all([createWorld(), startRedis()])
			const app = await createApplication(world, {
				...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
			})
			try {
				const session = await sessionOf(app)
				world.standIn.revokeUserTokens(people.ada.oid)
				world.standIn.clearLog()
				for (let i = 0; i < 3; i++) {
					const refused = app.broker.acquireSilent(session, { forceRefresh: true })
					await assert.rejects(refused, code('ERR_INTERACTION_REQUIRED'))
				}
				assert.equal(world.standIn.count('token'), 1)
				assert.equal((await app.broker.acquireSilent(session)).outcome, 'hit')
			} finally {
				await app.close()
				await Promise.all([redis.stop(), world.close()])
			}
		})
	})

for (const kind of ['memory', 'Redis'] as const)
	describe(`acquireSilent on an expired session, ${kind}`, () => {
		let world: World
		let redis: Awaited<ReturnType<typeof startRedis>>
		let app: Application
		before(async () => {
			// Under five minutes of life, a token is expired from the start; strict: a refresh token works once.
			;[world, redis] = await Promise.all([
				createWorld({ accessTokenTtl: 120, rotation: 'strict' }),
				startRedis(),
			])
			app = await createApplication(world, {
				pool: { threads: 4 },
				...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
			})
		})
		after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})

		it('G1: refreshes once for 100 callers, whatever the threads, and all get the same token', async () => {
			const session = await sessionOf(app)
			world.standIn.clearLog()
			const tokens = await Promise.all(Array.from({ length: 100 }, () => app.broker.acquireSilent(session)))
			assert.equal(world.standIn.count('token', 'refresh_token'), 1)
			assert.equal(new Set(tokens.map((token) => token.accessToken)).size, 1)
			assert.equal(tokens.filter((token) => token.outcome === 'refreshed').length, 1)
			assert.equal(tokens.filter((token) => token.outcome === 'inflight').length, 99)
		})

		it('stores the rotated refresh token, so that the next refresh works', async () => {
			const session = await sessionOf(app)
			for (let i = 0; i < 4; i++)
				assert.equal((await app.broker.acquireSilent(session)).outcome, 'refreshed', `refresh ${i}`)
		})

		it('never gives one person another’s token', async () => {
			const names = ['Ada Lovelace', 'Charles Babbage', 'Grace Hopper']
			const sessions: SessionLike[] = []
			for (const name of names) sessions.push(await sessionOf(app, name))
			const oids = [people.ada.oid, people.charles.oid, people.grace.oid]
			for (let round = 0; round < 3; round++)
				await Promise.all(
					sessions.map(async (session, i) => {
						const { accessToken, account } = await app.broker.acquireSilent(session)
						const payload = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString())
						assert.deepEqual([payload.oid, account.objectId], [oids[i], oids[i]])
					}),
				)
		})
	})

async function pastRefreshTime({ broker }: Application, session: SessionLike): Promise<void> {
	const { refreshOn } = await broker.acquireSilent(session)
	await new Promise((resolve) => setTimeout(resolve, refreshOn.getTime() - Date.now() + 5))
}

describe('a token that is past its refresh time but valid', () => {
	it('is answered at once, and one refresh runs behind it', async () => {
		const world = await createWorld({ refreshIn: 1 })
		const app = await createApplication(world)
		try {
			const session = await sessionOf(app)
			await pastRefreshTime(app, session)
			world.standIn.clearLog()
			world.standIn.inject({ delayMs: 1500 })
			const started = performance.now()
			const tokens = await Promise.all(Array.from({ length: 20 }, () => app.broker.acquireSilent(session)))
			assert.ok(performance.now() - started < 1000, 'nobody waits for the provider')
			assert.deepEqual(new Set(tokens.map((token) => token.outcome)), new Set(['stale']))
			for (let next = tokens[0]; next?.accessToken === tokens[0]?.accessToken; ) {
				assert.ok(performance.now() - started < 10_000, 'the new one is held')
				await new Promise((resolve) => setTimeout(resolve, 20))
				next = await app.broker.acquireSilent(session)
			}
			assert.equal(world.standIn.count('token', 'refresh_token'), 1)
		} finally {
			await app.close()
			await world.close()
		}
	})

	it('is answered while refreshes fail, and they are tried no more than once per cooldown', async () => {
		const world = await createWorld({ refreshIn: 1 })
		const app = await createApplication(world)
		try {
			const session = await sessionOf(app)
			await pastRefreshTime(app, session)
			world.standIn.clearLog()
			world.standIn.inject({ status: 503, times: 100 })
			for (let i = 0; i < 10; i++) {
				assert.equal((await app.broker.acquireSilent(session)).outcome, 'stale')
				await new Promise((resolve) => setTimeout(resolve, 20))
			}
			assert.equal(world.standIn.count('token', 'refresh_token'), 1)
		} finally {
			await app.close()
			await world.close()
		}
	})
})

describe('close()', () => {
	it('lets what is under way finish, then refuses, and may be called twice', async () => {
		const world = await createWorld()
		const app = await createApplication(world)
		const session = await sessionOf(app)
		world.standIn.inject({ delayMs: 200 })
		const running = app.broker.acquireSilent(session, { forceRefresh: true })
		const closing = app.broker.close()
		await assert.rejects(app.broker.acquireSilent(session), code('ERR_BROKER_CLOSED'))
		assert.equal((await running).outcome, 'refreshed')
		await closing
		await app.broker.close()
		await app.close()
		await world.close()
	})

	it('G5: lets people sign out to the last', async (t) => {
		const [world, redis] = await Promise.all([createWorld(), startRedis()])
		const app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		t.after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		const [busy, leaving] = [await sessionOf(app), await sessionOf(app)]
		world.standIn.inject({ delayMs: 400 })
		const running = app.broker.acquireSilent(busy, { forceRefresh: true })
		const closing = app.broker.close()
		const keys = () => redis.client().keys('*:t:*')
		assert.equal((await keys()).length, 2)
		await app.broker.signOut(leaving)
		assert.equal((await keys()).length, 1)
		await running
		await closing
		await assert.rejects(app.broker.signOut(busy), code('ERR_BROKER_CLOSED'))
	})

	for (const kind of ['memory', 'Redis'] as const)
		it(`G5: waits for nothing that has not had its turn in two seconds: ${kind}`, async (t) => {
			const [world, redis] = await Promise.all([createWorld(), startRedis()])
			t.after(() => Promise.all([redis.stop(), world.close()]))
			const start = () =>
				createApplication(world, {
					network: { caFile: world.caFile, timeout: 4000 },
					refresh: { maxInFlight: 1 },
					...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
				})
			const app = await start()
			const other = await start()
			t.after(() => Promise.all([app.close(), other.close()]))
			const [hanging, waiting] = [await sessionOf(app), await sessionOf(app)]
			world.standIn.inject({ hang: true, times: 1 })
			const began = performance.now()
			const forced = { forceRefresh: true }
			const first = app.broker.acquireSilent(hanging, forced)
			await new Promise((resolve) => setTimeout(resolve, 200))
			const calls = [app.broker.acquireSilent(waiting, forced)]
			// Of a session that another process refreshes.
			if (kind === 'Redis') calls.push(other.broker.acquireSilent(hanging, forced))
			const closing = Promise.all([app.broker.close(), kind === 'Redis' && other.broker.close()])
			await Promise.all(calls.map((call) => assert.rejects(call, code('ERR_BROKER_CLOSED'))))
			const told = performance.now() - began
			assert.ok(told > 2000 && told < 2700, `${told} ms`)
			await assert.rejects(first, code('ERR_IDP_UNAVAILABLE'))
			await closing
			const ended = performance.now() - began
			assert.ok(ended < 4000 + 1000, `${ended} ms`)
		})
})
