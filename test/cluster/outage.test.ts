import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import { API, GRAPH } from '../../dev/directory.js'
import { BrokerError } from '../../src/index.js'
import { expire, readCache, writeCache } from '../support/expire.js'
import { createSetting, namespace, type Session, type Setting } from './setting.js'

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

/** Under strict rotation, where a refresh token that is used twice ends the grant. */
describe('while Redis does not answer', () => {
	let setting: Setting
	before(async () => {
		setting = await createSetting({ rotation: 'strict' }, { refresh: { lease: 8000 } })
	})
	afterEach(async () => {
		setting.world.standIn.clearFaults()
		process.kill(setting.redis.pid, 'SIGCONT')
		await storeIsBack()
	})
	after(() => setting.close())

	const posts = () => setting.world.standIn.count('token', 'refresh_token')
	const called = async (times: number) => {
		while (posts() < times) await sleep(10)
	}
	const storeIsBack = async () => {
		while (setting.broker.statistics.unsaved > 0 || !(await reachable())) await sleep(50)
	}
	const reachable = () =>
		setting.broker.sessions.find({ tenantId: 't', username: 'u' }).then(
			() => true,
			() => false,
		)

	/** An expired session whose refresh is at the provider. */
	async function refreshing(delayMs: number) {
		const session = await setting.signIn()
		await expire(setting.where(session))
		setting.world.standIn.clearLog()
		setting.world.standIn.inject({ grant: 'refresh_token', delayMs })
		const refresh = setting.broker.acquireSilent(session)
		refresh.catch(() => {})
		await called(1)
		return { session, refresh }
	}
	const hang = () => process.kill(setting.redis.pid, 'SIGSTOP')

	it('a refresh that ends after the sign-out is neither kept nor handed out', async () => {
		const { session, refresh } = await refreshing(800)
		await setting.broker.signOut(session)
		hang()
		await assert.rejects(refresh, code('ERR_SIGNED_OUT'))
		assert.equal(setting.broker.statistics.unsaved, 0)
		await assert.rejects(setting.broker.acquireSilent(session), BrokerError)
	})

	it('who has signed out is signed out, although the store could not be told', async () => {
		const session: Session = await setting.signIn()
		hang()
		await assert.rejects(setting.broker.signOut(session), code('ERR_STORE_UNAVAILABLE'))
		await assert.rejects(setting.broker.acquireSilent(session), code('ERR_SIGNED_OUT'))
		await assert.rejects(
			setting.broker.acquireSilent(session, { forceRefresh: true }),
			code('ERR_SIGNED_OUT'),
		)
		assert.equal(await setting.broker.isSignedIn(session), false)
	})

	const outages: Record<string, () => Promise<unknown>> = {
		'a store that hangs, and does later what it was told': async () => hang(),
		'a store that refuses': () =>
			setting.redis.client().call('ACL', 'SETUSER', 'default', '-evalsha', '-eval'),
	}
	for (const [what, begin] of Object.entries(outages))
		it(`what was refreshed is kept, nothing else is, and it is stored first when the store is back: ${what}`, async () => {
			const { broker } = setting
			const { session, refresh } = await refreshing(800)
			await begin()
			await refresh
			assert.equal(broker.statistics.unsaved, 1)
			// Whether the store has the new refresh token is not known: whoever is there first once it is back may use it.
			await assert.rejects(
				broker.acquireSilent(session, { scopes: [`${GRAPH}/Mail.Read`] }),
				code('ERR_STORE_UNAVAILABLE'),
			)
			assert.equal(posts(), 1)
			assert.equal((await broker.acquireSilent(session)).outcome, 'hit')
			process.kill(setting.redis.pid, 'SIGCONT')
			await setting.redis.client().call('ACL', 'SETUSER', 'default', '+@all')
			await storeIsBack()
			const other = await setting.start()
			const [reply] = await other.acquire([session], { forceRefresh: true })
			assert.ok(reply && 'token' in reply, `with the last refresh token: ${JSON.stringify(reply)}`)
		})

	it('a lease that is taken after its task has given up is given back', async () => {
		const { broker, redis } = setting
		const session = await setting.signIn()
		await expire(setting.where(session))
		hang()
		await assert.rejects(broker.acquireSilent(session), code('ERR_STORE_UNAVAILABLE'))
		process.kill(redis.pid, 'SIGCONT')
		const began = performance.now()
		await broker.acquireSilent(session)
		assert.ok(performance.now() - began < 2000, 'much less than a lease')
	})

	it('a sign-in that was not begun can be begun again', async () => {
		const { broker, redis, world } = setting
		const { standIn } = world
		const browser = createBrowser({ ca: standIn.ca, origins: [standIn.origin, standIn.pagesOrigin] })
		try {
			const { url, transaction } = await broker.getAuthCodeUrl({ loginHint: 'ada@contoso.example' })
			const fields = (await browser.follow(url)).form?.fields ?? {}
			hang()
			await assert.rejects(broker.acquireByCode(fields, transaction), code('ERR_STORE_UNAVAILABLE'))
			process.kill(redis.pid, 'SIGCONT')
			await storeIsBack()
			assert.equal((await broker.acquireByCode(fields, transaction)).repeated, false)
			assert.equal((await broker.acquireByCode(fields, transaction)).repeated, true)
		} finally {
			await browser.close()
		}
	})
})

