import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Browser } from '../../dev/cookie-jar-browser.js'
import { clientIds } from '../../dev/directory.js'
import { people } from '../../dev/people.js'
import { redisTokenStore } from '../../src/index.js'
import { createCookieSignatures } from '../../src/koa/cookie-signatures.js'
import type { Settings } from '../../src/settings.js'
import { answersOf, assertSignedIn, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { request } from '../support/session-application.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const secret = 'a test secret of more than 32 bytes: 0123456789'
const auth = { clientId: clientIds.web } as Settings['auth']
const signatures = createCookieSignatures({ secrets: [createSecretKey(Buffer.from(secret))], auth })

describe('cookies', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let answers: ReturnType<typeof answersOf>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, { secrets: [secret], store: redisTokenStore({ path: redis.path }) })
		answers = answersOf(world.standIn)
	})
	after(async () => {
		await app.close()
		await redis.stop()
		await world.close()
	})
	afterEach(() => answers.close())

	const sessionOf = (browser: Browser) => {
		const cookie = browser.jar.cookies.find(({ name }) => /^msal-[0-9a-f]{8}$/.test(name))
		assert.ok(cookie)
		return { name: cookie.name, value: cookie.value }
	}

	/** The answer to a request whose Cookie header is these very bytes. */
	const raw = (cookie: string, path = '/token') =>
		new Promise<string>((resolve, reject) => {
			const { port } = new URL(app.origin)
			let answer = ''
			const socket = connect(Number(port), 'localhost', () =>
				socket.write(
					`GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`,
					'latin1',
				),
			)
			socket.setEncoding('latin1')
			socket.on('data', (chunk) => {
				answer += chunk
			})
			socket.once('close', () => resolve(answer))
			socket.once('error', reject)
		})

	it('B2: of whatever bytes, signed or not, never name a key of another shape in Redis', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const { name, value } = sessionOf(browser)
		const [id = '', signature = ''] = value.split('.')
		const keys = await redis.client().keys('*')
		const random = () => randomBytes(32).toString('base64url')
		const odd = [
			'*',
			'?',
			'[a-z]*',
			'{}',
			'../',
			'..%2f..%2f',
			'\r\nX-Injected: 1',
			'\nSET a b',
			'\0',
			'%00',
			'%0d%0aFLUSHALL%0d%0a',
			'"',
			'é'.repeat(43),
			'a'.repeat(4096),
			'a'.repeat(42),
			'a'.repeat(44),
			`${id} `,
			`${id}=`,
			id.toUpperCase(),
			...keys,
			...keys.map((key) => key.split(':').at(-1) ?? ''),
			'__proto__',
			'constructor',
			'true',
			'null',
			'-1',
			random(),
		]
		const values = [
			...odd,
			...odd.map((one) => `${one}.${signature}`),
			...odd.map((one) => `${id}.${one}`),
			// Signed with our own secret: what they are called still decides.
			...odd.map((one) => `${one}.${signatures.sign(one)}`),
			...Array.from({ length: 20 }, () => `${random()}.${random()}`),
		]
		const monitor = await redis.monitor()
		for (const one of values) {
			const answer = await raw(`${name}=${one}`)
			assert.match(answer, /^HTTP\/1\.1 (401|400) /, JSON.stringify(one))
			assert.doesNotMatch(answer, /^x-injected|set-cookie:.*=[^;]/im, JSON.stringify(one))
		}
		assert.match(await raw(`${name}=${value}`), /^HTTP\/1\.1 200 /)
		const commands = await monitor.commands()
		monitor.stop()
		assert.ok(commands.length > 0)
		for (const [command, ...rest] of commands)
			for (const text of rest)
				assert.match(
					text,
					/^(koa-msal:[0-9a-f]{16}:[a-z]:\S{43,60}|\d+|[A-Za-z-]{1,20})$/,
					`${command} ${text}`,
				)
		const named = new Set(commands.flat().filter((text) => /:s:/.test(text)))
		for (const key of named) assert.match(key, /^koa-msal:[0-9a-f]{16}:s:[\w-]{43}$/)
		assert.ok(![...named].some((key) => key.includes(id)), 'and no id is a part of one')
	})

	it('B1, B6: a planted one is worth nothing after the sign-in, nor is any after the sign-out', async () => {
		const planted = await request(`${app.origin}/keep?value=x`)
		const [name = '', value = ''] = (planted.cookie ?? '').split('=')
		const keys = () => redis.client().keys('*:s:*')
		const before = await keys()
		const browser = answers.browser()
		const cookies = [planted.cookie ?? '']
		browser.jar.store(new URL(app.origin), [`${name}=${value}; Path=/; HttpOnly; SameSite=Lax`])
		for (let time = 0; time < 3; time++) {
			assertSignedIn(await deliver(browser, app, await answers.answerOf(browser, app)))
			cookies.push(`${name}=${sessionOf(browser).value}`)
		}
		assert.equal(new Set(cookies).size, 4, 'a new id each time')
		assert.equal((await keys()).length, before.length, 'and one key')
		assert.ok(!(await keys()).some((key) => before.includes(key) && before.length === 1))
		const newest = cookies.at(-1) as string
		for (const cookie of cookies)
			assert.equal((await request(`${app.origin}/token`, cookie)).status, cookie === newest ? 200 : 401)
		await request(`${app.origin}/user/logout`, newest)
		for (const cookie of cookies) {
			for (const path of ['/token', '/private'])
				assert.equal((await request(app.origin + path, cookie)).status, 401)
			assert.equal((await request(`${app.origin}/kept`, cookie)).text, '{"kept":null}')
		}
		assert.equal((await keys()).length, before.length - 1)
	})

	it('A19, B3, B14: after every route, and whatever it answers, no 307, and no cookie that may do more than it has to', async () => {
		const browser = app.browser()
		const statuses = new Map<string, number>()
		const visit = async (method: string, path: string, body?: string, cookie?: string) => {
			const response = await fetch(app.origin + path, {
				method,
				redirect: 'manual',
				headers: {
					...(cookie !== undefined && { cookie }),
					...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
				},
				...(body !== undefined && { body }),
			})
			statuses.set(`${method} ${path.slice(0, 40)}${cookie ? ' signed in' : ''}`, response.status)
			assert.ok(![307, 308].includes(response.status), `${method} ${path}`)
			if (method === 'POST' && response.headers.has('location')) assert.equal(response.status, 303)
			const named = response.headers.getSetCookie().some((line) => /msal-(tx-)?[0-9a-f]{8}/.test(line))
			const cached = response.headers.get('cache-control') ?? ''
			if (/^image/.test(response.headers.get('content-type') ?? '')) {
				assert.match(cached, /^private\b/)
				assert.match(response.headers.get('vary') ?? '', /\bCookie\b/i)
			} else if (named || cookie !== undefined) assert.equal(cached, 'no-store', `${method} ${path}`)
			for (const line of response.headers.getSetCookie()) assertSparing(line)
		}
		await app.signIn(browser)
		const { name, value } = sessionOf(browser)
		for (const { raw: line } of browser.setCookies) if (line.includes('msal')) assertSparing(line)
		const paths = [
			'/user/login',
			'/user/login/orders',
			'/user/authorized',
			'/user/info',
			'/user/photo',
			'/token',
			'/private',
			'/kept',
			'/user/nothing',
			'/user/logout',
		]
		for (const cookie of [undefined, `${name}=x`, `${name}=${value}`])
			for (const path of paths)
				for (const [method, body] of [
					['GET'],
					['HEAD'],
					['POST', 'state=x&code=y'],
					['PUT', 'a=b'],
					['DELETE'],
				] as const)
					if (path !== '/user/logout' || cookie !== `${name}=${value}`)
						await visit(method, path, body, cookie)
		await visit('POST', '/user/logout', '', `${name}=${value}`)
		assert.deepEqual([...new Set(statuses.values())].sort(), [200, 303, 400, 401, 405])
	})

	it('B4: no answer sets one of more than 4,096 bytes, nor many, and a browser full of ours sends little', async () => {
		const browser = app.browser()
		for (let time = 0; time < 50; time++)
			await browser.get(`${app.origin}/user/login/${'é'.repeat(time * 10)}`)
		await app.signIn(browser)
		for (const { raw: line } of browser.setCookies) assert.ok(line.length <= 4096, `${line.length} bytes`)
		await browser.get(`${app.origin}/user/login`)
		const own = browser.jar.cookies.filter((cookie) => cookie.name.includes('msal'))
		assert.ok(own.length <= 8, own.map((cookie) => cookie.name).join())
		const header = browser.jar.headerFor(new URL(app.origin), {
			method: 'GET',
			crossSite: false,
			topLevel: true,
		})
		assert.ok(header.length < 8192, `${header.length} bytes`)
		assert.equal(
			(await browser.get(`${app.origin}/token`)).json<{ username: string }>().username,
			people.ada.upn,
		)
	})

	it('A15, B13: what remains of sign-ins in Redis is small, and gone after 15 minutes', async () => {
		const client = redis.client()
		await client.flushall()
		for (let time = 0; time < 20; time++) {
			const browser = answers.browser()
			const answer = await answers.answerOf(browser, app)
			const refused = await deliver(browser, app, { ...answer, iss: 'https://evil.example' })
			assert.equal(refused.status, 400)
			if (time === 0) assertSignedIn(await deliver(browser, app, await answers.answerOf(browser, app)))
		}
		const keys = await client.keys('*')
		const marks = keys.filter((key) => key.includes(':u:'))
		assert.equal(marks.length, 21)
		assert.equal(keys.filter((key) => key.includes(':s:')).length, 1, 'one session')
		for (const key of marks) {
			const [lifetime, bytes] = [await client.pttl(key), await client.memory('USAGE', key)]
			assert.ok(lifetime > 0 && lifetime <= 15 * 60_000, `${lifetime} ms`)
			assert.ok((bytes ?? 0) <= 1024, `${bytes} bytes`)
		}
	})
})

