import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { TENANT_ID } from '../dev/directory.js'
import { people } from '../dev/people.js'
import {
	BrokerError,
	type ListedSession,
	type MemoryTokenStore,
	memoryTokenStore,
	type RedisTokenStore,
	redisTokenStore,
	type SessionFilter,
	type SessionTicket,
	type TokenBroker,
} from '../src/index.js'
import { namespace } from './cluster/setting.js'
import {
	type Application,
	createApplication,
	createWorld,
	type Overrides,
	type World,
} from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { serverRights } from './support/redis-rights.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const others = ['a secret of nobody else, more than 32 bytes: 9876']
const tenantId = TENANT_ID
const { ada, grace } = people
const hour = 3_600_000
const absoluteTimeout = 7 * 24 * hour
const nothing = { damaged: 0, orphaned: 0, older: 0, unreadable: 0, left: 0 }

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected
const list = async (broker: TokenBroker, filter?: SessionFilter): Promise<ListedSession[]> => {
	const listed: ListedSession[] = []
	for await (const session of broker.sessions.list(filter)) listed.push(session)
	return listed
}
const usernames = (listed: readonly ListedSession[]) => listed.map(({ account }) => account?.username).sort()

for (const kind of ['memory', 'Redis'] as const)
	describe(`the sessions of everybody (session_iter, session_clean, invalid_sessions), ${kind}`, () => {
		let world: World
		let redis: TestRedis
		let store: MemoryTokenStore | RedisTokenStore
		let app: Application
		before(async () => {
			;[world, redis] = await Promise.all([createWorld(), startRedis()])
			store = kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore()
			app = await start()
		})
		after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		afterEach(async () => {
			await app.broker.sessions.clean({ olderThan: 0, unknownSecrets: true })
			await redis.client().flushall()
		})

		const start = (overrides: Overrides = {}) =>
			createApplication(world, { secrets, store, pool: { threads: 1 }, ...overrides })
		const signIn = async ({ name }: { readonly name: string }, at = app) => {
			const browser = at.browser()
			const page = await at.signIn(browser, name)
			assert.equal(page.status, 200, page.html)
			return { browser, msal: at.seen.session?.msal as SessionTicket }
		}
		const webSessions = async () =>
			store.kind === 'memory' ? store.sessions.size : (await redis.client().keys('*:s:*')).length
		const partitionsOf = async (user: { readonly oid: string }) =>
			(await app.broker.sessions.find({ tenantId, objectId: user.oid })).map(({ partition }) => partition)

		it('are listed with who is signed in and when they end, and with nothing that opens one', async () => {
			assert.deepEqual(await list(app.broker), [])
			const { msal } = await signIn(ada)
			await signIn(ada)
			await signIn(grace)
			const listed = await list(app.broker)
			assert.deepEqual(usernames(listed), [ada.upn, ada.upn, grace.upn])
			assert.equal(new Set(listed.map(({ id }) => id)).size, 3)
			for (const { expiresOn } of listed)
				assert.ok(Math.abs(expiresOn.getTime() - Date.now() - absoluteTimeout) < 10_000)
			const { accessToken } = await app.broker.acquireSilent({ msal })
			const text = JSON.stringify(listed)
			assert.ok(!text.includes(msal.partition) && !text.includes(accessToken))
			for (const { id } of listed) {
				const made = { ...msal, partition: id }
				await assert.rejects(app.broker.acquireSilent({ msal: made }), code('ERR_SIGNED_OUT'))
			}
		})

		it('are listed by tenant and by user, and by no filter that is misspelt', async () => {
			await signIn(ada)
			await signIn(grace)
			for (const [filter, expected] of [
				[{ tenantId }, [ada.upn, grace.upn]],
				[{ objectId: grace.oid }, [grace.upn]],
				[{ tenantId, objectId: ada.oid }, [ada.upn]],
				[{ tenantId, objectId: ada.oid.toUpperCase() }, [ada.upn]],
				[{ tenantId: 'another', objectId: ada.oid }, []],
				[{ objectId: ada.oid.slice(0, -1) }, []],
			] as const)
				assert.deepEqual(usernames(await list(app.broker, filter)), expected, JSON.stringify(filter))
			for (const filter of [{ tenant: tenantId }, { objectId: 1 }, null, [], 'ada'])
				await assert.rejects(list(app.broker, filter as never), code('ERR_BAD_REQUEST'))
		})

		it('are found with the same ids, the newest first', async () => {
			const [first, second] = [await signIn(ada), await signIn(ada)]
			await app.broker.acquireSilent({ msal: first.msal }, { forceRefresh: true })
			const found = await app.broker.sessions.find({ tenantId, objectId: ada.oid })
			assert.deepEqual(
				found.map(({ partition }) => partition),
				[second, first].map(({ msal }) => msal.partition),
			)
			const ids = (await list(app.broker)).map(({ id }) => id)
			assert.deepEqual(found.map(({ id }) => id).sort(), ids.sort())
			const capitals = { tenantId, objectId: ada.oid.toUpperCase() }
			// Not deepEqual: the store says how long they live on, counted from the time of each question.
			const foundAgain = await app.broker.sessions.find(capitals)
			assert.deepEqual(
				foundAgain.map(({ id }) => id),
				found.map(({ id }) => id),
			)
			assert.equal(await app.broker.sessions.revoke(capitals), 2, 'who is to be gone is not overlooked')
		})

		it('are ended by id: that one, with its web session, and no other', async () => {
			const [first, second] = [await signIn(ada), await signIn(ada)]
			await signIn(grace)
			const found = await app.broker.sessions.find({ tenantId, objectId: ada.oid })
			const id = found.find(({ partition }) => partition === first.msal.partition)?.id ?? ''
			assert.equal(await app.broker.sessions.revoke(id), 1)
			assert.equal(await app.broker.sessions.revoke(id), 0, 'it is gone')
			assert.equal((await first.browser.get(`${app.origin}/token`)).status, 401)
			assert.equal((await second.browser.get(`${app.origin}/token`)).status, 200)
			assert.equal(await webSessions(), 2)
			assert.deepEqual(await partitionsOf(ada), [second.msal.partition])
			assert.equal((await list(app.broker)).length, 2)
		})

		it('are ended by user: also more of them than there is room for work', async () => {
			const small = await start({ pool: { threads: 1, concurrency: 1, maxQueue: 15 } })
			try {
				for (let i = 0; i < 20; i++) await small.signIn(small.browser(), ada.name)
				assert.equal(await small.broker.sessions.revoke({ tenantId, objectId: ada.oid }), 20)
				assert.equal((await list(small.broker)).length, 0)
			} finally {
				await small.close()
			}
		})

		it('are ended by user: all of that one’s, and nobody else’s', async () => {
			const own = [await signIn(ada), await signIn(ada)]
			const someone = await signIn(grace)
			assert.equal(await app.broker.sessions.revoke({ tenantId, mail: ada.upn }), 2)
			assert.equal(await app.broker.sessions.revoke({ tenantId, objectId: ada.oid }), 0)
			for (const { browser, msal } of own) {
				assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
				await assert.rejects(app.broker.acquireSilent({ msal }), code('ERR_SIGNED_OUT'))
			}
			assert.equal((await someone.browser.get(`${app.origin}/token`)).status, 200)
			assert.deepEqual(usernames(await list(app.broker)), [grace.upn])
			assert.equal(await webSessions(), 1)
		})

		it('are not ended by what is no id, as is a partition, nor by half a reference', async () => {
			const { msal } = await signIn(ada)
			for (const which of [msal.partition, '', '*', 'x'.repeat(54), { tenantId }, {}, null, undefined])
				await assert.rejects(app.broker.sessions.revoke(which as never), code('ERR_BAD_REQUEST'))
			assert.deepEqual(await partitionsOf(ada), [msal.partition])
		})

		it('are cleaned by age, when that is asked for', async () => {
			await signIn(ada)
			assert.deepEqual(await app.broker.sessions.clean(), nothing)
			assert.deepEqual(await app.broker.sessions.clean({ olderThan: hour }), nothing)
			const begunBefore = absoluteTimeout - 2 * hour
			if (store.kind === 'memory') {
				const account = { homeAccountId: 'o.t', tenantId: 't', objectId: 'o', username: 'u@t.example' }
				store.create('p'.repeat(43), 'sealed', begunBefore, account)
			} else {
				const { msal } = await signIn(grace)
				await redis.client().pexpire(`${namespace}:t:{${msal.partition}}`, begunBefore)
			}
			assert.deepEqual(await app.broker.sessions.clean({ olderThan: hour }), { ...nothing, older: 1 })
			assert.deepEqual(usernames(await list(app.broker)), [ada.upn])
			assert.equal(await webSessions(), 1)
			for (const options of [
				{ olderThan: -1 },
				{ olderThan: '1' },
				{ older: 1 },
				null,
				{ unknownSecrets: 1 },
			])
				await assert.rejects(app.broker.sessions.clean(options as never), code('ERR_BAD_REQUEST'))
		})

		if (kind === 'Redis') {
			const client = () => redis.client()
			const keysOf = async (letter: string) => (await client().keys(`*:${letter}:*`)).sort()

			it('are ended in every process at once', async () => {
				const second = await start()
				try {
					const { msal } = await signIn(ada)
					assert.equal((await second.broker.acquireSilent({ msal })).outcome, 'cached')
					assert.equal((await second.broker.acquireSilent({ msal })).outcome, 'hit')
					const [listed] = await list(second.broker)
					assert.equal(await app.broker.sessions.revoke(listed?.id ?? ''), 1)
					const outcome = () =>
						second.broker.acquireSilent({ msal }).then(
							({ outcome }) => outcome,
							({ code }) => code,
						)
					while ((await outcome()) !== 'ERR_SIGNED_OUT') await turn()
					assert.deepEqual([await keysOf('t'), await keysOf('s'), await keysOf('i')], [[], [], []])
				} finally {
					await second.close()
				}
			})

			it('are ended by id also while the store takes nothing: as soon as it does', async () => {
				const { browser } = await signIn(ada)
				const [session] = await list(app.broker)
				await client().acl('SETUSER', 'default', '-eval', '-evalsha')
				try {
					const ended = app.broker.sessions.revoke(session?.id ?? '')
					await assert.rejects(ended, code('ERR_STORE_UNAVAILABLE'))
				} finally {
					await client().acl('SETUSER', 'default', '+eval', '+evalsha')
				}
				while ((await keysOf('t')).length > 0) await turn()
				assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
			})

			it('are looked through in small steps, whatever else is in Redis', async () => {
				await signIn(ada)
				const pipeline = client().pipeline()
				for (let key = 0; key < 2000; key++) pipeline.set(`of another application:${key}`, 'x')
				await pipeline.exec()
				const monitor = await redis.monitor()
				assert.equal((await list(app.broker)).length, 1)
				await app.broker.sessions.clean()
				const commands = await monitor.commands()
				monitor.stop()
				const scans = commands.filter(([name]) => /^scan$/i.test(name ?? ''))
				assert.ok(scans.length >= 2 * (2000 / 250), `${scans.length}`)
				for (const [, , , pattern, , count] of scans)
					assert.ok(pattern === `${namespace}:*` && Number(count) <= 250)
				assert.ok(!commands.some(([name]) => /^(keys|flush|sort)/i.test(name ?? '')))
			})

			it('are cleaned of what is damaged, ended by half, or leads nowhere', async () => {
				const [damaged, half, lost, whole] = [
					await signIn(ada),
					await signIn(ada),
					await signIn(grace),
					await signIn(grace),
				]
				const key = ({ msal }: { readonly msal: SessionTicket }) => `${namespace}:t:{${msal.partition}}`
				await client().hset(key(damaged), 'b', 'Adamaged')
				await client().hdel(key(half), 'v', 'b', 'x', 'i')
				// What leads to the lost one was written some time ago.
				await client().del(key(lost))
				for (const index of await keysOf('i'))
					await client().zadd(index, 'XX', Date.now() + absoluteTimeout - hour, lost.msal.partition)
				const web = (await client().hget(key(whole), 's')) ?? ''
				const stray = `${namespace}:s:of nobody`
				await client().set(stray, 'damaged', 'PX', hour)
				const counts = await app.broker.sessions.clean()
				assert.deepEqual(counts, { ...nothing, damaged: 3, orphaned: 2 })
				assert.deepEqual(await keysOf('t'), [key(whole)])
				// The lost one's web session is whole, and may have more in it than who was signed in.
				const left = await keysOf('s')
				assert.equal(left.length, 2)
				assert.ok(left.includes(web) && !left.includes(stray))
				assert.deepEqual(await partitionsOf(grace), [whole.msal.partition])
				assert.equal((await whole.browser.get(`${app.origin}/token`)).status, 200)
			})

			it('are cleaned without harm to a sign-in under way, or to a refresh', async () => {
				const browser = app.browser()
				await browser.follow(`${app.origin}/user/login`)
				// Cleaned in the midst of its redemption: the mark is there, the tokens are not yet.
				const atProvider = new Promise<void>((resolve) =>
					world.standIn.inject({
						grant: 'authorization_code',
						rewrite: async (answer) => {
							await app.broker.sessions.clean({ olderThan: 0, unknownSecrets: true })
							resolve()
							return answer
						},
					}),
				)
				const [page] = await Promise.all([browser.press(ada.name), atProvider])
				assert.equal(page.status, 200, page.html)
				const [mark = ''] = await keysOf('u')
				const [index = ''] = await keysOf('i')
				// Entered in the index a moment ago, and to be created in another.
				const coming = 'c'.repeat(43)
				await client().zadd(index, Date.now() + absoluteTimeout - 1000, coming)
				const lease = `${namespace}:l:{${coming}}`
				await client().set(lease, 'somebody', 'PX', hour)
				assert.deepEqual(await app.broker.sessions.clean(), nothing)
				assert.ok((await client().zscore(index, coming)) !== null)
				assert.equal(await client().exists(mark, lease), 2)
				assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
			})

			it('are left alone under secrets that another process may have, unless that is asked for', async () => {
				const strange = await start({ secrets: others })
				try {
					await signIn(ada, strange)
				} finally {
					await strange.close()
				}
				const { msal } = await signIn(grace)
				const later = await signIn(grace)
				const key = `${namespace}:t:{${later.msal.partition}}`
				const sealed = Buffer.from((await client().hget(key, 'b')) ?? '', 'base64url')
				sealed[0] = 2
				await client().hset(key, 'b', sealed.toString('base64url'))

				const listed = await list(app.broker)
				assert.deepEqual(usernames(listed), [grace.upn, undefined, undefined])
				assert.deepEqual(usernames(await list(app.broker, { tenantId })), [grace.upn])
				// Of the newer version, the tokens; of the other secret, tokens and web session.
				assert.deepEqual(await app.broker.sessions.clean(), { ...nothing, left: 3 })
				assert.equal((await list(app.broker)).length, 3)
				const { unreadable, ...rest } = await app.broker.sessions.clean({ unknownSecrets: true })
				// The web session goes with its tokens, or before them.
				assert.ok(unreadable === 1 || unreadable === 2)
				assert.deepEqual({ ...rest, unreadable: 0 }, { ...nothing, left: 1 })
				assert.deepEqual(await partitionsOf(grace), [msal.partition])
				// Whoever it is, an administrator can end it.
				const [unknown] = (await list(app.broker)).filter(({ account }) => !account)
				assert.equal(await app.broker.sessions.revoke(unknown?.id ?? ''), 1)
				assert.equal((await list(app.broker)).length, 1)
			})

			it('are administered by a Redis user who may SCAN, beside what the README grants', async () => {
				await client().acl('LOG', 'RESET')
				await client().acl('SETUSER', 'admin', 'on', '>a password', ...serverRights.rules, '+scan')
				const admin = await start({
					store: redisTokenStore({ path: redis.path, username: 'admin', password: 'a password' }),
				})
				try {
					await signIn(ada)
					const [session] = await list(admin.broker)
					assert.deepEqual(await admin.broker.sessions.clean({ unknownSecrets: true }), nothing)
					assert.equal(await admin.broker.sessions.revoke(session?.id ?? ''), 1)
					const stray = `${namespace}:s:of nobody`
					await client().set(stray, 'damaged', 'PX', hour)
					assert.deepEqual(await admin.broker.sessions.clean(), { ...nothing, damaged: 1 })
					assert.deepEqual(await client().acl('LOG'), [])
				} finally {
					await admin.close()
				}
			})

			it('are found behind a prefix of ioredis, taken as it stands', async () => {
				const prefixed = await start({ store: redisTokenStore({ path: redis.path, keyPrefix: 'a[b]*:' }) })
				try {
					await signIn(ada, prefixed)
					await signIn(grace)
					assert.deepEqual(usernames(await list(prefixed.broker)), [ada.upn])
					assert.deepEqual(usernames(await list(app.broker)), [grace.upn])
					assert.deepEqual(await prefixed.broker.sessions.clean({ olderThan: 0 }), { ...nothing, older: 1 })
					assert.deepEqual(await list(prefixed.broker), [])
					assert.equal((await list(app.broker)).length, 1)
				} finally {
					await prefixed.close()
				}
			})
		}
	})
