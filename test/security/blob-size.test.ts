import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { clientIds, createDirectory } from '../../dev/directory.js'
import { redisTokenStore } from '../../src/index.js'
import { plaintextBytes } from '../../src/sealing.js'
import { latestExpiry, type TokenCacheJson, withinBytes } from '../../workers/token-cache.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { readCache } from '../support/expire.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const bound = 131_072
const names = Array.from({ length: 40 }, (_, i) => `api://api-${i}`)
const many = Array.from({ length: 500 }, (_, i) => `Scope.${i}.ReadWrite.All`)

describe('I5: a token cache that grows', { timeout: 120_000 }, () => {
	let world: World
	let redis: TestRedis
	let client: Redis
	let app: Application
	before(async () => {
		const { clients, resources } = createDirectory({ redirectUris: ['http://localhost/user/authorized'] })
		const more = Object.fromEntries(
			names.map((name, i) => [name, { audience: name, scopes: i % 10 === 0 ? many : ['read'] }]),
		)
		const consented = Object.fromEntries(names.map((name, i) => [name, i % 10 === 0 ? many : ['read']]))
		;[world, redis] = await Promise.all([
			createWorld({
				clients: clients.map((one) => ({ ...one, consented: { ...one.consented, ...consented } })),
				resources: { ...resources, ...more },
			}),
			startRedis(),
		])
		client = new Redis({ path: redis.path })
		app = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ path: redis.path }),
			cache: { maxBlobBytes: bound },
		})
	})
	after(async () => {
		client.disconnect()
		await app.close()
		await redis.stop()
		await world.close()
	})

	it('I5: stays within its bound, with the newest token, the refresh token and who it is of', async () => {
		await app.signIn(app.browser())
		const session = app.seen.session as { msal: { partition: string } }
		const namespace = `koa-msal:${createHash('sha256').update(clientIds.web).digest('hex').slice(0, 16)}`
		const { partition } = session.msal
		const where = { redis: client, namespace, secret, clientId: clientIds.web, partition }
		const tokens = new Set<string>()
		let left = 0
		for (const name of names) {
			const { accessToken, outcome } = await app.broker.acquireSilent(session, {
				scopes: [`${name}/.default`],
			})
			assert.equal(outcome, 'refreshed')
			tokens.add(accessToken)
			const sealed = (await client.hget(`${namespace}:t:{${partition}}`, 'b')) ?? ''
			assert.ok(sealed.length <= bound, `${sealed.length} characters`)
			const stored = await readCache(where)
			assert.ok(stored)
			const { Account = {}, IdToken = {}, AccessToken = {}, RefreshToken = {} } = stored.cache
			for (const section of [Account, IdToken, RefreshToken]) assert.equal(Object.keys(section).length, 1)
			const held = Object.values(AccessToken).map((entry) => entry.secret)
			assert.ok(held.includes(accessToken), 'the newest')
			left = held.length
		}
		assert.equal(tokens.size, names.length)
		assert.ok(left >= 2 && left < names.length, `${left} are left`)
		const [first = ''] = names
		const again = await app.broker.acquireSilent(session, {
			scopes: [`${first}/.default`],
			forceRefresh: true,
		})
		assert.equal(again.outcome, 'refreshed')
		assert.deepEqual(app.errors, [])
	})

	const entry = (i: number, bytes: number) => ({
		home_account_id: 'a.b',
		credential_type: 'AccessToken',
		target: `scope-${i}`,
		secret: 'x'.repeat(bytes),
		cached_at: String(1000 + i),
		expires_on: String(9000 - i),
	})
	const cacheOf = (count: number, bytes: number): TokenCacheJson => ({
		Account: { a: { home_account_id: 'a.b' } },
		IdToken: { i: { home_account_id: 'a.b', secret: 'y'.repeat(2000) } },
		RefreshToken: { r: { home_account_id: 'a.b', secret: 'z'.repeat(2000) } },
		// Not in their order.
		AccessToken: Object.fromEntries(
			Array.from({ length: count }, (_, i) => [`é${(i * 7) % count}`, entry((i * 7) % count, bytes)]),
		),
		Unknown: { u: {} },
	})
	const size = (cache: TokenCacheJson) => Buffer.byteLength(JSON.stringify(cache))

	it('I5: loses its oldest tokens, as few as need be, and none where it fits', () => {
		const most = plaintextBytes(1_048_576)
		for (const [count, bytes] of [
			[500, 8_000],
			[100_000, 10],
			[3, 500_000],
			[2_000, 700],
		] as const) {
			const whole = cacheOf(count, bytes)
			const fitting = withinBytes(whole, most)
			assert.ok(size(fitting) <= most)
			const { AccessToken = {}, ...rest } = fitting
			const { AccessToken: all = {}, ...restOfWhole } = whole
			assert.deepEqual(rest, restOfWhole)
			const kept = Object.values(AccessToken)
				.map(({ cached_at }) => Number(cached_at) - 1000)
				.sort((a, b) => a - b)
			assert.deepEqual(
				kept,
				Array.from({ length: kept.length }, (_, i) => count - kept.length + i),
				'the newest',
			)
			const next = Object.entries(all).find(
				([, { cached_at }]) => Number(cached_at) === 1000 + count - kept.length - 1,
			)
			if (next)
				assert.ok(size({ ...fitting, AccessToken: { ...AccessToken, [next[0]]: next[1] } }) > most - 8)
			assert.ok(latestExpiry(fitting) <= latestExpiry(whole))
		}
		const fits = cacheOf(10, 100)
		assert.equal(withinBytes(fits, size(fits)), fits)
		assert.notEqual(withinBytes(fits, size(fits) - 1), fits)
	})

	it('I5: keeps what cannot be had again, whatever its size, and odd times are the oldest', () => {
		const huge: TokenCacheJson = { ...cacheOf(2, 10), RefreshToken: { r: { secret: 'z'.repeat(100_000) } } }
		const fitting = withinBytes(huge, 1_000)
		assert.deepEqual(fitting, { ...huge, AccessToken: {} })
		const odd = { ...cacheOf(2, 10) }
		odd.AccessToken = { ...odd.AccessToken, odd: { secret: 'o', cached_at: 'banana', expires_on: 'never' } }
		const without = withinBytes(odd, size(odd) - 1).AccessToken ?? {}
		assert.deepEqual(Object.keys(without).sort(), ['é0', 'é1'])
	})
})
