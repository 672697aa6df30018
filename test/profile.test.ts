import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, afterEach, before, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { defaultPeople, type Person, people } from '../dev/people.js'
import {
	BrokerError,
	memoryTokenStore,
	type ProfileFailure,
	redisTokenStore,
	type SessionTicket,
	type UserReference,
} from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const older = 'an older secret, of more than 32 bytes: 0123456789'
const newer = 'a newer secret, of more than 32 bytes: 9876543210'
const bothScopes = ['User.Read', 'User.Read.All']

const person = (n: number, more: Omit<Person, 'oid'>): Person => ({
	oid: `0d000000-0000-4000-8000-00000000030${n}`,
	...more,
})
/** Has a mail address that is not the user name. */
const nora = person(1, {
	upn: 'n1@contoso.example',
	mail: 'Nora.N@Contoso.example',
	name: 'Nora N',
	manager: people.charles.oid,
})
/** Everything that a directory may say of somebody, and as long as it may. */
const long = person(2, {
	upn: `${'l'.repeat(100)}@contoso.example`,
	mail: `${'m'.repeat(238)}@contoso.example`,
	name: `Long ${'Ł'.repeat(251)}`,
	manager: '0d000000-0000-4000-8000-000000000303',
})
const longer = person(3, { ...long, upn: 'longer@contoso.example', name: `Boss ${'Ł'.repeat(251)}` })
/** Goes by the mail address of another, says the directory. */
const twin = person(4, { upn: 'twin@contoso.example', mail: nora.mail as string, name: 'Twin T' })
/** Has no address, and a claim to another's. */
const mallory = person(5, { upn: 'mallory@contoso.example', mail: null, name: 'Mallory M' })
const everybody = [...defaultPeople, nora, long, longer, twin, mallory]

interface Session {
	readonly msal: SessionTicket
}

