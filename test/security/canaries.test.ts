import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ClientCertificate, createClientCertificate } from '../../dev/certificates.js'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds, createDirectory } from '../../dev/directory.js'
import type { Person } from '../../dev/people.js'
import type { CanaryOrder, CanaryProcessOptions, CanaryReport } from '../fixtures/canary-process.js'
import { createWorld, type World } from '../support/application.js'
import { findCanaries, spellings } from '../support/canaries.js'
import { startPasswordProxy } from '../support/password-proxy.js'
import { type RedisMonitor, startRedis, type TestRedis } from '../support/redis.js'

const program = fileURLToPath(new URL('../fixtures/canary-process.js', import.meta.url))
const trace = new URL('../fixtures/msal-trace.js', import.meta.url).href

const random = () => randomBytes(24).toString('base64url')
const clientSecret = `client~${random()}`
const sealingSecrets = [random() + random(), random() + random()]
const redisPassword = `redis p@ss/${random()}`
const proxyPassword = `proxy:p@ss/${random()}`
/** Of a Redis and a proxy that refuse them. */
const wrongPassword = `wrong p@ss/${random()}`
const refusedValue = `refused-${random()}`
const sessionData = `kept "${random()}"`

const persons: Person[] = [0, 1].map((i) => ({
	oid: `ca0a0000-7f3a-4000-8000-${randomBytes(6).toString('hex')}`,
	upn: `canary-upn-${i}-${random()}@leak.example`,
	mail: `canary-mail-${i}-${random()}@leak.example`,
	name: `Canary ${i} "Quoted" Ünïcode ${random()}`,
	jobTitle: `Keeper of canaries ${random()}`,
}))

/** The lines that Node's streams print, with NODE_DEBUG=stream. */
const streams = 'stderr, of Node’s streams'

const whoSomebodyIs = ['oid', 'upn', 'mail', 'name']
const ownCookies = ['session id', 'session cookie', 'sign-in cookie']
/** What a place may hold beside nothing at all, and why. */
const allowed: Readonly<Record<string, readonly string[]>> = {
	// The application's own code asks for who is signed in; nothing else is in ctx.session.
	sessions: [...whoSomebodyIs, 'session data'],
	// `broker.sessions.list()` names its users, to administrators.
	'session lists': whoSomebodyIs,
	// A worker redeems the code that arrived, checks the nonce, and answers with the token that was asked for.
	'worker messages': ['code', 'code verifier', 'nonce', 'access token', ...whoSomebodyIs],
	// To the browser that they belong to; state and nonce stand in the address of the provider's page, and in that of its
	// sign-out the hint whose session ends, which the provider gave for it: the stand-in's has an object id in it.
	headers: [...ownCookies, 'state', 'nonce', 'oid'],
	// Node itself prints the first fifty bytes of what passes through a stream, among them the provider's answer.
	[streams]: ['code', 'state'],
	// `/user/info` tells who is signed in who they are.
	pages: whoSomebodyIs,
}

