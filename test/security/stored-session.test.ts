import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { after, afterEach, before, describe, it, mock } from 'node:test'
import redisStore from 'koa-redis'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds } from '../../dev/directory.js'
import { people } from '../../dev/people.js'
import { redisTokenStore } from '../../src/index.js'
import { parseData, restoreData } from '../../src/koa/session-data.js'
import { createSealer } from '../../src/sealing.js'
import { deliver } from '../support/answers.js'
import { createApplication } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { createShopApplication, createShopWorld } from '../support/shop-application.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const deep = (levels: number, inner = '1') => `${'{"a":'.repeat(levels)}${inner}${'}'.repeat(levels)}`
const deepList = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
const partition = 'p'.repeat(43)
const account = {
	homeAccountId: `${people.grace.oid}.11111111-2222-4333-8444-555555555555`,
	tenantId: '11111111-2222-4333-8444-555555555555',
	objectId: people.grace.oid,
	username: people.grace.upn,
}
const ticket = (changes: object, ofAccount: object = {}) =>
	JSON.stringify({ msal: { partition, account: { ...account, ...ofAccount }, ...changes }, more: 'kept?' })

/** Session data, as JSON. None of them may be anybody, change any object, or be an error. */
const hostile: Readonly<Record<string, string>> = {
	'a prototype': '{"__proto__":{"x":1,"msal":{}},"basket":["y"]}',
	'a prototype that is null': '{"__proto__":null,"basket":["y"]}',
	'a prototype further down': '{"more":{"__proto__":{"x":1}},"a":[{"__proto__":{"x":1}}]}',
	'a constructor': '{"constructor":{"prototype":{"x":1}},"basket":["y"]}',
	'toJSON that is a number': '{"toJSON":1,"basket":["y"]}',
	'toJSON further down': '{"more":{"toJSON":1}}',
	'every method of the session':
		'{"regenerate":1,"save":2,"commit":3,"manuallyCommit":4,"externalKey":"k","length":5,"populated":6}',
	'methods that are objects': '{"regenerate":{},"save":[],"commit":null,"externalKey":{"a":1}}',
	'a key of another': '{"externalKey":"../../other","maxAge":"never","isNew":true}',
	'names of every object': '{"hasOwnProperty":1,"toString":2,"valueOf":3,"then":4,"inspect":5}',
	'names of this library': '{"deadline":1,"data":2,"partition":3,"id":"x","_expire":"never","_session":7}',
	'a time to live that is none': '{"_maxAge":{"a":1},"_requireSave":true,"basket":["y"]}',
	'numbers for names': '{"0":1,"1":2,"-1":3,"1e3":4,"length":1000000000}',
	'10,000 levels': deep(10_000),
	'100,000 levels of lists': `{"a":${deepList(100_000)}}`,
	'10,000 levels in the ticket': `{"msal":${deep(10_000)}}`,
	'a list': '[1,2,{"msal":3}]',
	nothing: 'null',
	'a number': '42',
	'a text': '"text"',
	true: 'true',
	'a ticket that is null': '{"msal":null}',
	'a ticket that is a number': '{"msal":1}',
	'a ticket that is a text': `{"msal":"${partition}"}`,
	'a ticket that is a list': `{"msal":["${partition}"]}`,
	'a ticket that is empty': '{"msal":{}}',
	'a ticket without an account': `{"msal":{"partition":"${partition}"}}`,
	'a ticket of a prototype': `{"msal":{"__proto__":{"partition":"${partition}"}}}`,
	'a ticket whose account is null': ticket({ account: null }),
	'a ticket whose account is a list': ticket({ account: [] }),
	'a ticket of half an account': ticket({ account: { homeAccountId: 'x' } }),
	'a ticket whose ids are numbers': ticket({}, { objectId: 1, tenantId: 2 }),
	'a ticket whose name is an object': ticket({}, { name: { toString: 1 } }),
	'a ticket whose hint is a list': ticket({}, { loginHint: ['x'] }),
	'a ticket whose manager is a number': ticket({ manager: 5 }),
	'a ticket whose manager has no name': ticket({ manager: { name: { a: 1 }, mail: 7 } }),
	'a partition of another shape': ticket({ partition: '../../x' }),
	'a partition with a wildcard': ticket({ partition: '*'.repeat(43) }),
	'a partition with a line break': ticket({ partition: `${partition}\r\nFLUSHALL` }),
	'a partition that is nobody’s': ticket({}),
	'ids of another shape': ticket({}, { homeAccountId: '__proto__', objectId: '*', tenantId: '\r\nDEL x' }),
	'ids without end': ticket({}, { homeAccountId: 'x'.repeat(100_000), username: 'y'.repeat(100_000) }),
	'claims of any shape': `${ticket({}).slice(0, -1)},"msalClaims":{"partition":"${partition}","roles":[1,{}],"groups":"x","wids":[null]}}`,
	'claims without a ticket': '{"msalClaims":[1,2,3]}',
}

