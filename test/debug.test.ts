import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { people } from '../dev/people.js'
import { redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { request } from './support/session-application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('GET /user/debug', () => {
	let world: World
	let redis: TestRedis
	const environment = process.env.NODE_ENV
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(async () => {
		restore(environment)
		await redis.stop()
		await world.close()
	})

	function restore(value: string | undefined): void {
		if (value === undefined) delete process.env.NODE_ENV
		else process.env.NODE_ENV = value
	}

	async function start(debug: boolean | undefined, nodeEnv: string | undefined): Promise<Application> {
		restore(nodeEnv)
		try {
			return await createApplication(world, {
				secrets,
				store: redisTokenStore({ path: redis.path }),
				...(debug !== undefined && { debug }),
			})
		} finally {
			restore(environment)
		}
	}

	it('shows what a developer wants to know, and neither session nor token nor secret', async () => {
		const app = await start(true, 'development')
		try {
			const browser = app.browser()
			await app.signIn(browser, 'Grace Hopper')
			await browser.get(`${app.origin}/keep?value=a-secret-of-the-session`)
			await browser.get(`${app.origin}/`)
			const { msal } = app.seen.session as { msal: { partition: string } }
			const { accessToken } = await app.broker.acquireSilent(app.seen.session)
			const page = await browser.get(`${app.origin}/user/debug`)
			assert.equal(page.status, 200)
			assert.equal(page.headers.get('cache-control'), 'no-store')
			const shown = page.json<Record<string, Record<string, unknown>>>()
			assert.deepEqual(Object.keys(shown), ['account', 'token', 'versions', 'statistics', 'settings'])
			assert.equal(shown.account?.objectId, people.grace.oid)
			assert.ok(String(shown.token?.scopes).includes('User.Read'))
			assert.ok(Date.parse(shown.token?.expiresOn as string) > Date.now())
			assert.equal(shown.versions?.node, process.version)
			assert.match(shown.versions?.['koa-msal'] as string, /^\d+\.\d+\.\d+/)
			assert.deepEqual([shown.settings?.scopes, shown.settings?.debug], [['User.Read'], true])
			assert.deepEqual(namesOf(shown.settings), [
				'auth.allowedTenants',
				'auth.authority',
				'auth.clientCapabilities',
				'auth.clientId',
				'auth.redirectUri',
				'auth.responseMode',
				'basePath',
				'debug',
				'downstream.allowedHosts',
				'graph.endpoint',
				'keepOnSignIn',
				'logoutTargets',
				'outOfBand.scopes',
				'paths.authorized',
				'paths.debug',
				'paths.info',
				'paths.login',
				'paths.logout',
				'paths.photo',
				'profile',
				'scopes',
				'session.absoluteTimeout',
				'session.idleTimeout',
			])
			for (const secret of [
				accessToken,
				msal.partition,
				'a-secret-of',
				'Grace',
				'grace@',
				'Admin',
				...secrets,
			])
				assert.ok(!page.html.includes(secret), secret.slice(0, 12))
			assert.ok(!/eyJ|stand-in~web~secret/.test(page.html))
			for (const { value } of browser.jar.cookies) assert.ok(!page.html.includes(value.slice(0, 43)))
		} finally {
			await app.close()
		}
	})

	/** Of every value, by the names that lead to it. */
	function namesOf(settings: object | undefined, before = ''): string[] {
		return Object.entries(settings ?? {})
			.flatMap(([name, value]: [string, unknown]) =>
				typeof value === 'object' && value !== null && !Array.isArray(value)
					? namesOf(value, `${before}${name}.`)
					: [`${before}${name}`],
			)
			.sort()
	}

	for (const [what, debug, nodeEnv] of [
		['it was not switched on', undefined, 'development'],
		['it is no development', true, 'test'],
		['nobody says what it is', true, undefined],
		['nobody is signed in', true, 'development'],
	] as const)
		it(`is no route when ${what}`, async () => {
			const app = await start(debug, nodeEnv)
			try {
				const browser = app.browser()
				if (what !== 'nobody is signed in') await app.signIn(browser)
				const cookie = browser.jar.headerFor(new URL(app.origin), {
					method: 'GET',
					crossSite: false,
					topLevel: true,
				})
				const [debugged, other] = await Promise.all(
					['/user/debug', '/user/nothing'].map((path) => request(`${app.origin}${path}`, cookie)),
				)
				const seen = (answer: typeof other) => ({
					status: answer?.status,
					text: answer?.text.replaceAll(/debug|nothing/g, 'x'),
					headers: [...(answer?.headers ?? [])].filter(
						([name]) => !['date', 'content-length'].includes(name),
					),
				})
				assert.deepEqual(seen(debugged), seen(other))
			} finally {
				await app.close()
			}
		})
})
