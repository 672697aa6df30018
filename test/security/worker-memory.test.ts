import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { createPrivateKey, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createClientCertificate } from '../../dev/certificates.js'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds, createDirectory } from '../../dev/directory.js'
import type { CanaryProcessOptions, CanaryReport } from '../fixtures/canary-process.js'
import type { ThreadMemoryReport } from '../fixtures/thread-memory.js'
import { createWorld, type World } from '../support/application.js'
import { findCanaries } from '../support/canaries.js'
import { startPasswordProxy } from '../support/password-proxy.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const program = fileURLToPath(new URL('../fixtures/canary-process.js', import.meta.url))
const random = () => randomBytes(24).toString('base64url')
const clientSecret = `client~${random()}`
const sealingSecrets = [random() + random(), random() + random()]
const redisPassword = `redis p@ss/${random()}`
const proxyPassword = `proxy:p@ss/${random()}`
const planted = `planted-${random()}`

describe('D9: secrets in the threads of a process that has signed somebody in and refreshed', () => {
	let world: World
	let redis: TestRedis
	let proxy: Server
	let child: ChildProcess
	let folder: string
	let files: readonly string[] = []
	const browsers: Browser[] = []
	const canaries = new Map<string, Set<string>>()
	const refreshTokens = new Set<string>()

	before(async () => {
		folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
		const certificate = await createClientCertificate()
		const { clients } = createDirectory({
			redirectUris: ['http://localhost/user/authorized'],
			postLogoutRedirectUris: ['http://localhost/'],
			clientSecret,
			certificateJwk: certificate.publicJwk,
		})
		;[world, redis, proxy] = await Promise.all([
			createWorld({ clients }),
			startRedis({ tcp: true, password: redisPassword }),
			startPasswordProxy(proxyPassword),
		])
		const { d, p, q } = createPrivateKey(certificate.privateKey).export({ format: 'jwk' })
		const lines = certificate.privateKey.split('\n').filter((line) => /^[^-]{60,}$/.test(line))
		// The first lines hold what is public, the modulus, which is in the certificate as well.
		canaries.set(
			'certificate key',
			new Set([...lines.slice(lines.length / 2), ...[d, p, q].filter((part) => part !== undefined)]),
		)
		canaries.set('sealing secret', new Set(sealingSecrets))
		canaries.set('client secret', new Set([clientSecret]))
		canaries.set('Redis password', new Set([redisPassword]))
		canaries.set('proxy password', new Set([proxyPassword]))
		world.standIn.inject({
			times: 1000,
			rewrite: (answer) => {
				refreshTokens.add(String(answer.refresh_token))
				return answer
			},
		})
		const { port } = proxy.address() as AddressInfo
		const common = {
			secrets: sealingSecrets,
			pool: { threads: 1 },
			graph: { endpoint: `${world.graph.origin}/v1.0` },
			network: {
				caFile: world.caFile,
				proxy: `http://user:${encodeURIComponent(proxyPassword)}@localhost:${port}`,
			},
		}
		const auth = { authority: world.standIn.authority, knownAuthorities: [world.standIn.host] }
		const { thumbprintSha256, privateKey, certificate: x5c } = certificate
		await start({
			applications: [
				{ ...common, auth: { ...auth, clientId: clientIds.web, clientSecret } },
				{
					...common,
					auth: {
						...auth,
						clientId: clientIds.certificate,
						clientCertificate: { thumbprintSha256, privateKey, x5c },
					},
				},
			],
			redis: redis.url,
			refused: [],
			failing: [],
		})
	})
	after(async () => {
		child?.kill()
		await Promise.all(browsers.map((browser) => browser.close()))
		proxy?.closeAllConnections()
		proxy?.close()
		await redis?.stop()
		await world?.close()
		await rm(folder, { recursive: true })
	})

	async function start(options: CanaryProcessOptions): Promise<void> {
		const probe = new URL('../fixtures/thread-memory.js', import.meta.url)
		probe.search = new URLSearchParams({ folder, planted }).toString()
		child = fork(program, {
			env: {
				PATH: process.env.PATH,
				CANARY_OPTIONS: JSON.stringify(options),
			},
			execArgv: ['--import', probe.href],
			stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
		})
		const next = <T>(find: (report: CanaryReport | ThreadMemoryReport) => T | undefined) =>
			new Promise<T>((resolve, reject) => {
				child.once('exit', () => reject(new Error('the process ended early')))
				child.on('message', (report: CanaryReport | ThreadMemoryReport) => {
					const found = find(report)
					if (found !== undefined) resolve(found)
				})
			})
		const origins = await next((report) => ('ready' in report ? report.ready : undefined))
		for (const origin of origins) {
			const browser = createBrowser()
			browsers.push(browser)
			await browser.follow(`${origin}/user/login`)
			await browser.press('Ada Lovelace')
			assert.equal((await browser.get(`${origin}/token?force`)).status, 200)
		}
		const written = next((report) => ('written' in report ? report.written : undefined))
		child.send({ threads: origins.length })
		assert.equal(await written, 2)
		files = (await readdir(folder)).sort()
	}

	const read = async (ending: string) => {
		const names = files.filter((name) => name.endsWith(ending))
		const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
		return names.map((name, i) => ({ name, text: texts[i] ?? '' }))
	}

	it('D9: keys arrive as KeyObjects, in an empty environment', async () => {
		const keys = await read('.keys')
		assert.equal(keys.length, 2)
		assert.match(keys.map(({ text }) => text).join('\n'), /credential\.secret(\n|$)/)
		assert.match(keys.map(({ text }) => text).join('\n'), /credential\.privateKey(\n|$)/)
		for (const { text } of keys)
			for (const name of [/secrets\.0/, /secrets\.1/, /credential\.\w+/]) assert.match(text, name)
		for (const { text } of await read('.env')) assert.equal(text, '{}')
	})

	it('D9: no secret is in workerData, arguments, environment or tasks, printed or as JSON', async () => {
		const [given, messages] = [await read('.given'), await read('.messages')]
		assert.deepEqual([given.length, messages.length], [2, 2])
		assert.ok(messages.every(({ text }) => text.includes('redeem') && text.includes('acquire')))
		for (const { name, text } of [...given, ...messages])
			assert.deepEqual(findCanaries(canaries, text), [], name)
	})

	it('D9: no worker’s heap has a sealing secret or the key of the certificate', async () => {
		const heaps = (await read('.heapsnapshot')).filter(({ name }) => name.startsWith('worker'))
		assert.equal(heaps.length, 2)
		// It may have, once used, as text.
		const maybe = ['client secret', 'Redis password', 'proxy password']
		for (const { name, text } of heaps) {
			assert.ok(text.includes(planted), `${name} is searched`)
			const found = findCanaries(canaries, text).filter((what) => !maybe.includes(what))
			assert.deepEqual(found, [], name)
		}
	})

	it('D9: the main thread’s heap has no refresh token; what the application passes as text it may have', async () => {
		const [main] = (await read('.heapsnapshot')).filter(({ name }) => name.startsWith('main'))
		assert.ok(main, 'the main thread has written')
		assert.ok(main.text.includes(planted))
		assert.ok(refreshTokens.size >= 2)
		assert.deepEqual(findCanaries(new Map([['refresh token', refreshTokens]]), main.text), [])
	})
})
