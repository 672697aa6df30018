import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientIds, clientSecrets, createDirectory, GRAPH } from '../../dev/directory.js'
import { people } from '../../dev/people.js'
import { redisTokenStore, type SessionTicket } from '../../src/index.js'
import type { ProcessOptions, Reply } from '../fixtures/broker-process.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { BrokerProcess } from '../support/broker-process.js'
import { expire, readCache, type Whereabouts } from '../support/expire.js'
import { startRedis } from '../support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const namespace = `koa-msal:${createHash('sha256').update(clientIds.web).digest('hex').slice(0, 16)}`
const rounds = Number(process.env.ROUNDS ?? 200)

/** Eight APIs besides Microsoft Graph, to which the web application has been consented. */
const apis = Object.fromEntries(
	Array.from({ length: 8 }, (_, at) => [`api://api-${at}`, { audience: `api-${at}`, scopes: ['use'] }]),
)
const own = createDirectory({ redirectUris: ['http://localhost/user/authorized'] })
const consented = Object.fromEntries(Object.keys(apis).map((api) => [api, ['use']]))
const directory = {
	clients: own.clients.map((one) => ({ ...one, consented: { ...one.consented, ...consented } })),
	resources: { ...own.resources, ...apis },
}

type Session = { msal: SessionTicket }
const tokens = (replies: Reply[]) =>
	new Set(replies.map((reply) => ('token' in reply ? reply.token : reply.error)))