const signedInFrom = [
	'a prototype',
	'every method of the session',
	'methods that are objects',
	'names of every object',
	'10,000 levels',
	'a list',
	'nothing',
	'a ticket that is a number',
	'a ticket whose account is null',
	'a partition that is nobody’s',
]

interface Setting {
	readonly origin: string
	/** Pages that are nobody's: their paths, and what they answer to somebody anonymous. */
	readonly pages: Readonly<Record<string, number>>
	/** Begins a session that is nobody's. */
	begin(browser: Browser): Promise<unknown>
	/** Writes session data, as JSON, where the last session was begun. */
	store(json: string): Promise<unknown>
	close(): Promise<void>
}

describe('B15: a stored session of hostile shape', () => {
	let world: Awaited<ReturnType<typeof createShopWorld>>
	let redis: TestRedis
	const browsers: Browser[] = []
	before(async () => {
		;[world, redis] = await Promise.all([createShopWorld(), startRedis()])
	})
	after(async () => {
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await Promise.all(browsers.splice(0).map((browser) => browser.close()))
		mock.restoreAll()
	})

	const sealer = createSealer([createSecretKey(Buffer.from(secret))], clientIds.web)
	const keyLike = async (pattern: RegExp) => {
		const keys = (await redis.client().keys('*')).filter((key) => pattern.test(key))
		assert.equal(keys.length, 1, keys.join())
		return keys[0] as string
	}

	async function ownSession(): Promise<Setting> {
		const app = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ path: redis.path }),
		})
		return {
			origin: app.origin,
			pages: { '/user/info': 200, '/kept': 200, '/keep?value=z': 200, '/token': 401, '/private': 401 },
			begin: (browser) => browser.get(`${app.origin}/keep?value=x`),
			async store(json) {
				const key = await keyLike(/:s:/)
				const text = `{"deadline":${Date.now() + 60_000},"data":${json}}`
				await redis.client().set(key, sealer.seal('session', key, text))
			},
			close: () => app.close(),
		}
	}

	async function shopSession(kind: 'sealed' | 'plain'): Promise<Setting> {
		const client = redis.client()
		const sessions = redisStore({ client, serialize: JSON.stringify, unserialize: JSON.parse })
		const shop = await createShopApplication(world, {
			sessions,
			unsealed: kind === 'plain',
			settings: { secrets: [secret], store: redisTokenStore({ path: redis.path }) },
		})
		return {
			origin: shop.address,
			pages: { '/user/info': 200, '/': 200, '/orders': 401 },
			begin: (browser) => browser.post(`${shop.address}/basket`, { article: 'table' }),
			async store(json) {
				const key = await keyLike(/^(?!koa-msal:)/)
				await client.set(
					key,
					kind === 'plain' ? json : JSON.stringify({ sealed: sealer.seal('application-session', key, json) }),
				)
			},
			close: () => shop.close(),
		}
	}

	/** koa-session itself fails on these, before anything of this library runs: its store has to keep them out. */
	const koaSessionsOwn =
		/^(a prototype|a prototype that is null|toJSON that is a number|a key of another|a time to live .*|10+,000 .*)$/

	for (const [what, create] of [
		['of this library, well sealed', ownSession],
		['of the application’s koa-session, well sealed', () => shopSession('sealed')],
		['of the application’s koa-session, as it is', () => shopSession('plain')],
	] as const)
		describe(what, () => {
			let setting: Setting
			before(async () => {
				setting = await create()
			})
			after(() => setting.close())

			async function begun(json: string): Promise<Browser> {
				await redis.client().flushall()
				const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
				browsers.push(browser)
				await setting.begin(browser)
				await setting.store(json)
				return browser
			}

			for (const [name, json] of Object.entries(hostile)) {
				if (what.endsWith('as it is') && koaSessionsOwn.test(name)) continue
				it(`is nobody, and no error: ${name}`, async () => {
					mock.method(process, 'emitWarning', () => {})
					for (const [path, status] of Object.entries(setting.pages)) {
						const browser = await begun(json)
						// What is behind shows what is only stored by the first.
						for (let time = 0; time < 2; time++) {
							const page = await browser.get(`${setting.origin}${path}`, { accept: 'application/json' })
							assert.equal(page.status, status, `${path}: ${page.html.slice(0, 300)}`)
							assert.ok(!page.html.includes('"authenticated":true'), page.html)
						}
					}
					const leaving = await (await begun(json)).get(`${setting.origin}/user/logout`)
					assert.equal(leaving.status, 303, leaving.html)
					assert.equal(({} as { x?: unknown }).x, undefined)
				})

				// It takes time: what differs with whose session it is.
				if (create !== ownSession && !signedInFrom.includes(name)) continue
				it(`can be signed in from: ${name}`, async () => {
					mock.method(process, 'emitWarning', () => {})
					const browser = await begun(json)
					const beginning = await browser.get(`${setting.origin}/user/login`)
					assert.equal(beginning.status, 303, beginning.html)
					await browser.follow(beginning.headers.get('location') as string)
					const { form } = await browser.press('Ada Lovelace')
					// Whoever writes the store writes it once more, while the person is away.
					if (await redis.client().exists(...(await sessionKeys()))) await setting.store(json)
					const done = await deliver(browser, { origin: setting.origin }, form?.fields ?? {})
					assert.equal(done.status, 303, done.text)
					const info = await browser.get(`${setting.origin}/user/info`)
					assert.equal(info.json<{ username?: string }>().username, people.ada.upn)
					assert.ok(!info.html.includes('grace'))
					assert.equal(({} as { x?: unknown }).x, undefined)
				})
			}

			async function sessionKeys(): Promise<[string, ...string[]]> {
				const keys = (await redis.client().keys('*')).filter((key) => /^(?!koa-msal:)|:s:/.test(key))
				return ['none', ...keys]
			}
		})

	it('is not kept for the next person when what stands for a ticket is none', async () => {
		const setting = await ownSession()
		try {
			for (const msal of ['1', 'null', '{}', '[]', `{"partition":"${partition}"}`]) {
				await redis.client().flushall()
				const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
				browsers.push(browser)
				await setting.begin(browser)
				await setting.store(`{"kept":"of somebody","msal":${msal}}`)
				await browser.follow(`${setting.origin}/user/login`)
				const beginning = await browser.get(`${setting.origin}/user/login`)
				await browser.follow(beginning.headers.get('location') as string)
				const { form } = await browser.press('Ada Lovelace')
				const done = await deliver(browser, setting, form?.fields ?? {})
				assert.equal(done.status, 303, done.text)
				assert.deepEqual((await browser.get(`${setting.origin}/kept`)).json(), { kept: null }, msal)
			}
		} finally {
			await setting.close()
		}
	})

	describe('is read', () => {
		it('as nothing where it is not a deadline and data', () => {
			for (const text of [
				'',
				'not json',
				'null',
				'1',
				'[]',
				'{}',
				'{"deadline":1}',
				'{"data":{}}',
				'{"deadline":"1","data":{}}',
				'{"deadline":1e999,"data":{}}',
				'{"deadline":null,"data":{}}',
				'{"deadline":1,"data":null}',
				'{"deadline":1,"data":[]}',
				'{"deadline":1,"data":"x"}',
				`{"deadline":1,"data":${deep(1001)}}`,
				`{"deadline":1,"data":{"a":${deepList(1000)}}}`,
			])
				assert.equal(parseData(text), undefined, text.slice(0, 60))
			assert.deepEqual(parseData('{"deadline":1,"data":{"a":1},"more":2}'), { deadline: 1, data: { a: 1 } })
			const data = parseData(`{"deadline":1,"data":${deep(1000)}}`)?.data
			assert.ok(data, 'a thousand levels are data')
			assert.doesNotThrow(() => JSON.stringify(data))
		})

		it('as somebody’s of whom nothing is known where any part of the ticket is not what it should be', () => {
			const good = { partition, account: { ...account, upn: 'x', mail: 'x', name: 'x', loginHint: 'x' } }
			const manager = { name: 'x', mail: 'x' }
			const read = (msal: unknown) => restoreData({ kept: 'x', msal })
			assert.deepEqual(read({ ...good, manager }), { kept: 'x', msal: { ...good, manager } })
			assert.deepEqual(read({ partition, account }), { kept: 'x', msal: { partition, account } })
			const odd = [1, true, null, {}, [], ['x']]
			const required = ['homeAccountId', 'tenantId', 'objectId', 'username']
			const optional = ['upn', 'mail', 'name', 'loginHint']
			const without = (name: string) =>
				Object.fromEntries(Object.entries(account).filter(([one]) => one !== name))
			const malformed: unknown[] = [
				...odd,
				'x',
				...[...odd, '', 'x', `${partition}x`, `${partition}\n`].map((value) => ({
					...good,
					partition: value,
				})),
				...[...odd, 'x'].map((value) => ({ ...good, account: value })),
				...required.map((name) => ({ partition, account: without(name) })),
				...[...required, ...optional].flatMap((name) =>
					odd.map((value) => ({ ...good, account: { ...good.account, [name]: value } })),
				),
				...[1, true, null, 'x'].map((value) => ({ ...good, manager: value })),
				...['name', 'mail'].flatMap((name) =>
					odd.map((value) => ({ ...good, manager: { ...manager, [name]: value } })),
				),
			]
			for (const msal of malformed)
				assert.deepEqual(read(msal), { kept: 'x', msal: null }, JSON.stringify(msal))
		})

		it('in a time that its size bounds, however its parts hang together', () => {
			const knot: Record<string, unknown> = {}
			knot.a = knot
			knot.b = { knot, list: [knot, knot] }
			assert.ok(restoreData(knot))
		})
	})
})