describe('an outage that is longer than a lease', () => {
	let setting: Setting
	before(async () => {
		setting = await createSetting({ rotation: 'strict' }, { refresh: { lease: 1000 } })
	})
	after(() => setting.close())

	it('costs no session: whoever comes first leaves time to who has refreshed and could not store it', async () => {
		const { broker, world, redis } = setting
		const session = await setting.signIn()
		const other = await setting.start()
		assert.ok('token' in ((await other.acquire([session]))[0] ?? {}))
		await expire(setting.where(session))
		world.standIn.inject({ grant: 'refresh_token', delayMs: 300 })
		const refresh = broker.acquireSilent(session)
		while (world.standIn.count('token', 'refresh_token') < 1) await sleep(10)
		await redis.client().call('ACL', 'SETUSER', 'default', '-evalsha', '-eval')
		await refresh
		assert.equal(broker.statistics.unsaved, 1)
		await sleep(1500)
		assert.equal(await redis.client().exists(`${namespace}:l:{${session.msal.partition}}`), 0, 'no lease')
		await redis.client().call('ACL', 'SETUSER', 'default', '+@all')
		const [reply] = await other.acquire([session], { forceRefresh: true })
		assert.ok(reply && 'token' in reply, JSON.stringify(reply))
		assert.equal((await broker.acquireSilent(session, { forceRefresh: true })).outcome, 'refreshed')
	})
})

describe('a token that is to be fresh', () => {
	let setting: Setting
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
	})
	after(() => setting.close())

	it('is not the old one, although another one was refreshed meanwhile', async () => {
		const { broker, world } = setting
		const session = await setting.signIn()
		const { accessToken } = await broker.acquireSilent(session)
		world.standIn.clearLog()
		world.standIn.inject({ grant: 'refresh_token', delayMs: 300 })
		const other = broker.acquireSilent(session, {
			scopes: [`${API}/access_as_user`],
			forceRefresh: true,
		})
		while (world.standIn.count('token', 'refresh_token') < 1) await sleep(10)
		const forced = await broker.acquireSilent(session, { forceRefresh: true })
		assert.notEqual(forced.accessToken, accessToken)
		assert.equal(forced.outcome, 'refreshed')
		await other
	})

	it('takes the place of the old one also in a blob that has changed meanwhile', async () => {
		const { broker, world } = setting
		const session = await setting.signIn()
		const where = setting.where(session)
		world.standIn.clearLog()
		world.standIn.inject({ grant: 'refresh_token', delayMs: 500 })
		const forced = broker.acquireSilent(session, { forceRefresh: true })
		while (world.standIn.count('token', 'refresh_token') < 1) await sleep(10)
		const stored = await readCache(where)
		assert.ok(stored)
		const [old] = Object.values(stored.cache.AccessToken ?? {})
		assert.ok(old)
		const AccessToken = {
			...stored.cache.AccessToken,
			other: { ...old, target: `${old.target} Other.Scope` },
		}
		await writeCache(where, stored.version + 1, { ...stored.cache, AccessToken })
		const { accessToken } = await forced
		const held = Object.values((await readCache(where))?.cache.AccessToken ?? {})
		assert.deepEqual(
			held.map(({ secret }) => secret),
			[accessToken],
		)
	})
})
