import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { clientIds } from '../dev/directory.js'
import { redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

describe('signing in', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(async () => {
		await redis.stop()
		await world.close()
	})

	for (const credential of ['secret', 'certificate'] as const)
		for (const kind of ['memory', 'Redis'] as const)
			it(`works from the first redirect to a token and out again, with a ${credential} and ${kind}`, async () => {
				const { privateKey, thumbprintSha256 } = world.certificate
				const app = await createApplication(world, {
					...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
					...(credential === 'certificate' && {
						auth: {
							clientId: clientIds.certificate,
							clientCertificate: { privateKey, thumbprintSha256 },
						},
					}),
				})
				try {
					await signsInAndOut(app)
				} finally {
					await app.close()
				}
			})

	async function signsInAndOut(app: Application): Promise<void> {
		const browser = app.browser()
		const arrived = await app.signIn(browser, 'Ada Lovelace', '/orders?page=2')
		assert.equal(arrived.status, 200, arrived.html)
		assert.equal(arrived.url, `${app.origin}/orders?page=2`)

		const token = (await browser.get(`${app.origin}/token`)).json<{ outcome: string; username: string }>()
		assert.deepEqual([token.outcome, token.username], ['hit', 'ada@contoso.example'])
		const refreshed = (await browser.get(`${app.origin}/token?force`)).json<{ outcome: string }>()
		assert.equal(refreshed.outcome, 'refreshed')

		const info = (await browser.get(`${app.origin}/user/info`)).json<{
			authenticated: boolean
			name: string
		}>()
		assert.deepEqual([info.authenticated, info.name], [true, 'Ada Lovelace'])
		const photo = await browser.get(`${app.origin}/user/photo`)
		assert.deepEqual([photo.status, photo.headers.get('content-type')], [200, 'image/png'])

		world.standIn.clearLog()
		const home = await browser.follow(`${app.origin}/user/logout`)
		assert.ok(world.standIn.count('logout') > 0, 'the provider was told')
		assert.equal(home.url, `${app.origin}/`)
		assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
		assert.deepEqual(
			app.errors.map(String).filter((text) => !text.includes('Nobody is signed in')),
			[],
		)
	}
})
