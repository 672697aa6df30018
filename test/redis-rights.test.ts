import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createBrowser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import { redisTokenStore, type SessionLike } from '../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	type Overrides,
	type World,
} from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { serverRights } from './support/redis-rights.js'

const [old, next] = [
	'a test secret of more than 32 bytes: 0123456789',
	'the next secret, more than 32 bytes of it: 987654',
]
const password = 'a password'

describe('the Redis user of the README', () => {
	let world: World
	let redis: TestRedis
	const apps: Application[] = []
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ rotation: 'strict' }), startRedis()])
		await redis.client().acl('SETUSER', 'app', 'on', `>${password}`, ...serverRights.rules)
		await redis.client().config('RESETSTAT')
	})
	after(async () => {
		await Promise.all(apps.map((app) => app.close()))
		await Promise.all([world.close(), redis.stop()])
	})

	const start = async (overrides: Overrides = {}) => {
		const store = redisTokenStore({ path: redis.path, username: 'app', password })
		const app = await createApplication(world, {
			store,
			secrets: [old],
			refresh: { lease: 1000 },
			...overrides,
		})
		apps.push(app)
		return app
	}
	const used = async () => {
		const stats = await redis.client().info('commandstats')
		return [...stats.matchAll(/^cmdstat_([\w|]+):/gm)].map(([, name = '']) => name)
	}

	it('may do everything that is done, and nothing else', async () => {
		const [first, second] = [await start(), await start()]
		const browser = first.browser()
		await first.signIn(browser)
		const session = first.seen.session as SessionLike
		const get = async (path: string) => (await browser.get(`${first.origin}${path}`)).status
		assert.equal((await second.broker.acquireSilent(session)).outcome, 'cached')
		assert.equal(await get('/private/token'), 200)
		assert.equal(await get('/keep?value=x'), 200)

		// A refresh whose lease is renewed, and one that the provider wants later.
		world.standIn.inject({ delayMs: 700 })
		assert.equal(await get('/token?force'), 200)
		world.standIn.inject({ status: 429, headers: { 'retry-after': '1' } })
		assert.equal(await get('/token?force'), 503)
		const { tenantId } = world.standIn
		for (const user of [{ objectId: people.ada.oid }, { username: people.ada.upn }])
			assert.equal((await second.broker.sessions.find({ tenantId, ...user })).length, 1)

		// A sign-in from a session; forms that are posted twice: one is taken, the others are refused.
		await browser.follow(`${first.origin}/user/login`)
		for (const error of [
			undefined,
			{ error: 'invalid_grant', code: 54005 },
			{ error: 'invalid_client', code: 7000215 },
		]) {
			const visitor = createBrowser({ origins: [world.standIn.pagesOrigin] })
			await visitor.follow(`${first.origin}/user/login`)
			const { form } = await visitor.press('Ada Lovelace')
			if (error) world.standIn.inject({ on: 'token', error })
			for (let time = 0; time < 2; time++)
				await visitor.post(`${first.origin}/user/authorized`, form?.fields ?? {})
			await visitor.close()
		}

		// The secrets are rolled.
		const rolled = await start({ secrets: [next, old] })
		assert.equal((await rolled.broker.acquireSilent(first.seen.session)).outcome, 'cached')

		await first.broker.signOut(first.seen.session)
		assert.deepEqual(await redis.client().acl('LOG'), [])
		const own = ['acl|setuser', 'acl|log', 'config|resetstat', 'hello', 'auth']
		const other = (await used()).filter((name) => !own.includes(name))
		assert.deepEqual(other.toSorted(), serverRights.commands.toSorted())
	})
})