describe('secrets, looked for in all that a process writes, sends, throws and shows (D1, D8, D9)', () => {
	let world: World
	let redis: TestRedis
	let monitor: RedisMonitor
	let proxy: Server
	let certificate: ClientCertificate
	let child: ChildProcess
	let origins: readonly string[] = []
	const browsers: Browser[] = []
	const canaries = new Map<string, Set<string>>()
	const places = new Map<string, string[]>()
	const must = (what: string, ...texts: (string | undefined | null)[]) => {
		const known = canaries.get(what) ?? new Set()
		canaries.set(what, known)
		for (const text of texts) if (text) known.add(text)
	}
	const add = (place: string, text: string) => places.set(place, [...(places.get(place) ?? []), text])
	const textOf = (place: string) => {
		const all =
			places
				.get(place === streams ? 'stderr' : place)
				?.join(place === 'stderr' || place === streams ? '' : '\n') ?? ''
		if (place !== 'stderr' && place !== streams) return all
		return all
			.split('\n')
			.filter((line) => line.startsWith('STREAM ') === (place === streams))
			.join('\n')
	}

	before(async () => {
		certificate = await createClientCertificate()
		const { clients } = createDirectory({
			redirectUris: ['http://localhost/user/authorized'],
			postLogoutRedirectUris: ['http://localhost/'],
			clientSecret,
			certificateJwk: certificate.publicJwk,
		})
		;[world, redis] = await Promise.all([
			createWorld({ clients, people: persons, autoLogin: false }),
			startRedis({ tcp: true, password: redisPassword }),
		])
		monitor = await redis.monitor()
		proxy = await startPasswordProxy(proxyPassword)
		must('client secret', clientSecret)
		must(
			'certificate key',
			...certificate.privateKey
				.split('\n')
				.filter((line) => /^[^-]{60,}$/.test(line))
				.slice(1),
		)
		must('sealing secret', ...sealingSecrets)
		must('Redis password', redisPassword)
		must('proxy password', proxyPassword)
		must('refused value', wrongPassword, refusedValue)
		must('session data', sessionData)
		for (const { oid, upn, mail, name, jobTitle } of persons) {
			must('oid', oid)
			must('upn', upn)
			must('mail', mail)
			must('name', name)
			must('answer of an API', jobTitle)
		}
		await start()
		for (const origin of origins) for (const person of persons) await use(origin, person)
		for (const origin of origins) await misuse(origin)
		await collect()
		await outage()
	})
	after(async () => {
		child?.kill()
		monitor?.stop()
		await Promise.all(browsers.map((browser) => browser.close()))
		proxy?.closeAllConnections()
		proxy?.close()
		await redis?.stop()
		await world?.close()
	})

	async function start(): Promise<void> {
		const { port } = proxy.address() as AddressInfo
		const proxyUrl = (password: string) => `http://user:${encodeURIComponent(password)}@localhost:${port}`
		const common = {
			secrets: sealingSecrets,
			profile: 'user',
			debug: true,
			pool: { threads: 1 },
			graph: { endpoint: `${world.graph.origin}/v1.0` },
			network: { caFile: world.caFile, proxy: proxyUrl(proxyPassword) },
		} as const
		const auth = { authority: world.standIn.authority, knownAuthorities: [world.standIn.host] }
		const withSecret = { ...auth, clientId: clientIds.web, clientSecret }
		const { thumbprintSha256, privateKey } = certificate
		const withKey = {
			...auth,
			clientId: clientIds.certificate,
			clientCertificate: { thumbprintSha256, privateKey, x5c: certificate.certificate },
		}
		const redirectUri = 'https://app.example/user/authorized'
		const good = { ...common, auth: { ...withSecret, redirectUri } }
		const options: CanaryProcessOptions = {
			applications: [
				{ ...common, auth: withSecret },
				{ ...common, auth: withKey },
			],
			redis: redis.url,
			refused: [
				{ ...good, secrets: [refusedValue.slice(0, 31)] },
				{ ...good, secrets: [refusedValue + refusedValue, refusedValue + refusedValue] },
				{ ...good, secrets: refusedValue },
				{ ...good, network: { proxy: `http://user:${refusedValue}/x@host` } },
				{ ...good, network: { caFile: `/${refusedValue}` } },
				{ ...good, store: `redis://${refusedValue}` },
				{ ...good, store: { kind: refusedValue } },
				{ ...good, auth: { ...good.auth, clientSecret: [refusedValue] } },
				{ ...good, auth: { ...good.auth, authority: `https://user:${refusedValue}@host/x` } },
				{
					...good,
					auth: {
						...withKey,
						redirectUri,
						clientCertificate: { privateKey, thumbprintSha256: refusedValue },
					},
				},
				{ ...good, auth: { ...withKey, redirectUri: `https://app.example/?${refusedValue}`, clientSecret } },
			],
			failing: [
				{ ...good, redis: { host: '127.0.0.1', port: redis.port, password: wrongPassword } },
				{
					...good,
					redis: { host: '127.0.0.1', port: redis.port, password: wrongPassword, protocol: 2 } as never,
				},
				{ ...good, network: { ...common.network, proxy: proxyUrl(wrongPassword) } },
			],
		}
		child = fork(program, {
			execArgv: ['--import', trace],
			env: {
				PATH: process.env.PATH,
				NODE_ENV: 'development',
				DEBUG: '*',
				NODE_DEBUG: '*',
				CANARY_OPTIONS: JSON.stringify(options),
			},
			stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
		})
		child.stdout?.setEncoding('utf8').on('data', (text: string) => add('stdout', text))
		child.stderr?.setEncoding('utf8').on('data', (text: string) => add('stderr', text))
		await new Promise<void>((resolve, reject) => {
			child.once('exit', () => reject(new Error(`the process ended early\n${textOf('stderr').slice(-2000)}`)))
			child.on('message', (report: CanaryReport) => {
				if ('place' in report) add(report.place, report.text)
				else if ('canary' in report) must(report.canary, report.text)
				else if ('ready' in report) {
					origins = report.ready
					resolve()
				}
			})
		})
	}

	function createOwnBrowser(): Browser {
		// Stops in front of the application, where the provider's form with the code is to be seen.
		const browser = createBrowser({ origins: [world.standIn.pagesOrigin] })
		browsers.push(browser)
		return browser
	}

	function rememberTokens(): void {
		world.standIn.clearFaults()
		world.standIn.inject({
			times: 1000,
			rewrite: (answer) => {
				must('access token', answer.access_token as string)
				must('refresh token', answer.refresh_token as string)
				must('id_token', answer.id_token as string)
				return answer
			},
		})
	}

	/** What the browser of an application holds. */
	function rememberCookies({ jar }: Browser): void {
		for (const { host, name, value } of jar.cookies) {
			if (host !== 'localhost' || value === '') continue
			if (!/msal/.test(name)) continue
			must(value.includes('.') && value.length < 100 ? 'session cookie' : 'sign-in cookie', value)
			must(
				'session id',
				...value
					.split('.')
					.filter((part) => part.length === 43)
					.slice(0, 1),
			)
		}
	}

	/** Up to the form that brings the code. */
	async function signIn(browser: Browser, origin: string, person = persons[0]) {
		const asked = await browser.follow(`${origin}/user/login`)
		rememberCookies(browser)
		// The provider knows who has signed in there before.
		const page = asked.form?.fields.code === undefined ? await browser.press(person?.name ?? '') : asked
		must('code', page.form?.fields.code)
		return page.form
	}

	async function use(origin: string, person: Person): Promise<void> {
		rememberTokens()
		const browser = createOwnBrowser()
		await browser.submit(await signIn(browser, origin, person))
		rememberCookies(browser)
		const get = (path: string) => browser.get(origin + path)
		await browser.post(`${origin}/keep`, { value: sessionData })
		for (const path of [
			'/token',
			'/token?force',
			'/token?scope=Mail.Read',
			'/graph',
			'/remember',
			'/remember',
		])
			assert.equal((await get(path)).status, 200, path)
		// What hides a session from koa-session's log does not keep it from being stored.
		assert.deepEqual((await get('/remember')).json(), { count: 3 })
		for (const path of ['/user/info', '/user/photo', '/user/debug', '/lists', '/']) await get(path)
		// Signed in anew, over the session that is there.
		await browser.submit(await signIn(browser, origin, person))
		rememberCookies(browser)
		assert.equal((await get('/token')).status, 200)
	}

	/** Every way in which it goes wrong. */
	async function misuse(origin: string): Promise<void> {
		const { standIn, graph } = world
		const failing = async (...faults: Parameters<typeof standIn.inject>) => {
			rememberTokens()
			const browser = createOwnBrowser()
			const form = await signIn(browser, origin)
			standIn.clearFaults()
			standIn.inject(...faults)
			const answer = await browser.post(`${origin}/user/authorized`, form?.fields ?? {})
			assert.ok(answer.status >= 400, String(answer.status))
			await browser.post(`${origin}/user/authorized`, form?.fields ?? {})
		}
		await failing({ on: 'token', error: { error: 'invalid_grant', code: 54005 } })
		await failing({ on: 'token', error: { error: 'invalid_client', code: 7000215 } })
		await failing({ on: 'token', times: 3, drop: true })
		await failing({
			on: 'token',
			rewrite: async (answer) => {
				must('access token', answer.access_token as string)
				must('refresh token', answer.refresh_token as string)
				const id_token = await standIn.signIdToken({ sub: persons[0]?.oid ?? '', nonce: 'another' })
				must('id_token', id_token)
				return { ...answer, id_token }
			},
		})
		const browser = createOwnBrowser()
		const form = await signIn(browser, origin)
		const post = (fields: Record<string, string>) => browser.post(`${origin}/user/authorized`, fields)
		await post({ ...form?.fields, state: random() })
		await post({ ...form?.fields, iss: 'https://evil.example' })
		const other = createOwnBrowser()
		await other.post(`${origin}/user/authorized`, form?.fields ?? {})
		await signIn(browser, origin)
		const again = await signIn(browser, origin)
		await post({ state: again?.fields.state ?? '', error: 'access_denied', error_description: '<b>no</b>' })

		rememberTokens()
		await browser.submit(await signIn(browser, origin))
		rememberCookies(browser)
		const get = (path: string) => browser.get(origin + path)
		for (const fault of [
			{ on: 'token', status: 500, body: '<html>', times: 3 },
			{ on: 'token', error: { error: 'invalid_client', code: 7000215 }, times: 3 },
			{ on: 'token', halfBody: true, times: 3 },
			{ on: 'token', status: 200, body: '<html>', times: 3 },
		] as const) {
			standIn.clearFaults()
			standIn.inject(fault)
			await get('/token?force')
		}
		graph.inject({ status: 500, times: 3 })
		await get('/graph')
		graph.clearFaults()
		graph.inject({ status: 401, times: 3 })
		await get('/graph')
		graph.clearFaults()
		await get(`/call?url=${encodeURIComponent('https://evil.example/')}`)
		standIn.clearFaults()
		standIn.inject({ on: 'token', error: { error: 'invalid_grant', code: 50173 } })
		await get('/token?force')
		await get('/user/logout')
		const [cookie] = canaries.get('session cookie') ?? []
		const [name] = browser.jar.seen.filter(({ value }) => value === cookie).map(({ name }) => name)
		await browser.get(`${origin}/token`, { cookie: `${name}=${cookie}` })
		await browser.get(`${origin}/token`, { cookie: `${name}=${cookie}x` })
		rememberTokens()
		await browser.submit(await signIn(browser, origin))
		rememberCookies(browser)
	}

	/** Redis as it is, and what an administrator of it has seen. */
	async function collect(): Promise<void> {
		for (const line of await redis.dump()) add('Redis', line)
		for (const command of await monitor.commands()) add('Redis', command.join('\n'))
		monitor.stop()
	}

	async function outage(): Promise<void> {
		await redis.kill()
		for (const browser of browsers.slice(-1))
			for (const origin of origins)
				for (const path of ['/token', '/token?force', '/user/login', '/user/logout'])
					await browser.get(origin + path)
		await redis.restart()
	}

	/** Has the process show its objects, and leak a text before. */
	async function tell(order: CanaryOrder): Promise<void> {
		const told = new Promise<void>((resolve) => {
			const listen = (report: CanaryReport) => {
				if (!('done' in report)) return
				child.off('message', listen)
				resolve()
			}
			child.on('message', listen)
		})
		child.send(order)
		await told
	}

	/** What was written arrives in its own time. */
	async function until(condition: () => boolean): Promise<void> {
		while (!condition())
			await Promise.race([
				once(child, 'message'),
				...[child.stdout, child.stderr].map((stream) => once(stream as Readable, 'data')),
			])
	}

	const searched = [
		'Redis',
		'stdout',
		'stderr',
		streams,
		'errors',
		'objects',
		'sessions',
		'session lists',
		'worker messages',
		'pages',
		'headers',
	]

	it('were in the places where they belong, and every place has something to be searched', async () => {
		await tell({})
		for (const place of ['stdout', 'stderr'] as const) {
			const last = `${place} is read to here: ${random()}`
			await tell({ leak: { place, text: last } })
			await until(() => textOf(place).includes(last))
		}
		for (const what of [
			'state',
			'nonce',
			'code verifier',
			'code',
			'access token',
			'refresh token',
			'id_token',
		])
			assert.ok((canaries.get(what)?.size ?? 0) >= 4, `no ${what} was seen`)
		for (const what of ownCookies) assert.ok((canaries.get(what)?.size ?? 0) >= 4, `no ${what} was seen`)
		for (const place of searched) assert.ok(textOf(place).length > 100 || place === 'stdout', place)
		for (const [place, whats] of Object.entries(allowed).filter(([place]) => place !== streams))
			for (const what of whats)
				assert.ok(findCanaries(canaries, textOf(place)).includes(what), `${place}: ${what}`)
		const log = textOf('stderr')
		for (const printed of [
			/MSAL Trace/,
			/ioredis:redis/,
			/koa-redis/,
			/koa-session:context/i,
			/UNDICI/i,
			/HTTP /,
			/NET /,
			/TLS /,
		])
			assert.match(log, printed)
		for (const code of [
			'ERR_LOGIN_REJECTED',
			'ERR_IDP_UNAVAILABLE',
			'ERR_CLIENT_REJECTED',
			'ERR_INTERACTION_REQUIRED',
			'ERR_SIGNED_OUT',
			'ERR_STORE_UNAVAILABLE',
			'ERR_FORBIDDEN_TARGET',
			'ERR_CONFIG',
		])
			assert.ok(textOf('errors').includes(code), code)
	})

	for (const place of searched)
		it(`are not in: ${place}${allowed[place] ? `, but for ${allowed[place].join(', ')}` : ''}`, () => {
			const found = findCanaries(canaries, textOf(place)).filter((what) => !allowed[place]?.includes(what))
			assert.deepEqual(found, [])
		})

	for (const place of [...searched.filter((place) => place !== streams), 'Redis keys'])
		it(`would have been found in ${place}, in every spelling`, async () => {
			const secret = `planted "${random()}" ünd ${random()}`
			const planted = new Map([['planted', new Set([secret])]])
			const where = place === 'Redis keys' ? 'Redis' : place
			for (const form of spellings(secret)) {
				places.set(where, [])
				const seen = ` seen ${random()}`
				if (place === 'Redis') await redis.client().set('k', `before ${form} after`)
				else if (place === 'Redis keys') await redis.client().set(`before ${form} after`, 'v')
				else await tell({ leak: { place, text: `before ${form} after${seen}` } })
				if (where !== 'Redis') await until(() => textOf(where).includes(seen))
				if (where === 'Redis') {
					for (const line of await redis.dump()) add(where, line)
					await redis.client().flushall()
				}
				assert.deepEqual(findCanaries(planted, textOf(where)), ['planted'], form)
			}
		})
})
