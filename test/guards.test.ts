import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Context } from 'koa'
import type { Browser, Page } from '../dev/cookie-jar-browser.js'
import { API } from '../dev/directory.js'
import { people } from '../dev/people.js'
import {
	allOf,
	anyOf,
	BrokerError,
	type Guard,
	hasRole,
	hasScope,
	inGroup,
	memoryTokenStore,
	type Predicate,
	requireSignedIn,
	type SessionTicket,
} from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const html = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
const json = { accept: 'application/json' }
const secrets = ['a test secret of more than 32 bytes: 0123456789']
const [first = '', second = ''] = people.grace.groups

describe('guards (msal_session, auth_or)', () => {
	let world: World
	let app: Application
	let grace: Browser
	let radia: Browser
	let nobody: Browser
	/** What `/guarded` is guarded by. */
	let guard: Guard
	/** Requests that came through. */
	let passed = 0
	const store = memoryTokenStore()
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			store,
			secrets,
			configure: (koa) => {
				koa.use((ctx, next) =>
					ctx.path === '/guarded'
						? guard(ctx, async () => {
								passed++
								ctx.body = { passed: true }
							})
						: next(),
				)
			},
		})
		;[grace, radia, nobody] = [app.browser(), app.browser(), app.browser()]
		await app.signIn(grace, 'Grace Hopper')
		await app.signIn(radia, 'Radia Perlman')
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	beforeEach(() => {
		passed = 0
		app.errors.length = 0
		world.standIn.clearFaults()
		world.graph.clearFaults()
		world.graph.clearLog()
	})

	async function ask(browser: Browser, by: Guard, headers: Record<string, string> = json): Promise<Page> {
		guard = by
		passed = 0
		const page = await browser.get(`${app.origin}/guarded`, headers)
		assert.equal(passed, page.status === 200 ? 1 : 0)
		return page
	}

	const statusOf = async (browser: Browser, by: Guard) => (await ask(browser, by)).status
	const yes: Predicate = () => true
	const no: Predicate = () => false

	describe('of the application’s own', () => {
		it('let only `true` through, at once or later', async () => {
			assert.equal(
				await statusOf(
					grace,
					allOf(() => true),
				),
				200,
			)
			assert.equal(
				await statusOf(
					grace,
					anyOf(async () => true),
				),
				200,
			)
			const others: unknown[] = [false, undefined, null, 1, 'true', {}, [true], Object(true), () => true]
			for (const answer of others)
				for (const predicate of [() => answer, async () => answer])
					for (const make of [allOf, anyOf])
						assert.equal(await statusOf(grace, make(predicate as Predicate)), 403, String(answer))
		})

		it('are given the request and who is signed in', async () => {
			let given: unknown[] = []
			const look: Predicate = (ctx, account) => {
				given = [ctx.path, account.objectId, account.tenantId]
				return true
			}
			await ask(grace, allOf(look))
			assert.deepEqual(given, ['/guarded', people.grace.oid, world.standIn.tenantId])
		})

		it('are not asked for nobody, nor after a sign-out', async () => {
			let asked = 0
			const counts = allOf(() => {
				asked++
				return true
			})
			assert.equal(await statusOf(nobody, counts), 401)
			const gone = app.browser()
			await app.signIn(gone)
			assert.equal(await statusOf(gone, counts), 200)
			await gone.get(`${app.origin}/`)
			await app.broker.signOut(app.seen.session)
			assert.equal(await statusOf(gone, counts), 401)
			assert.equal(asked, 1)

			const evicted = app.browser()
			await app.signIn(evicted)
			await evicted.get(`${app.origin}/`)
			store.remove((app.seen.session as { msal: SessionTicket }).msal.partition)
			assert.equal(await statusOf(evicted, counts), 401, 'a session whose tokens are gone')
			assert.equal(asked, 1)
		})

		it('let nobody through by throwing, whatever it is', async () => {
			const thrown: [unknown, number][] = [
				[new TypeError('a mistake of the application'), 500],
				[Object.assign(new Error('gone'), { status: 410, expose: true }), 410],
				[new BrokerError('ERR_FORBIDDEN', 'Only on Mondays.'), 403],
				[new BrokerError('ERR_STORE_UNAVAILABLE', 'down', { retryAfter: 7 }), 503],
				[new BrokerError('ERR_SIGNED_OUT', 'Signed out meanwhile.'), 401],
				['a text', 500],
				[true, 500],
				[null, 500],
				[undefined, 500],
			]
			for (const [what, status] of thrown)
				for (const predicate of [
					() => {
						throw what
					},
					() => Promise.reject(what),
				])
					for (const make of [allOf, anyOf])
						assert.equal(await statusOf(grace, make(predicate)), status, String(what))
			const page = await ask(
				grace,
				allOf(() => {
					throw new BrokerError('ERR_FORBIDDEN', 'Only on <Mondays>.')
				}),
				html,
			)
			assert.match(page.html, /Only on &#60;Mondays&#62;\./)
			assert.ok(!page.html.includes('href="/user/login"'), 'no way round in circles')
		})

		it('let nobody through as a middleware by mistake', async () => {
			const middleware = async (_ctx: Context, next: () => Promise<unknown>) => {
				await next()
			}
			assert.equal(await statusOf(grace, allOf(middleware as unknown as Predicate)), 500)
		})
	})

	it('nest', async () => {
		const cases: [Guard, number][] = [
			[allOf(yes, allOf(yes, yes), anyOf(no, yes)), 200],
			[allOf(yes, anyOf(no, no)), 403],
			[anyOf(no, allOf(yes, no), requireSignedIn()), 200],
			[anyOf(no, allOf(yes, anyOf(no, hasRole('Admin')))), 200],
			[anyOf(no, allOf(no, hasRole('Admin'))), 403],
			[allOf(requireSignedIn()), 200],
		]
		for (const [by, status] of cases) assert.equal(await statusOf(grace, by), status)
	})

	it('ask in order, and no more than it takes', async () => {
		const asked: string[] = []
		const say = (name: string, answer: boolean) => () => {
			asked.push(name)
			return answer
		}
		await ask(grace, allOf(say('a', true), say('b', false), say('c', true)))
		await ask(grace, anyOf(say('d', false), say('e', true), say('f', true)))
		assert.deepEqual(asked, ['a', 'b', 'd', 'e'])
	})

	it('are refused with ERR_CONFIG where they would mean everybody, or nothing', () => {
		const mistakes: (() => unknown)[] = [
			() => allOf(),
			() => anyOf(),
			() => allOf(true as unknown as Predicate),
			() => anyOf(yes, undefined as unknown as Predicate),
			() => allOf([yes] as unknown as Predicate),
			() => hasRole(''),
			() => hasRole(undefined as unknown as string),
			() => inGroup('Administrators'),
			() => inGroup(undefined as unknown as string),
			() => inGroup(`${first},${second}`),
			() => hasScope(''),
			() => hasScope('User.Read Mail.Read'),
			() => hasScope('a"b'),
			() => hasScope(['User.Read'] as unknown as string),
		]
		for (const make of mistakes)
			assert.throws(make, (error) => error instanceof BrokerError && error.code === 'ERR_CONFIG', `${make}`)
	})

	it('let nobody through whose session one of them finds ended, whatever the others say', async () => {
		const ended: Predicate = () => {
			throw new BrokerError('ERR_SIGNED_OUT', 'Signed out meanwhile.')
		}
		for (const by of [anyOf(ended, yes), anyOf(no, ended, yes), anyOf(allOf(yes, ended), yes)])
			assert.equal(await statusOf(grace, by), 401)
	})

	it('let nobody through any more whose tenant is not allowed any more, nor another broker’s', async () => {
		const others = ['00000000-1111-4222-8333-444444444444']
		const tightened = await createApplication(world, {
			store,
			secrets,
			auth: { allowedTenants: others },
			configure: (koa) => koa.use(hasRole('Admin')),
		})
		try {
			const page = await grace.get(`${tightened.origin}/`, json)
			assert.deepEqual([page.status, page.json<{ error: string }>().error], [401, 'ERR_SIGNED_OUT'])
			const info = await grace.get(`${tightened.origin}/user/info`)
			assert.deepEqual(info.json(), { authenticated: false })
		} finally {
			await tightened.close()
		}
		assert.equal(await statusOf(grace, hasRole('Admin')), 200)
	})

	describe('that refuse', () => {
		it('send a browser that is not signed in to do so, and it comes back', async () => {
			const browser = app.browser()
			guard = allOf(hasRole('Admin'), yes)
			await browser.follow(`${app.origin}/guarded?page=2`)
			const arrived = await browser.press('Grace Hopper')
			assert.deepEqual([arrived.url, arrived.json()], [`${app.origin}/guarded?page=2`, { passed: true }])
		})

		it('tell an API client that is not signed in', async () => {
			const page = await ask(nobody, hasRole('Admin'))
			assert.deepEqual([page.status, page.headers.get('www-authenticate')], [401, 'Bearer'])
			assert.equal(page.headers.get('cache-control'), 'no-store')
			assert.deepEqual(page.json<{ error: string; login: string }>().login, '/user/login')
		})

		it('tell who is signed in and lacks something, and send them nowhere', async () => {
			for (const by of [hasRole('Owner'), inGroup('00000000-0000-4000-8000-00000000dead'), allOf(no)]) {
				const page = await ask(grace, by, html)
				assert.deepEqual([page.status, page.headers.get('location')], [403, null])
				assert.match(page.html, /ERR_FORBIDDEN/)
				assert.match(page.html, /\?prompt=select_account">Use another account/)
				assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'/)
				const api = await ask(grace, by)
				assert.deepEqual([api.status, api.headers.get('www-authenticate')], [403, null])
				assert.equal(api.json<{ error: string }>().error, 'ERR_FORBIDDEN')
			}
			assert.deepEqual(app.errors, [], 'a refusal is no mistake')
			assert.equal(world.graph.count(), 0, 'her token says it all')
		})

		it('leave an outage an outage', async () => {
			const down: Predicate = () => {
				throw new BrokerError('ERR_IDP_UNAVAILABLE', 'down', { retryAfter: 7 })
			}
			const page = await ask(grace, allOf(yes, down))
			assert.deepEqual([page.status, page.headers.get('retry-after')], [503, '7'])
			const refuses: Predicate = () => {
				throw new BrokerError('ERR_FORBIDDEN', 'Not on Mondays.')
			}
			assert.equal(await statusOf(grace, anyOf(no, refuses, down, no)), 503, 'nobody knows')
			const consent = anyOf(refuses, down, hasScope('GroupMember.Read.All'))
			assert.equal((await ask(grace, consent, html)).status, 303, 'but the person can do something')
			app.errors.length = 0
			assert.equal(await statusOf(grace, anyOf(down, yes)), 200)
			assert.deepEqual(
				app.errors.map((error) => 'code' in error && error.code),
				['ERR_IDP_UNAVAILABLE'],
				'and it is told',
			)
		})
	})

	describe('hasRole()', () => {
		it('knows the application’s roles by their exact value', async () => {
			for (const role of people.grace.roles) assert.equal(await statusOf(grace, hasRole(role)), 200, role)
			for (const role of ['admin', 'Admin ', 'Adm', 'Administrator', 'Reports', '__proto__', 'length'])
				assert.equal(await statusOf(grace, hasRole(role)), 403, role)
			assert.equal(await statusOf(radia, hasRole('Admin')), 403)
		})
	})

	describe('inGroup()', () => {
		it('knows groups by their id, in any case', async () => {
			for (const id of [first, second, second.toUpperCase()])
				assert.equal(await statusOf(grace, inGroup(id)), 200, id)
			assert.equal(await statusOf(grace, inGroup('00000000-0000-4000-8000-00000000dead')), 403)
		})

		it('asks Microsoft Graph about who is in more groups than a token holds, and remembers it', async () => {
			const [last = ''] = people.radia.groups.slice(-1)
			world.graph.inject({ status: 503 })
			assert.equal(await statusOf(radia, inGroup(last)), 503, 'nobody knows')
			assert.equal(await statusOf(radia, inGroup(last.toUpperCase())), 200, 'a failure is not remembered')
			const asked = world.graph.count('/v1.0/me/transitiveMemberOf')
			assert.ok(asked > 1)
			assert.equal(await statusOf(radia, inGroup('00000000-0000-4000-8000-00000000dead')), 403)
			assert.equal(await statusOf(radia, inGroup(first)), 200)
			assert.equal(world.graph.count(), asked)
		})
	})

	describe('hasScope()', () => {
		it('lets through for whom there is such a token, by either of its names', async () => {
			for (const scope of ['User.Read', 'user.read', 'https://graph.microsoft.com/Mail.Read'])
				assert.equal(await statusOf(grace, hasScope(scope)), 200, scope)
			world.standIn.clearLog()
			assert.equal(await statusOf(grace, hasScope('User.Read')), 200)
			assert.equal(world.standIn.count('token'), 0, 'from memory')
		})

		it('tells an API client which scope is missing (RFC 6750)', async () => {
			const page = await ask(grace, hasScope('User.Read.All'))
			assert.equal(page.status, 403)
			assert.equal(
				page.headers.get('www-authenticate'),
				'Bearer error="insufficient_scope", scope="User.Read.All"',
			)
			assert.equal(page.json<{ error: string }>().error, 'ERR_FORBIDDEN')
			assert.equal(await statusOf(grace, anyOf(hasScope('User.Read.All'), yes)), 200)
			assert.equal(await statusOf(grace, anyOf(no, hasScope('User.Read.All'))), 403)
		})

		it('writes nothing into a header that is no scope, nor scopes without end', async () => {
			for (const scopes of [['a"b'], ['a\r\nx: y'], ['é'], ['a'.repeat(513)], Array(200).fill('a.b')]) {
				const refuses: Predicate = () => {
					throw new BrokerError('ERR_FORBIDDEN', 'no', { scopes })
				}
				const { status, headers } = await ask(grace, allOf(refuses))
				assert.deepEqual(
					[status, headers.get('www-authenticate')],
					[403, 'Bearer error="insufficient_scope"'],
				)
			}
		})

		it('sends a browser to consent, once, and it comes back', async () => {
			guard = allOf(hasRole('Admin'), anyOf(no, hasScope('Files.Read')))
			const page = await grace.get(`${app.origin}/guarded`, html)
			assert.equal(page.status, 303)
			const query = new URL(page.headers.get('location') ?? '').searchParams
			assert.ok(query.get('scope')?.split(' ').includes('Files.Read'))
			const arrived = await grace.follow(`${app.origin}/guarded?x=1`)
			const back = arrived.forms.length > 0 ? await grace.press('Grace Hopper') : arrived
			assert.deepEqual([back.url, back.json()], [`${app.origin}/guarded?x=1`, { passed: true }])
			assert.equal(await statusOf(grace, hasRole('Admin')), 200, 'the new session has her roles too')
		})

		it('believes what was granted, not what was asked for', async () => {
			world.standIn.inject({
				grant: 'refresh_token',
				rewrite: (answer) => ({ ...answer, scope: `${API}/reports.read` }),
			})
			const page = await ask(radia, hasScope(`${API}/access_as_user`), html)
			assert.deepEqual([page.status, page.headers.get('location')], [403, null], 'and asks not for ever')
		})
	})
})
