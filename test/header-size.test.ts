import assert from 'node:assert/strict'
import { type IncomingMessage, request } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { createBrowser } from '../dev/cookie-jar-browser.js'
import { BrokerError, requireSignedIn } from '../src/index.js'
import { answersOf, cookiesFor } from './support/answers.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const html = { accept: 'text/html' }

/** What a proxy takes of an answer's head by default: nginx's `proxy_buffer_size` on a small page. */
const limit = 4096

describe('the head of an answer has less than 4 KB', () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			secrets,
			logoutTargets: ['/', `/${'l'.repeat(900)}`],
			configure: (koa) => {
				const guard = requireSignedIn()
				const challenge = async () => {
					throw new BrokerError('ERR_INTERACTION_REQUIRED', 'The API wants more.', {
						claims,
						scopes: ['Mail.Read'],
					})
				}
				koa.use((ctx, next) => {
					// What many an application does on every request: its cookie comes on top.
					ctx.session.visits = (ctx.session.visits ?? 0) + 1
					return ctx.path === '/challenged' ? guard(ctx, challenge) : next()
				})
			},
		})
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	/** A challenge as Entra's documentation has it, and somewhat longer. */
	let claims = JSON.stringify({ access_token: { acrs: { essential: true, values: ['c1', 'c2', 'c3'] } } })
	const longest = `/${'p'.repeat(1023)}`

	async function ask(path: string, { method = 'GET', body = '', ...headers }: Record<string, string> = {}) {
		const { hostname, port } = new URL(app.origin)
		const answer = await new Promise<IncomingMessage>((resolve, reject) => {
			const sent = request({ host: hostname, port, path, method, headers, agent: false }, resolve)
			sent.once('error', reject).end(body)
		})
		answer.resume()
		const { rawHeaders, statusCode = 0, statusMessage = '' } = answer
		const bytes = rawHeaders.reduce(
			(sum, text) => sum + Buffer.byteLength(text) + 2,
			`HTTP/1.1 ${statusCode} ${statusMessage}\r\n\r\n`.length,
		)
		assert.ok(bytes < limit, `${method} ${path.slice(0, 40)} → ${statusCode}: ${bytes} bytes`)
		return { status: statusCode, headers: answer.headers, bytes }
	}

	/** Cookies as of unfinished sign-ins, as many as a request can bring. */
	async function unfinished(count: number): Promise<string> {
		const { headers } = await ask('/user/login')
		const name = /^(\S*msal-tx-\w+-)/.exec(
			headers['set-cookie']?.find((line) => line.includes('msal-tx')) ?? '',
		)?.[1]
		assert.ok(name)
		return Array.from(
			{ length: count },
			(_, i) => `${name}${String(i).padStart(16, 'x')}=${'v'.repeat(200)}`,
		).join('; ')
	}

	it('on every route, signed in or not, with 50 unfinished sign-ins in the jar too', async () => {
		const browser = createBrowser()
		await app.signIn(browser)
		const url = new URL(app.origin)
		const session = () => browser.jar.headerFor(url, { method: 'GET', crossSite: false, topLevel: true })
		const many = await unfinished(50)
		const form = { method: 'POST', 'content-type': 'application/x-www-form-urlencoded' }
		const seen: number[] = []
		for (const cookie of ['', many, session(), `${session()}; ${many}`]) {
			const sweep: [path: string, headers?: Record<string, string>][] = [
				['/user/login'],
				[`/user/login${longest}`],
				['/private/x', html],
				[`/private${longest}`.slice(0, 1024), html],
				['/private/x', { accept: 'application/json' }],
				['/challenged', html],
				[`/challenged?${'q'.repeat(990)}`, html],
				['/user/authorized'],
				['/user/authorized', { ...form, body: 'state=x&code=y' }],
				['/user/authorized', { ...form, ...html, body: 'state=x&error=access_denied' }],
				['/user/info'],
				['/user/photo'],
				['/user/photo', html],
				['/user/logout', { 'sec-fetch-site': 'cross-site' }],
				['/'],
			]
			for (const [path, headers = {}] of sweep)
				seen.push((await ask(path, { ...headers, ...(cookie !== '' && { cookie }) })).status)
		}
		assert.ok(seen.includes(200) && seen.includes(303) && seen.includes(401))
		assert.ok(
			seen.every((status) => status < 500),
			seen.join(' '),
		)
		const left = await ask(`/user/logout/${'l'.repeat(900)}`, { cookie: `${session()}; ${many}` })
		assert.match(left.headers.location ?? '', /logout_hint/)
		await browser.close()
	})

	it('in 50 sign-ins that one browser begins and does not finish, whose cookies stay under 8 KB', async () => {
		const browser = createBrowser()
		const url = new URL(app.origin)
		for (let i = 0; i < 50; i++) {
			const cookie = browser.jar.headerFor(url, { method: 'GET', crossSite: false, topLevel: true })
			assert.ok(cookie.length < 8192, `${cookie.length} bytes come`)
			const path = i % 3 === 2 ? longest : `/orders/${i}`
			const { headers } = await ask(`/user/login${path}`, { ...(cookie !== '' && { cookie }) })
			browser.jar.store(url, headers['set-cookie'] ?? [])
		}
		const held = browser.jar.cookies.filter(({ name }) => name.includes('msal-tx'))
		assert.ok(held.length > 0 && held.length <= 5, `${held.length} are kept`)
		await browser.close()
	})

	it('when one of five sign-ins is done, and the others start from its session', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		for (const path of [longest, '/orders', '/orders/2', longest, '/orders/3'])
			await answers.answerOf(browser, app, { path: `/user/login${path}` })
		const begun = () => browser.jar.cookies.filter(({ name }) => name.includes('msal-tx'))
		const before = begun()
		assert.ok(before.length >= 4, `${before.length} are under way`)
		const done = await answers.answerOf(browser, app, { path: '/user/login/done' })
		const body = new URLSearchParams(done).toString()
		const cookie = cookiesFor(browser, app)
		const form = { method: 'POST', 'content-type': 'application/x-www-form-urlencoded' }
		const { status, headers } = await ask('/user/authorized', { ...form, body, cookie })
		assert.deepEqual([status, headers.location], [303, '/done'])
		browser.jar.store(new URL(app.origin), headers['set-cookie'] ?? [])
		const kept = begun()
		assert.ok(kept.length >= 3, `${kept.length} go on`)
		for (const { value } of kept) assert.ok(!before.some((one) => one.value === value))
		await answers.close()
	})

	it('also when a challenge is so long that the page to come back to has to be forgotten', async () => {
		const browser = createBrowser()
		await app.signIn(browser)
		const values = Array.from({ length: 60 }, (_, i) => `c${i}`)
		claims = JSON.stringify({ access_token: { acrs: { essential: true, values } } })
		const path = `/challenged?${'q'.repeat(1000)}`
		const url = new URL(app.origin)
		const cookie = browser.jar.headerFor(url, { method: 'GET', crossSite: false, topLevel: true })
		const { headers } = await ask(path, { ...html, cookie })
		assert.equal(new URL(headers.location ?? '').searchParams.get('claims')?.includes('"c59"'), true)
		const page = await browser.follow(`${app.origin}${path}`)
		assert.deepEqual([page.status, page.url], [200, `${app.origin}/`])
		await browser.close()
	})
})
