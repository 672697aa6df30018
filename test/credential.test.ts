import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { createClientCertificate } from '../dev/certificates.js'
import { clientIds, clientSecrets } from '../dev/directory.js'
import { BrokerError, redisTokenStore } from '../src/index.js'
import { createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('a credential that is rolled', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(() => Promise.all([redis.stop(), world.close()]))

	for (const kind of ['memory', 'Redis'] as const)
		it(`is read anew once when the provider refuses it, at sign-in and at a refresh, ${kind}`, async () => {
			let current = 'an old secret'
			let reads = 0
			const app = await createApplication(world, {
				...(kind === 'Redis' && { secrets, store: redisTokenStore({ path: redis.path }) }),
				auth: {
					clientSecret: async () => {
						reads++
						return current
					},
				},
			})
			try {
				assert.equal(reads, 1, 'at the start')
				current = clientSecrets.web
				const page = await app.signIn(app.browser())
				assert.equal(page.status, 200, page.html)
				assert.equal(reads, 2)
				const session = app.seen.session
				const refused = { error: { error: 'invalid_client', code: 7000215 } }
				world.standIn.inject(refused)
				const again = await app.broker.acquireSilent(session, { forceRefresh: true })
				assert.equal(again.outcome, 'refreshed', 'tried again with what was read a moment ago')
				world.standIn.inject({ ...refused, times: 2 })
				await assert.rejects(
					app.broker.acquireSilent(session, { forceRefresh: true }),
					code('ERR_CLIENT_REJECTED'),
				)
				assert.equal((await app.broker.acquireSilent(session)).outcome, 'hit', 'nobody is signed out')
				assert.equal((await app.broker.acquireSilent(session, { forceRefresh: true })).outcome, 'refreshed')
			} finally {
				await app.close()
			}
		})

	it('that can’t be read is ERR_CONFIG, and what its function threw is not shown', async () => {
		const failed = Object.assign(new Error('canary-7f3a9 was not accepted'), {
			code: 'EVAULT',
			secret: 'canary-7f3a9',
		})
		for (const auth of [
			{ clientSecret: () => Promise.reject(failed) },
			{ clientCertificate: () => Promise.reject(failed) },
		])
			await assert.rejects(createApplication(world, { auth }), (error: BrokerError) => {
				assert.equal(error.code, 'ERR_CONFIG')
				assert.match(error.message, /could not be read \(EVAULT\)/)
				return !inspect(error, { depth: null, showHidden: true }).includes('canary')
			})
	})

	it('that stays wrong is ERR_CLIENT_REJECTED, told without the secret', async () => {
		const app = await createApplication(world, { auth: { clientSecret: async () => 'a wrong secret' } })
		try {
			const page = await app.signIn(app.browser())
			assert.equal(page.status, 503)
			assert.match(page.html, /ERR_CLIENT_REJECTED/)
			assert.ok(!JSON.stringify([page.html, ...app.errors.map(String)]).includes('a wrong secret'))
		} finally {
			await app.close()
		}
	})

	it('that cannot be read ends the start with ERR_CONFIG, and a reload leaves the old one in use', async () => {
		const failing = () => Promise.reject(new Error('a secret in here'))
		await assert.rejects(createApplication(world, { auth: { clientSecret: failing } }), (error) => {
			assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG')
			assert.ok(!error.message.includes('secret in here'))
			return true
		})
		let broken = false
		const app = await createApplication(world, {
			auth: { clientSecret: async () => (broken ? (undefined as unknown as string) : clientSecrets.web) },
		})
		try {
			broken = true
			await assert.rejects(app.broker.reload(), code('ERR_CONFIG'))
			assert.equal((await app.signIn(app.browser())).status, 200)
		} finally {
			await app.close()
		}
	})

	it('that does not come ends the start, or the reload, at the deadline; whoever was refused hears so', async () => {
		const never = () => new Promise<never>(() => {})
		const network = { caFile: world.caFile, timeout: 1000 }
		const late = (error: BrokerError) => {
			assert.equal(error.code, 'ERR_CONFIG')
			assert.match(error.message, /auth\.client\w+ has not answered within 1000 ms/)
			return true
		}
		for (const auth of [{ clientSecret: never }, { clientCertificate: never }])
			await assert.rejects(createApplication(world, { auth, network }), late)
		let hangs = false
		const app = await createApplication(world, {
			auth: { clientSecret: () => (hangs ? never() : Promise.resolve(clientSecrets.web)) },
			network,
		})
		try {
			assert.equal((await app.signIn(app.browser())).status, 200)
			hangs = true
			await assert.rejects(app.broker.reload(), late)
			world.standIn.inject({ error: { error: 'invalid_client', code: 7000215 } })
			await assert.rejects(
				app.broker.acquireSilent(app.seen.session, { forceRefresh: true }),
				code('ERR_CLIENT_REJECTED'),
			)
			assert.equal((await app.broker.acquireSilent(app.seen.session)).outcome, 'hit', 'the old one stays')
		} finally {
			await app.close()
		}
	})

	it('in a file that does not come any more stays what it was, after the deadline', async () => {
		const folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
		const file = join(folder, 'client.pem')
		const { privateKey, certificate } = world.certificate
		await writeFile(file, `${privateKey}\n${certificate}`)
		const app = await createApplication(world, {
			auth: { clientId: clientIds.certificate, clientCertificate: { file } },
			network: { caFile: world.caFile, timeout: 1000 },
		})
		try {
			// Nobody writes to it, as on a share that is away.
			await rm(file)
			assert.equal(spawnSync('mkfifo', [file]).status, 0)
			await assert.rejects(
				Promise.race([app.broker.reload(), sleep(3000)]),
				/auth\.clientCertificate has not answered within 1000 ms/,
			)
			assert.equal((await app.signIn(app.browser())).status, 200)
		} finally {
			// Who reads it keeps a thread, and the process.
			await (await open(file, 'r+')).close()
			await app.close()
			await rm(folder, { recursive: true })
		}
	})

	it('that is read slowly does not replace what was read after it', async () => {
		let arrive = (_: string) => {}
		const slow = new Promise<string>((resolve) => {
			arrive = resolve
		})
		const answers = [Promise.resolve('a secret of the start'), slow, Promise.resolve(clientSecrets.web)]
		let reads = 0
		const app = await createApplication(world, {
			auth: { clientSecret: () => answers[reads++] ?? Promise.reject(new Error('one too many')) },
		})
		try {
			const before = app.broker.reload()
			await app.broker.reload()
			arrive('a secret of before')
			await before
			assert.equal((await app.signIn(app.browser())).status, 200)
			assert.equal(reads, 3)
		} finally {
			await app.close()
		}
	})

	it('in a file is used when the file changes, without a restart', async () => {
		const folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
		const file = join(folder, 'client.pem')
		const old = await createClientCertificate()
		await writeFile(file, `${old.privateKey}\n${old.certificate}`)
		const app = await createApplication(world, {
			auth: { clientId: clientIds.certificate, clientCertificate: { file } },
		})
		try {
			const { privateKey, certificate } = world.certificate
			await sleep(1100)
			await writeFile(file, `${privateKey}\n${certificate}`)
			await sleep(6000)
			world.standIn.clearLog()
			assert.equal((await app.signIn(app.browser())).status, 200)
			assert.equal(world.standIn.count('token'), 1, 'the new one, at the first try')
		} finally {
			await app.close()
			await rm(folder, { recursive: true })
		}
	})
})
