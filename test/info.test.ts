import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Browser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import type { InfoFields } from '../src/index.js'
import { resolveSettings } from '../src/settings.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { gate, sessionOptions } from './support/session-application.js'

describe('GET /user/info (ENV.info)', () => {
	let world: World
	let app: Application
	let browser: Browser
	const both = gate()
	let waiting = 0
	let asked: string[] = []

	/** Waits until the other one waits as well: in turn, neither would ever answer. */
	async function together(name: string): Promise<string> {
		asked.push(name)
		if (++waiting === 2) both.open()
		await both.opened
		return name
	}
	const info: InfoFields = {
		first: () => together('first'),
		second: () => together('second'),
		may: async ({ broker, session, account, ctx }) => {
			const { scopes } = await broker.acquireSilent(session)
			return { of: account.objectId, by: ctx.path, may: scopes.includes('User.Read') }
		},
		broken: () => {
			throw new Error('a mistake of the application')
		},
		brokenLater: () => Promise.reject(null),
		nothing: () => undefined,
		endless: () => 10n,
		['__proto__']: () => 'a name like any other',
	}
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, { info })
		browser = app.browser()
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	afterEach(() => {
		asked = []
		app.errors.length = 0
	})

	it('asks nothing about nobody', async () => {
		const page = await browser.get(`${app.origin}/user/info`)
		assert.deepEqual([page.status, page.json()], [200, { authenticated: false }])
		assert.deepEqual(asked, [])
	})

	it('has the application’s own fields beside its own, asked at the same time', async () => {
		await app.signIn(browser)
		const page = await browser.get(`${app.origin}/user/info`)
		assert.equal(page.headers.get('cache-control'), 'no-store')
		const { ['__proto__']: strange, ...fields } = page.json<Record<string, unknown>>()
		assert.equal(strange, 'a name like any other')
		assert.deepEqual(fields, {
			first: 'first',
			second: 'second',
			may: { of: people.ada.oid, by: '/user/info', may: true },
			broken: null,
			brokenLater: null,
			nothing: null,
			endless: null,
			authenticated: true,
			name: 'Ada Lovelace',
			username: people.ada.upn,
			mail: null,
			objectId: people.ada.oid,
			tenantId: world.standIn.tenantId,
		})
		assert.equal(app.errors.length, 3, 'one event for each that failed')
		assert.ok(app.errors.some(({ message }) => message === 'a mistake of the application'))
	})

	it('lets nobody answer for this library’s own fields', () => {
		const resolve = (value: unknown) => resolveSettings({ ...sessionOptions(), info: value })
		assert.deepEqual(resolve(undefined).info, {})
		for (const name of ['authenticated', 'name', 'username', 'mail', 'objectId', 'tenantId'])
			assert.throws(
				() => resolve({ [name]: () => 'mine' }),
				/info is not valid: it should be an object of functions/,
			)
		for (const value of [[], () => {}, { team: 'Analysts' }, null, 'info'])
			assert.throws(() => resolve(value), /info is not valid/)
		const given = { team: () => 'Analysts' }
		assert.ok(
			!Object.isFrozen(given) && resolve(given).info !== given,
			'the application’s object stays its own',
		)
	})
})
