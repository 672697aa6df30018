import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it, mock } from 'node:test'
import { type Browser, createBrowser } from '../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../dev/directory.js'
import type { Person } from '../dev/people.js'
import { redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { findMany } from './support/canaries.js'
import { type RedisMonitor, startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** People whose every word is found again, were it ever written. */
const canaries: Person[] = Array.from(
	{ length: process.env.TEST_SUITE === 'security' ? 100 : 6 },
	(_, i) => ({
		oid: `ca0a0000-7f3a-4000-8000-${String(i).padStart(12, '0')}`,
		upn: `canary-upn-${i}@leak.example`,
		mail: `canary-mail-${i}@leak.example`,
		name: `Canary "Quoted" Ünïcode ${i}`,
		jobTitle: 'Canary',
	}),
)

describe('Redis (D1)', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let monitor: RedisMonitor
	const browsers: Browser[] = []
	/** What must not be found, by what it is. */
	const leaks = new Map<string, Set<string>>()
	const must = (what: string, ...texts: (string | undefined | null)[]) => {
		const known = leaks.get(what) ?? new Set()
		leaks.set(what, known)
		for (const text of texts) if (text) known.add(text)
	}

	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ people: canaries }), startRedis()])
		monitor = await redis.monitor()
		app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			configure: (koa, { broker }) =>
				koa.use(async (ctx, next) => {
					await next()
					if (ctx.path === '/token')
						must('access token', (await broker.acquireSilent(ctx.session)).accessToken)
				}),
		})
		const getAuthCodeUrl = app.broker.getAuthCodeUrl.bind(app.broker)
		mock.method(app.broker, 'getAuthCodeUrl', async (request: Parameters<typeof getAuthCodeUrl>[0]) => {
			const begun = await getAuthCodeUrl(request)
			must('state', begun.transaction.state)
			must('nonce', begun.transaction.nonce)
			must('code verifier', begun.transaction.codeVerifier)
			return begun
		})
		await useIt()
	})
	after(async () => {
		monitor.stop()
		await Promise.all(browsers.map((browser) => browser.close()))
		await app.close()
		await redis.stop()
		await world.close()
	})

	/** Sign-ins, refreshes, a second resource, custom data, a refused login, one under way, and a sign-out. */
	async function useIt(): Promise<void> {
		must('client secret', clientSecrets.web)
		must('session secret', ...secrets)
		must('client id', clientIds.web)
		world.standIn.inject({
			times: 1000,
			rewrite: (answer) => {
				must('access token', answer.access_token as string)
				must('refresh token', answer.refresh_token as string)
				must('id_token', answer.id_token as string)
				return answer
			},
		})
		for (const person of canaries) {
			must('oid', person.oid)
			must('upn', person.upn)
			must('mail', person.mail)
			must('name', person.name)
			must('tid', world.standIn.tenantId)
			// Stops in front of the application, where the provider's form with the code is to be seen.
			const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
			browsers.push(browser)
			await browser.follow(`${app.origin}/user/login/orders?customer=canary-return-path`)
			must('path to return to', 'canary-return-path')
			const { form } = await browser.press(person.name)
			must('code', form?.fields.code)
			must('session state', form?.fields.session_state)
			const arrived = await browser.submit(form)
			assert.equal(arrived.left, `${app.origin}/orders?customer=canary-return-path`)
			await browser.get(`${app.origin}/keep?value=canary-session-data`)
			must('session data', 'canary-session-data')
			assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
			assert.equal((await browser.get(`${app.origin}/token?force`)).status, 200)
			await browser.get(`${app.origin}/token?scope=Mail.Read`)
			await browser.get(`${app.origin}/user/login`)
			for (const cookie of browser.jar.cookies.filter(
				({ host, name }) => host === 'localhost' && /msal/.test(name),
			)) {
				must('cookie', cookie.value)
				must('session id', ...cookie.value.split('.').filter((part) => part.length === 43))
			}
			must('account', `${person.oid}.${world.standIn.tenantId}`)
		}
		// A code that the provider refuses, and the same form once more.
		const refused = createBrowser({ origins: [world.standIn.pagesOrigin] })
		browsers.push(refused)
		await refused.follow(`${app.origin}/user/login`)
		const { form } = await refused.press(canaries[0]?.name ?? '')
		world.standIn.clearFaults()
		world.standIn.inject({ on: 'token', error: { error: 'invalid_grant', code: 54005 } })
		must('code', form?.fields.code)
		assert.equal((await refused.post(`${app.origin}/user/authorized`, form?.fields ?? {})).status, 400)
		assert.equal((await refused.post(`${app.origin}/user/authorized`, form?.fields ?? {})).status, 400)
		const leaving = app.browser()
		await app.signIn(leaving, canaries[0]?.name)
		await leaving.follow(`${app.origin}/user/logout`)
	}

	it('holds keys of this application’s namespace only, each of them with an end', async () => {
		const client = redis.client()
		const keys = await client.keys('*')
		assert.ok(keys.length >= 3 * canaries.length, String(keys.length))
		for (const key of keys) {
			assert.match(key, /^koa-msal:[0-9a-f]{16}:([si]:[\w-]{43}|[tlf]:\{[\w-]{43}\}|u:[\w-]{43})$/)
			assert.ok((await client.pttl(key)) > 0, key)
		}
	})

	it('is never told a token, a code, a secret, a session id or whose they are: in clear, base64, hex or JSON', async () => {
		const wanted = ['access token', 'refresh token', 'id_token', 'code', 'code verifier', 'state', 'nonce']
		for (const what of [...wanted, 'session id', 'cookie', 'mail', 'oid'])
			assert.ok((leaks.get(what)?.size ?? 0) >= canaries.length, `no ${what} was seen`)
		const places = {
			keysAndValues: (await redis.dump()).join('\n'),
			commands: (await monitor.commands()).map((command) => command.join('\n')).join('\n'),
			file: await savedFile(),
		}
		for (const [place, text] of Object.entries(places)) {
			assert.ok(text.length > 5000 * canaries.length, `${place}: ${text.length}`)
			assert.deepEqual(findMany(leaks, text), [], place)
		}
		const [token = ''] = leaks.get('access token') ?? []
		const planted = `${places.file}${Buffer.from(`..${token}`).toString('base64')}`
		assert.deepEqual(findMany(leaks, planted), ['access token'], 'it would be found')
	})

	/** The RDB file: its bytes as characters, and its text. */
	async function savedFile(): Promise<string> {
		const client = redis.client()
		await client.config('SET', 'rdbcompression', 'no')
		await client.save()
		const [folder, name] = [await client.config('GET', 'dir'), await client.config('GET', 'dbfilename')].map(
			(reply) => (reply as string[])[1] ?? '',
		)
		const bytes = readFileSync(join(folder ?? '', name ?? ''))
		return `${bytes.toString('latin1')}\n${bytes}`
	}
})