describe('B5: signatures', () => {
	const source = (path: string) => readFileSync(join(root, path), 'utf8')

	it('are compared in constant time, in one place', () => {
		const text = source('src/koa/cookie-signatures.ts')
		assert.match(text, /timingSafeEqual\(known\.signature, given\)/)
		assert.match(text, /keygrip\.index\(id, signature\)/)
		// The length of a signature is no secret; nothing else of it is compared.
		const compared =
			text.match(/\b(signature|given)(\.\w+)?\s*[!=]==?|[!=]==?\s*(\w+\.)*(signature|given)\b(\.\w+)?/g) ?? []
		assert.ok(compared.length > 0)
		for (const one of compared) assert.match(one, /\.length/, one)
		assert.doesNotMatch(text, /\.(includes|startsWith|endsWith|indexOf|localeCompare)\((signature|given)\b/)
		const require = createRequire(import.meta.url)
		assert.match(
			readFileSync(require.resolve('keygrip'), 'utf8'),
			/compare\(digest, sign\(data, keys\[i\]\)\)/,
		)
		assert.match(
			readFileSync(createRequire(require.resolve('keygrip')).resolve('tsscmp'), 'utf8'),
			/timingSafeEqual|createHmac/,
		)
		const users = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
			(file) => file.endsWith('.ts') && /from 'keygrip'/.test(source(join('src', file))),
		)
		assert.deepEqual(users, [join('koa', 'cookie-signatures.ts')])
	})

	it('of another application, another purpose or a changed id are none', () => {
		const id = randomBytes(32).toString('base64url')
		const secrets = [createSecretKey(Buffer.from(secret))]
		const other = createCookieSignatures({
			secrets,
			auth: { clientId: clientIds.certificate } as Settings['auth'],
		})
		assert.equal(signatures.indexOf(id, signatures.sign(id)), 0)
		for (const [one, signature] of [
			[id, other.sign(id)],
			[`${id}a`, signatures.sign(id)],
			[id.slice(1), signatures.sign(id)],
			[id, ''],
			[id, 'x'.repeat(10_000)],
		] as const)
			assert.equal(signatures.indexOf(one, signature), -1)
	})
})

/** Sent to this host alone, out of reach of scripts, and across sites only where a sign-in needs it. */
function assertSparing(line: string): void {
	if (!/msal/.test(line)) return
	const [pair = '', ...attributes] = line.split('; ')
	const named = (name: string) => attributes.find((one) => one.toLowerCase().startsWith(name))
	assert.ok(pair.length <= 4096)
	assert.equal(named('domain'), undefined, line)
	assert.equal(named('path'), 'Path=/', line)
	assert.equal(named('httponly'), 'HttpOnly', line)
	const isTransaction = pair.includes('msal-tx-') || pair.includes('msal-rounds-')
	assert.equal(named('samesite'), isTransaction ? 'SameSite=None' : 'SameSite=Lax', line)
	if (isTransaction) {
		assert.ok(pair.startsWith('__Host-'), line)
		assert.equal(named('secure'), 'Secure', line)
		assert.ok(Number(named('max-age')?.split('=')[1]) <= 900, line)
	}
}