describe('the profile that a sign-in loads (acquire_token_by_auth_code_flow_plus)', () => {
	let world: World
	let none: Application
	let user: Application
	let both: Application
	const failures: ProfileFailure[] = []
	const warnings: string[] = []
	const onFailure = (message: unknown) => failures.push(message as ProfileFailure)
	const onWarning = ({ name, message }: Error) => name === 'KoaMsalWarning' && warnings.push(message)
	before(async () => {
		world = await createWorld({ people: everybody })
		;[none, user, both] = await Promise.all([
			createApplication(world, { secrets: [older], scopes: bothScopes }),
			createApplication(world, { secrets: [older], profile: 'user' }),
			createApplication(world, { secrets: [older], profile: 'user+manager', scopes: bothScopes }),
		])
		subscribe('koa-msal:profile', onFailure)
		process.on('warning', onWarning)
	})
	after(async () => {
		unsubscribe('koa-msal:profile', onFailure)
		process.off('warning', onWarning)
		await Promise.all([none, user, both].map((app) => app.close()))
		await world.close()
	})
	afterEach(() => {
		world.graph.clearFaults()
		failures.length = 0
		warnings.length = 0
	})

	/** Signs somebody in and tells what is known of them then. */
	async function signIn(app: Application, { name }: Person, browser = app.browser()) {
		world.graph.clearLog()
		const page = await app.signIn(browser, name)
		assert.equal(page.status, 200, page.html)
		const session = app.seen.session as unknown as Session
		const asked = world.graph.log.map(({ path }) => path).sort()
		return { session, asked, handle: app.broker.forSession(session), browser }
	}

	it('is none, and costs nothing, unless it is asked for', async () => {
		const { session, asked, handle } = await signIn(none, people.ada)
		assert.deepEqual(asked, [])
		assert.deepEqual([handle.mail, handle.managerName, handle.managerMail], [undefined, undefined, undefined])
		assert.deepEqual([handle.authenticated, handle.name], [true, people.ada.name])
		assert.ok(!('mail' in session.msal.account) && !('manager' in session.msal))
	})

	it('is the mail address of the user (mail)', async () => {
		const { session, asked, handle, browser } = await signIn(user, nora)
		assert.deepEqual(asked, ['/v1.0/me'])
		assert.deepEqual([handle.name, handle.mail, handle.managerName], [nora.name, nora.mail, undefined])
		const info = (await browser.get(`${user.origin}/user/info`)).json()
		assert.deepEqual(info, {
			authenticated: true,
			name: nora.name,
			username: nora.upn,
			mail: nora.mail,
			objectId: nora.oid,
			tenantId: world.standIn.tenantId,
		})
		for (const request of [{}, { forceRefresh: true }])
			assert.equal((await handle.acquireSilent(request)).account.mail, nora.mail, JSON.stringify(request))
		assert.equal(session.msal.account.objectId, nora.oid)
	})

	it('is the manager as well (manager_name, manager_mail), asked for at the same time and with the same token', async () => {
		world.graph.inject({ path: '/v1.0/me', delayMs: 300 }, { path: '/v1.0/me/manager', delayMs: 300 })
		world.standIn.clearLog()
		const under = signIn(both, nora)
		while (world.graph.count() < 2) await setImmediate()
		assert.ok(
			world.graph.log.every(({ status }) => status === undefined),
			'neither waits for the other',
		)
		const { handle, asked } = await under
		assert.deepEqual(asked, ['/v1.0/me', '/v1.0/me/manager'])
		assert.deepEqual(
			[handle.mail, handle.managerName, handle.managerMail],
			[nora.mail, people.charles.name, people.charles.upn],
		)
		assert.equal(world.standIn.count('token'), 1)
		assert.equal((await handle.acquireSilent()).outcome, 'hit')
	})

	for (const [what, someone, mail] of [
		['without mailbox and manager', people.alan, undefined],
		['who is a guest', people.emmy, people.emmy.mail],
		['without a manager', people.charles, people.charles.upn],
	] as const)
		it(`signs in somebody ${what}`, async () => {
			const { handle } = await signIn(both, someone)
			assert.deepEqual(
				[handle.name, handle.mail, handle.managerName, handle.managerMail],
				[someone.name, mail, undefined, undefined],
			)
			assert.deepEqual([failures, warnings], [[], []])
		})

	for (const [what, fault, error] of [
		['does not let the application', { status: 403 }, 'ERR_FORBIDDEN'],
		['does not know the person', { status: 404 }, 'ERR_NOT_FOUND'],
		['does not take the token', { status: 401 }, 'ERR_INTERACTION_REQUIRED'],
		['wants to be left alone for longer', { status: 429, retryAfter: 17 }, 'ERR_DOWNSTREAM_UNAVAILABLE'],
		['fails', { status: 500 }, 'ERR_DOWNSTREAM_UNAVAILABLE'],
		['cuts the connection', { drop: true }, 'ERR_DOWNSTREAM_UNAVAILABLE'],
		['answers half', { halfBody: true }, 'ERR_DOWNSTREAM_UNAVAILABLE'],
	] as const)
		it(`signs people in without it when Graph ${what}`, async () => {
			world.graph.inject({ path: '/v1.0/me', ...fault })
			const { handle } = await signIn(both, nora)
			assert.deepEqual(
				[handle.name, handle.mail, handle.managerName],
				[nora.name, undefined, people.charles.name],
			)
			assert.deepEqual(
				failures.map((failure) => [failure.part, failure.error]),
				[['user', error]],
			)
			const [failure] = failures
			assert.ok(Number(failure?.duration) < 1500, 'in time')
			assert.deepEqual(Object.keys(failure ?? {}).sort(), ['duration', 'error', 'part'])
			assert.ok(!JSON.stringify([failures, warnings]).toLowerCase().includes('nora'))
		})

	it('signs people in without it when Graph never answers, or stops in the middle', async () => {
		world.graph.inject({ path: '/v1.0/me', hang: true }, { path: '/v1.0/me', delayMs: 1500, stall: true })
		const pages = await Promise.all([people.ada, nora].map(({ name }) => both.signIn(both.browser(), name)))
		assert.deepEqual(
			pages.map(({ status }) => status),
			[200, 200],
		)
		assert.deepEqual(
			failures.map(({ part, error }) => [part, error]),
			Array(2).fill(['user', 'ERR_DOWNSTREAM_UNAVAILABLE']),
		)
		for (const { duration } of failures) assert.ok(duration > 1500 && duration < 3000, 'in time')
	})

	it('is told of once as a warning when it fails, and on the diagnostics channel each time', async () => {
		const fresh = await createApplication(world, { secrets: [older], profile: 'user+manager' })
		try {
			world.graph.inject({ path: '/v1.0/me/manager', status: 403, times: 2 })
			for (const someone of [nora, people.charles] as Person[]) {
				const { handle } = await signIn(fresh, someone)
				assert.deepEqual([handle.mail, handle.managerName], [someone.mail ?? someone.upn, undefined])
			}
			assert.deepEqual(
				failures.map(({ part, error }) => [part, error]),
				[
					['manager', 'ERR_FORBIDDEN'],
					['manager', 'ERR_FORBIDDEN'],
				],
			)
			assert.deepEqual(warnings, ['a sign-in went on without the manager of its user: ERR_FORBIDDEN'])
		} finally {
			await fresh.close()
		}
	})

	it('is had with another token where sign-in asks for one of another API', async () => {
		const scopes = ['api://aaaaaaaa-0000-4000-8000-000000000001/access_as_user']
		const other = await createApplication(world, { secrets: [older], profile: 'user', scopes })
		try {
			assert.equal((await signIn(other, nora)).handle.mail, nora.mail)
		} finally {
			await other.close()
		}
	})

	it('keeps the session small, whatever the directory says', async () => {
		const { session, handle } = await signIn(both, long)
		assert.equal(handle.account?.objectId, long.oid)
		assert.ok(Buffer.byteLength(JSON.stringify(session.msal)) <= 1024, JSON.stringify(session.msal))
		const small = await signIn(both, nora)
		assert.ok(Buffer.byteLength(JSON.stringify(small.session.msal)) < 700)
	})
})

