import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import { people } from '../../dev/people.js'
import { redisTokenStore } from '../../src/index.js'
import { answersOf, assertRefused, assertSignedIn, cookiesFor, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('A3: an answer that comes again', () => {
	let world: World
	let redis: TestRedis
	let applications: Readonly<Record<'Redis' | 'memory', Application>>
	/** Another process with the same Redis. */
	let neighbour: Application
	let answers: ReturnType<typeof answersOf>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		answers = answersOf(world.standIn)
		const onRedis = () => createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		const [ofRedis, ofMemory, ofNeighbour] = await Promise.all([
			onRedis(),
			createApplication(world, { secrets }),
			onRedis(),
		])
		applications = { Redis: ofRedis, memory: ofMemory }
		neighbour = ofNeighbour
	})
	after(async () => {
		await Promise.all([applications.Redis, applications.memory, neighbour].map((app) => app.close()))
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await answers.close()
	})

	const ada = () => ({ tenantId: world.standIn.tenantId, objectId: people.ada.oid })

	/** Signs in and keeps the form, and the cookie that its transaction had. */
	async function signIn(at: Application) {
		const browser = answers.browser()
		const answer = await answers.answerOf(browser, at, { path: '/user/login/orders' })
		const cookie = cookiesFor(browser, at)
		assertSignedIn(await deliver(browser, at, answer), '/orders')
		return { browser, answer, cookie }
	}

	const ways: Readonly<
		Record<string, (at: Application, browser: ReturnType<typeof createBrowser>) => unknown>
	> = {
		'by the route': (at, browser) => browser.get(`${at.origin}/user/logout`),
		'by broker.signOut': async (at, browser) => {
			await browser.get(`${at.origin}/kept`)
			await at.broker.signOut(at.seen.session)
		},
		'by an administrator': (at) => at.broker.sessions.revoke(ada()),
	}

	for (const kind of ['Redis', 'memory'] as const)
		for (const [how, signOut] of Object.entries(ways))
			it(`leads to the page while its session lives, and nowhere once it was signed out ${how} (${kind})`, async () => {
				const at = applications[kind]
				const { browser, answer, cookie } = await signIn(at)
				world.standIn.clearLog()
				for (const headers of [{}, { cookie }])
					assertSignedIn(await deliver(browser, at, answer, headers), '/orders')
				assert.equal(await at.broker.findReturnTo(answer.state as string), '/orders')

				await signOut(at, browser)
				for (const headers of [{}, { cookie }]) {
					const late = await deliver(browser, at, answer, headers)
					assertRefused(late, 'ERR_LOGIN_REJECTED')
					assert.equal(late.headers.get('location'), null)
				}
				assert.equal(await at.broker.findReturnTo(answer.state as string), undefined)
				assert.equal(world.standIn.count('token'), 0)
				assert.equal((await browser.get(`${at.origin}/token`)).status, 401)
			})

	it('leads nowhere once another process has signed the session out', async () => {
		const { browser, answer } = await signIn(applications.Redis)
		assertSignedIn(await deliver(browser, neighbour, answer), '/orders')
		await neighbour.broker.sessions.revoke(ada())
		for (const at of [neighbour, applications.Redis])
			assertRefused(await deliver(browser, at, answer), 'ERR_LOGIN_REJECTED')
	})

	it('leads nowhere once somebody else has signed in over the session', async () => {
		for (const at of Object.values(applications)) {
			const { browser, answer } = await signIn(at)
			for (const { name } of browser.jar.cookies) if (name.startsWith('idp_')) browser.jar.clear(name)
			assertSignedIn(
				await deliver(browser, at, await answers.answerOf(browser, at, { name: 'Charles Babbage' })),
			)
			assertRefused(await deliver(browser, at, answer), 'ERR_LOGIN_REJECTED')
			assert.match((await browser.get(`${at.origin}/token`)).html, /charles/)
		}
	})

	it('leads to the page when the same person has signed in once more, where the session comes along', async () => {
		const query = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			auth: { responseMode: 'query' },
		})
		const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
		try {
			await browser.follow(`${query.origin}/user/login/orders`)
			const { left: first = '' } = await browser.press('Ada Lovelace')
			assert.equal((await browser.get(first)).headers.get('location'), '/orders')
			const { left: second = '' } = await browser.follow(`${query.origin}/user/login/invoices`)
			assert.equal((await browser.get(second)).headers.get('location'), '/invoices')
			assert.equal((await browser.get(first)).headers.get('location'), '/orders')
			await browser.get(`${query.origin}/user/logout`)
			for (const again of [first, second]) {
				const late = await browser.get(again)
				assert.deepEqual([late.status, late.headers.get('location')], [400, null])
			}
		} finally {
			await browser.close()
			await query.close()
		}
	})

	it('of a sign-in that is refused, posted once more, does not end the other tab’s', async () => {
		for (const at of Object.values(applications)) {
			const browser = answers.browser()
			const [lost, good] = [await answers.answerOf(browser, at), await answers.answerOf(browser, at)]
			for (let time = 0; time < 2; time++)
				assertRefused(
					await deliver(browser, at, { ...lost, iss: 'https://evil.example' }),
					'ERR_LOGIN_REJECTED',
				)
			assertSignedIn(await deliver(browser, at, good))
		}
	})
})