for (const rotation of ['strict', 'entra'] as const)
	describe(`refreshes across four processes, with a provider that rotates like ${rotation}`, () => {
		let world: World
		let redis: Awaited<ReturnType<typeof startRedis>>
		let app: Application
		const processes: BrokerProcess[] = []

		const options = (): ProcessOptions => ({
			auth: {
				clientId: clientIds.web,
				clientSecret: clientSecrets.web,
				authority: world.standIn.authority,
				redirectUri: `${app.origin}/user/authorized`,
			},
			secrets: [secret],
			network: { caFile: world.caFile },
			refresh: { lease: 1000 },
			redis: { path: redis.path },
		})
		const where = (session: Session): Whereabouts => ({
			redis: redis.client(),
			namespace,
			secret,
			clientId: clientIds.web,
			partition: session.msal.partition,
		})
		const signIn = async (name = 'Ada Lovelace'): Promise<Session> => {
			const page = await app.signIn(app.browser(), name)
			assert.equal(page.status, 200, page.html)
			return app.seen.session as unknown as Session
		}
		const everywhere = async (sessions: readonly Session[], request?: object) =>
			(await Promise.all(processes.map((one) => one.acquire(sessions, request)))).flat()

		before(async () => {
			;[world, redis] = await Promise.all([createWorld({ rotation, ...directory }), startRedis()])
			app = await createApplication(world, {
				secrets: [secret],
				store: redisTokenStore({ path: redis.path }),
			})
			processes.push(...(await Promise.all(Array.from({ length: 4 }, () => BrokerProcess.start(options())))))
		})
		after(async () => {
			await Promise.all(processes.map((one) => one.close()))
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})

		it(`happen once per expiry: ${rounds} rounds of 4 processes × 25 calls`, async () => {
			const session = await signIn()
			const place = where(session)
			const calls = Array.from({ length: 25 }, () => session)
			world.standIn.clearLog()
			for (let round = 1; round <= rounds; round++) {
				await expire(place)
				const replies = await everywhere(calls)
				assert.equal(tokens(replies).size, 1, `round ${round}: ${[...tokens(replies)].join()}`)
				assert.ok(replies.every((reply) => 'token' in reply))
				assert.equal(world.standIn.count('token', 'refresh_token'), round)
			}
		})

		it('happen once when the provider takes longer than the lease', async () => {
			const session = await signIn()
			await expire(where(session))
			world.standIn.clearLog()
			world.standIn.inject({ delayMs: 2500 })
			const replies = await everywhere([session, session])
			assert.equal(tokens(replies).size, 1, [...tokens(replies)].join())
			assert.equal(world.standIn.count('token', 'refresh_token'), 1)
		})

		it('G9: of different resources at once keep every token, and the latest refresh token', async () => {
			const session = await signIn('Charles Babbage')
			const place = where(session)
			await expire(place)
			world.standIn.clearLog()
			const wanted = ['User.Read', `${GRAPH}/Mail.Read`, ...Object.keys(apis).map((api) => `${api}/use`)]
			assert.equal(wanted.length, 10)
			// Of each, five calls in each of the four processes.
			const calls = Array.from({ length: 5 }, () => session)
			const replies = await Promise.all(
				wanted.map(async (scope) =>
					(await Promise.all(processes.map((one) => one.acquire(calls, { scopes: [scope] })))).flat(),
				),
			)
			const given = replies.map((ofScope) => [...tokens(ofScope)])
			for (const [at, ofScope] of replies.entries()) {
				assert.equal(ofScope.length, 20)
				assert.ok(
					ofScope.every((reply) => 'token' in reply),
					`${wanted[at]}: ${given[at]}`,
				)
			}
			assert.deepEqual(
				given.map((ofScope) => ofScope.length),
				wanted.map(() => 1),
				'one token for each',
			)
			assert.equal(world.standIn.count('token', 'refresh_token'), wanted.length)
			const stored = await readCache(place)
			const fresh = Object.values(stored?.cache.AccessToken ?? {}).filter(
				({ expires_on }) => Number(expires_on) > 1,
			)
			for (const [at, scope] of wanted.entries()) {
				const held = fresh.filter(({ target }) => target?.split(' ').includes(scope))
				assert.deepEqual(
					held.map(({ secret: text }) => text?.slice(-24)),
					given[at],
					`${scope}: what was given out is stored`,
				)
			}
			assert.equal(Object.keys(stored?.cache.RefreshToken ?? {}).length, 1)
			await expire(place)
			assert.ok(
				(await everywhere([session])).every((reply) => 'token' in reply),
				'the refresh token is the latest',
			)
		})

		it('go on within the lease and three seconds when the process that refreshes is killed', async () => {
			const session = await signIn()
			await expire(where(session))
			const victim = await BrokerProcess.start(options())
			world.standIn.inject({ hang: true })
			victim.acquire([session]).catch(() => {})
			await sleep(300)
			victim.child.kill('SIGKILL')
			const started = performance.now()
			const replies = await everywhere([session])
			const took = performance.now() - started
			assert.equal(tokens(replies).size, 1, [...tokens(replies)].join())
			assert.ok(took < 4000, `took ${took} ms`)
		})

		it('that outlive their lease write nothing over the newer ones', async () => {
			const session = await signIn()
			const place = where(session)
			await expire(place)
			const sleeper = await BrokerProcess.start(options())
			try {
				// The provider has not seen the refresh when its process stops; it would be served after it goes on.
				world.standIn.inject({ delayMs: 400 })
				const late = sleeper.acquire([session])
				await sleep(200)
				sleeper.child.kill('SIGSTOP')
				await sleep(1200)
				const newer = await processes[0]?.acquire([session])
				const between = await readCache(place)
				sleeper.child.kill('SIGCONT')
				const [reply] = await late
				const after = await readCache(place)
				if (rotation === 'entra') {
					assert.ok(
						newer?.every((one) => 'token' in one),
						JSON.stringify(newer),
					)
					assert.ok(reply && 'token' in reply, 'its own caller has a valid token')
				}
				assert.deepEqual(after, between, 'and the store is as the newer one left it')
			} finally {
				await sleeper.close()
			}
		})

		it('end for good when somebody signs out, everywhere within a second', async () => {
			const session = await signIn()
			assert.ok((await everywhere([session])).every((reply) => 'token' in reply))
			world.standIn.inject({ delayMs: 600 })
			const late = processes[1]?.acquire([session], { forceRefresh: true })
			await sleep(200)
			await processes[0]?.ask({ do: 'signOut', session })
			await sleep(300)
			const replies = await everywhere([session])
			assert.deepEqual(tokens(replies), new Set(['ERR_SIGNED_OUT']))
			assert.deepEqual(tokens((await late) ?? []), new Set(['ERR_SIGNED_OUT']))
			assert.deepEqual(tokens(await everywhere([session])), new Set(['ERR_SIGNED_OUT']))
			for (const one of processes) assert.equal(await one.ask({ do: 'isSignedIn', session }), false)
			assert.ok(!(await redis.dump()).some((line) => line.includes(session.msal.partition)))
		})

		it('are asked about when notices of sign-outs could not be heard for a while', async () => {
			const session = await signIn()
			assert.ok((await everywhere([session])).every((reply) => 'token' in reply))
			const client = redis.client()
			// While nobody listens, somebody signs out.
			await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
			await client.del(`${namespace}:t:{${session.msal.partition}}`)
			await sleep(400)
			assert.deepEqual(tokens(await everywhere([session])), new Set(['ERR_SIGNED_OUT']))
		})

		it('are survived by a store that is down: the token is given, kept, and written when the store is back', async () => {
			const session = await signIn('Grace Hopper')
			const [first, second] = processes as [BrokerProcess, BrokerProcess]
			world.standIn.inject({ delayMs: 500 })
			const pending = first.acquire([session], { forceRefresh: true })
			await sleep(250)
			const saved = await redis.client().dumpBuffer(`${namespace}:t:{${session.msal.partition}}`)
			await redis.kill()
			const [reply] = await pending
			assert.ok(reply && 'token' in reply, JSON.stringify(reply))
			assert.deepEqual(
				(await first.acquire([session])).map((one) => 'outcome' in one && one.outcome),
				['hit'],
			)
			await redis.restart()
			await redis
				.client()
				.restore(`${namespace}:t:{${session.msal.partition}}`, 0, saved as unknown as string)
			await sleep(1500)
			const stored = await readCache(where(session))
			const held = Object.values(stored?.cache.AccessToken ?? {}).map(({ secret: text }) => text?.slice(-24))
			assert.ok(held.includes(reply.token), 'the refreshed blob is in the store')
			world.standIn.clearLog()
			const [next] = await second.acquire([session], { forceRefresh: true })
			assert.ok(next && 'token' in next && next.objectId === people.grace.oid, 'and its refresh token works')
		})
	})