for (const kind of ['memory', 'Redis'] as const)
	describe(`a user found by the mail address that Graph says, ${kind}`, () => {
		let world: World
		let redis: TestRedis
		let app: Application
		const storeOf = () => (kind === 'Redis' ? redisTokenStore({ path: redis.path }) : memoryTokenStore())
		const store = { current: undefined as ReturnType<typeof storeOf> | undefined }
		const start = (more: object = {}) =>
			createApplication(world, {
				secrets: [older],
				...(store.current && { store: store.current }),
				profile: 'user',
				...more,
			})
		before(async () => {
			;[world, redis] = await Promise.all([createWorld({ people: everybody }), startRedis()])
			store.current = storeOf()
			app = await start()
		})
		after(async () => {
			await app.close()
			await Promise.all([redis.stop(), world.close()])
		})
		afterEach(() => {
			world.graph.clearFaults()
			world.standIn.clearFaults()
		})

		async function signIn({ name }: Person, at = app, browser = at.browser()): Promise<Session> {
			const page = await at.signIn(browser, name)
			assert.equal(page.status, 200, page.html)
			return at.seen.session as unknown as Session
		}
		async function assertFound(mail: string, expected: readonly Session[], at = app): Promise<void> {
			const user: UserReference = { tenantId: world.standIn.tenantId, mail }
			const found = (await at.broker.sessions.find(user)).map(({ partition }) => partition).sort()
			assert.deepEqual(found, expected.map(({ msal }) => msal.partition).sort(), mail)
		}
		async function signOutAll(): Promise<void> {
			for (const { oid } of everybody)
				for (const msal of await app.broker.sessions.find({
					tenantId: world.standIn.tenantId,
					objectId: oid,
				}))
					await app.broker.signOut({ msal })
		}

		it('in any case, in this tenant alone, and no longer when they have signed out', async () => {
			const own = [await signIn(nora), await signIn(nora)]
			await signIn(people.ada)
			for (const mail of [nora.mail as string, 'nora.n@contoso.example', nora.upn])
				await assertFound(mail, own)
			for (const mail of ['n@contoso.example', '*', 'nora.n', 'ora.n@contoso.example'])
				await assertFound(mail, [])
			const elsewhere = { tenantId: 'another', mail: nora.mail as string }
			assert.deepEqual(await app.broker.sessions.find(elsewhere), [])
			const [first, second] = own as [Session, Session]
			await app.broker.signOut(first)
			await assertFound(nora.mail as string, [second])
			await app.broker.signOut(second)
			await assertFound(nora.mail as string, [])
			await signOutAll()
		})

		it('also when their tokens have been refreshed since', async () => {
			const session = await signIn(nora)
			await app.broker.acquireSilent(session, { forceRefresh: true })
			await app.broker.acquireSilent(session, { scopes: ['Mail.Read'] })
			await assertFound(nora.mail as string, [session])
			const [ticket] = await app.broker.sessions.find({
				tenantId: world.standIn.tenantId,
				objectId: nora.oid,
			})
			assert.equal(ticket?.account.mail, nora.mail)
			await signOutAll()
		})

		it('and of two users under one address, neither', async () => {
			await signIn(nora)
			await signIn(twin)
			const user = { tenantId: world.standIn.tenantId, mail: nora.mail as string }
			await assert.rejects(
				app.broker.sessions.find(user),
				(error) => error instanceof BrokerError && error.code === 'ERR_AMBIGUOUS_USER',
			)
			await signOutAll()
		})

		it('and never by the email claim, in which anybody can have anybody’s address', async () => {
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => {
					const email = nora.mail as string
					const claims = {
						...decodeJwt(String(answer.id_token)),
						email,
						verified_primary_email: [email],
						mail: email,
					}
					return { ...answer, id_token: await world.standIn.signIdToken(claims) }
				},
			})
			const session = await signIn(mallory)
			assert.equal(app.broker.forSession(session).mail, undefined)
			await assertFound(nora.mail as string, [])
			await assertFound(mallory.upn, [session])
			await signOutAll()
		})

		it('and not by one that Graph says of another person', async () => {
			// The stub answers with whom the token is about; here somebody else's id stands in its place.
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => {
					const claims = {
						...decodeJwt(String(answer.id_token)),
						oid: '0d000000-0000-4000-8000-00000000ffff',
					}
					return { ...answer, id_token: await world.standIn.signIdToken(claims) }
				},
			})
			const session = await signIn(nora)
			await assertFound(nora.mail as string, [])
			await app.broker.signOut(session)
		})

		it('which is forgotten at the next sign-in that cannot have it confirmed', async () => {
			const browser = app.browser()
			await assertFound(nora.mail as string, [])
			const first = await signIn(nora, app, browser)
			await assertFound(nora.mail as string, [first])
			for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
			world.graph.inject({ path: '/v1.0/me', status: 503 })
			const second = await signIn(nora, app, browser)
			assert.notEqual(second.msal.partition, first.msal.partition)
			const { account } = await app.broker.acquireSilent(second, { forceRefresh: true })
			assert.equal(account.mail, undefined)
			await assertFound(nora.upn, [second])
			await assertFound(nora.mail as string, [])
			await signOutAll()
		})

		it('but not when they were signed out while Graph was asked: then nothing of them is held', async () => {
			const { heldTokens } = app.broker.statistics
			world.graph.clearLog()
			world.graph.inject({ path: '/v1.0/me', delayMs: 300 })
			const browser = app.browser()
			const under = app.signIn(browser, nora.name)
			while (world.graph.count() === 0) await setImmediate()
			await signOutAll()
			await under
			assert.equal(app.broker.statistics.heldTokens, heldTokens)
			await assertFound(nora.mail as string, [])
			assert.deepEqual((await browser.get(`${app.origin}/user/info`)).json(), { authenticated: false })
		})

		if (kind === 'Redis') {
			it('at every step of rolling the secrets', async () => {
				const session = await signIn(nora)
				for (const secrets of [[older, newer], [newer, older], [newer]]) {
					const rolled = await start({ secrets })
					try {
						await rolled.broker.acquireSilent(session)
						await assertFound(nora.mail as string, [session], rolled)
					} finally {
						await rolled.close()
					}
				}
				await redis.client().flushall()
			})

			it('without a trace of it in Redis, then or later', async () => {
				const session = await signIn(nora)
				const dump = (await redis.dump()).join('\n').toLowerCase()
				assert.ok(!dump.includes('nora'))
				const keys = await redis.client().keys('*:i:*')
				assert.equal(keys.length, 3, 'by id, by name, by mail')
				for (const key of keys) assert.ok((await redis.client().pttl(key)) > 0, key)
				await app.broker.signOut(session)
				assert.deepEqual(await redis.client().keys('*:i:*'), [])
			})
		}
	})
