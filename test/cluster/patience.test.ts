import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerError, redisTokenStore, type SessionLike, type SessionTicket } from '../../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	type Overrides,
	type World,
} from '../support/application.js'
import { startRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

for (const kind of ['memory', 'Redis'] as const)
	describe(`who waits for what, ${kind}`, () => {
		let world: World
		let redis: Awaited<ReturnType<typeof startRedis>>
		before(async () => {
			;[world, redis] = await Promise.all([
				// Tokens are too short-lived to be held, and a refresh token works once.
				createWorld({ accessTokenTtl: 120, rotation: 'strict' }),
				startRedis(),
			])
		})
		after(() => Promise.all([redis.stop(), world.close()]))

		const withApplication = async (overrides: Overrides, work: (app: Application) => Promise<void>) => {
			const app = await createApplication(world, {
				...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
				...overrides,
			})
			try {
				await work(app)
			} finally {
				world.standIn.clearFaults()
				await app.close()
			}
		}
		const sessionOf = async (app: Application, name = 'Ada Lovelace'): Promise<SessionLike> => {
			const page = await app.signIn(app.browser(), name)
			assert.equal(page.status, 200, page.html)
			return app.seen.session
		}

		it('a refresh that outlasts its caller is kept, and the next call works', () =>
			withApplication({ pool: { taskTimeout: 500 } }, async ({ broker, ...app }) => {
				const session = await sessionOf({ broker, ...app })
				world.standIn.inject({ delayMs: 900 })
				await assert.rejects(broker.acquireSilent(session), code('ERR_OVERLOADED'))
				await sleep(700)
				assert.ok((await broker.acquireSilent(session)).accessToken, 'with the rotated refresh token')
			}))

		it('no more refreshes than the setting says are at the provider at a time, whatever the threads', () =>
			withApplication({ refresh: { maxInFlight: 1 }, pool: { threads: 2 } }, async (app) => {
				const sessions = [await sessionOf(app), await sessionOf(app, 'Charles Babbage')]
				world.standIn.inject({ delayMs: 400, times: 2 })
				const started = performance.now()
				await Promise.all(sessions.map((session) => app.broker.acquireSilent(session)))
				assert.ok(performance.now() - started > 790, 'one after the other')
			}))

		it('a provider that hangs keeps nobody from being looked at or signed out', () =>
			withApplication({ refresh: { maxInFlight: 4 }, pool: { concurrency: 8 } }, async (app) => {
				const names = ['Ada Lovelace', 'Charles Babbage', 'Grace Hopper']
				const sessions: SessionLike[] = []
				for (let i = 0; i < 9; i++) sessions.push(await sessionOf(app, names[i % 3]))
				const bystander = await sessionOf(app, 'Alan Turing')
				world.standIn.inject({ delayMs: 1500, times: 9 })
				const waiting = Promise.allSettled(sessions.map((session) => app.broker.acquireSilent(session)))
				await sleep(100)
				const started = performance.now()
				assert.equal(await app.broker.isSignedIn(bystander), true)
				await app.broker.signOut(bystander)
				assert.ok(performance.now() - started < 700)
				world.standIn.clearFaults()
				await waiting
			}))

		if (kind === 'Redis') {
			it('what goes on when the broker is closed is waited for, and stored', async () => {
				let session: SessionLike
				const store = redisTokenStore({ path: redis.path })
				await withApplication({ pool: { taskTimeout: 300 } }, async (app) => {
					session = await sessionOf(app)
					world.standIn.inject({ delayMs: 700 })
					await assert.rejects(app.broker.acquireSilent(session), code('ERR_OVERLOADED'))
				})
				await withApplication({ store }, async ({ broker }) => {
					assert.ok((await broker.acquireSilent(session)).accessToken)
				})
			})

			it('waiting for another process’s lease takes no slot from others', () =>
				withApplication({ refresh: { maxInFlight: 1 } }, async (app) => {
					const [ada, charles] = [await sessionOf(app), await sessionOf(app, 'Charles Babbage')]
					const { partition } = (ada as { msal: SessionTicket }).msal
					const [tokens] = (await redis.client().keys(`*:t:{${partition}}`)) as [string]
					await redis.client().set(tokens.replace(':t:', ':l:'), 'somebody else', 'PX', 1500)
					const late = app.broker.acquireSilent(ada)
					await sleep(100)
					const started = performance.now()
					await app.broker.acquireSilent(charles)
					assert.ok(performance.now() - started < 800)
					assert.ok((await late).accessToken)
				}))

			it('a blob that does not open keeps no lease from those who can open it', () =>
				withApplication({}, async (app) => {
					const session = await sessionOf(app)
					const stranger = await createApplication(world, {
						secrets: ['quite another secret of 32 bytes: 9876543210'],
						store: redisTokenStore({ path: redis.path }),
					})
					try {
						await assert.rejects(stranger.broker.acquireSilent(session), code('ERR_SIGNED_OUT'))
					} finally {
						await stranger.close()
					}
					const started = performance.now()
					assert.ok((await app.broker.acquireSilent(session)).accessToken)
					assert.ok(performance.now() - started < 1000)
				}))

			it('a sign-out that the store could not be told is told when it is back', () =>
				withApplication({}, async (app) => {
					const session = await sessionOf(app)
					const client = redis.client()
					await client.call('ACL', 'SETUSER', 'default', '-del')
					try {
						await assert.rejects(app.broker.signOut(session), code('ERR_STORE_UNAVAILABLE'))
					} finally {
						await client.call('ACL', 'SETUSER', 'default', '+del')
					}
					const { partition } = (session as { msal: SessionTicket }).msal
					const began = performance.now()
					while ((await client.keys(`*:t:{${partition}}`)).length > 0) {
						assert.ok(performance.now() - began < 3000)
						await sleep(50)
					}
				}))

			it('a sign-out cannot be overtaken by a guard that looked before', () =>
				withApplication({}, async (app) => {
					for (let i = 0; i < 20; i++) {
						const session = await sessionOf(app)
						const look = app.broker.isSignedIn(session)
						await Promise.all([look, app.broker.signOut(session)])
						assert.equal(await app.broker.isSignedIn(session), false)
					}
				}))
		}

		it('signing out waits for no provider that is down', () =>
			withApplication({}, async (app) => {
				const session = await sessionOf(app)
				const other = await createApplication(world, {
					network: { caFile: world.caFile, timeout: 2000 },
					...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
				})
				try {
					world.standIn.inject({ on: 'discovery', hang: true, times: 5 })
					const started = performance.now()
					await other.broker.signOut(session)
					assert.ok(performance.now() - started < 1500)
				} finally {
					world.standIn.clearFaults()
					await other.close()
				}
			}))
	})
