import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { people } from '../../dev/people.js'
import { redisTokenStore } from '../../src/index.js'
import { type AnswerFields, answersOf, assertSignedIn, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { launchChromium } from '../support/chromium.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** Chromium, the application on localhost, the provider's pages on 127.0.0.1, and another site on evil.test. */
describe('in Chromium, with another site', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let chromium: Browser
	let context: BrowserContext
	let answers: ReturnType<typeof answersOf>
	/** What evil.test shows next. */
	let evilPage = ''
	const evil = createServer((_request, response) => {
		response.setHeader('content-type', 'text/html')
		response.end(`<!doctype html><title>evil</title>${evilPage}`)
	})
	let evilOrigin = ''
	before(async () => {
		await new Promise<void>((resolve) => evil.listen(0, '127.0.0.1', resolve))
		evilOrigin = `http://evil.test:${(evil.address() as AddressInfo).port}`
		;[world, redis, chromium] = await Promise.all([
			createWorld(),
			startRedis(),
			launchChromium(['evil.test']),
		])
		app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		answers = answersOf(world.standIn)
	})
	after(async () => {
		await chromium?.close()
		evil.closeAllConnections()
		evil.close()
		await app?.close()
		await redis?.stop()
		await world?.close()
	})
	afterEach(async () => {
		await context?.close()
		await answers.close()
	})

	async function visit(): Promise<Page> {
		context = await chromium.newContext()
		return context.newPage()
	}

	async function signIn(page: Page, name = 'Ada Lovelace', path = ''): Promise<void> {
		await page.goto(`${app.origin}/user/login${path}`)
		await choose(page, name)
	}

	async function choose(page: Page, name: string): Promise<void> {
		await page.getByRole('button', { name }).click()
		await page.waitForURL(`${app.origin}/**`)
	}

	/** Who is signed in, in this browser. */
	async function whoIs(): Promise<string | undefined> {
		const page = await context.newPage()
		try {
			const answered = await page.goto(`${app.origin}/token`)
			return answered?.status() === 200 ? (await answered.json()).username : undefined
		} finally {
			await page.close()
		}
	}

	const sessionCookie = async () =>
		(await context.cookies(app.origin)).find(({ name }) => /^msal-[0-9a-f]{8}$/.test(name))?.value

	const held = async () => (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[st]:/.test(line))

	const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;')

	function formOf(fields: AnswerFields, path = '/user/authorized'): string {
		const inputs = Object.entries(fields).map(
			([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`,
		)
		return `<form method="post" action="${app.origin}${path}">${inputs.join('')}</form><script>document.forms[0].submit()</script>`
	}

	/** Opens evil.test with a page, and waits for what becomes of it. */
	async function lure(page: Page, html: string, to = `${app.origin}/**`): Promise<number | undefined> {
		evilPage = html
		const answered = page.waitForResponse((response) => response.url().startsWith(app.origin))
		await page.goto(evilOrigin)
		const status = (await answered).status()
		await page.waitForURL(to)
		return status
	}

	/** The provider is not even asked about a code. */
	async function withoutTokenCall<T>(work: () => Promise<T>): Promise<T> {
		world.standIn.clearLog()
		const done = await work()
		assert.equal(world.standIn.count('token'), 0, 'no token call')
		return done
	}

	it('A3: the same form again leads to its page, and after the sign-out nowhere; a reload changes nothing', async () => {
		const page = await visit()
		const posted = page.waitForRequest(`${app.origin}/user/authorized`)
		await signIn(page, 'Ada Lovelace', '/orders')
		const fields = Object.fromEntries(new URLSearchParams((await posted).postData() ?? ''))
		assert.equal(page.url(), `${app.origin}/orders`)
		const [cookie, stored] = [await sessionCookie(), await held()]
		await page.reload()
		world.standIn.clearLog()
		assert.equal(await lure(page, formOf(fields), `${app.origin}/orders`), 303)
		await page.goBack()
		assert.equal(world.standIn.count('token'), 0)
		assert.deepEqual([await sessionCookie(), await held()], [cookie, stored])
		assert.equal(await whoIs(), people.ada.upn)

		await page.goto(`${app.origin}/user/logout`)
		await page.waitForURL(`${app.origin}/`)
		assert.equal(await lure(page, formOf(fields)), 400)
		assert.match(await page.content(), /ERR_LOGIN_REJECTED/)
		assert.equal(await sessionCookie(), undefined)
		assert.equal(await whoIs(), undefined)
	})

	it('A5: evil.test signs nobody in with an answer of its own, nor out', async () => {
		const page = await visit()
		const attacker = answers.browser()
		/** With a new answer each time, for which the provider is not asked. */
		const lureWithAnswer = async (on: Page) => {
			const planted = await answers.answerOf(attacker, app, { name: 'Grace Hopper' })
			return withoutTokenCall(() => lure(on, formOf(planted)))
		}
		assert.equal(await lureWithAnswer(page), 400)
		assert.equal(await whoIs(), undefined)

		// In the middle of a sign-in of one's own.
		await page.goto(`${app.origin}/user/login`)
		const other = await context.newPage()
		assert.equal(await lureWithAnswer(other), 400)
		assert.equal(await whoIs(), undefined)

		await signIn(page)
		const [cookie, stored] = [await sessionCookie(), await held()]
		assert.equal(await lureWithAnswer(other), 400)
		assert.match(await other.content(), /ERR_LOGIN_REJECTED/)
		assert.deepEqual([await sessionCookie(), await held()], [cookie, stored])

		// An answer that has counted already, in the attacker's own browser.
		const used = await answers.answerOf(attacker, app, { name: 'Grace Hopper' })
		assertSignedIn(await deliver(attacker, app, used))
		await withoutTokenCall(() => lure(other, formOf(used)))
		assert.equal(await whoIs(), people.ada.upn)
		assert.equal(await sessionCookie(), cookie)
	})

	it('A5: evil.test cannot begin a sign-in unseen and complete it with its own answer', async () => {
		const page = await visit()
		const planted = await answers.answerOf(answers.browser(), app, { name: 'Grace Hopper' })
		evilPage = `<img src="${app.origin}/user/login"><iframe src="${app.origin}/user/login"></iframe>`
		await page.goto(evilOrigin, { waitUntil: 'load' })
		assert.equal(await withoutTokenCall(() => lure(page, formOf(planted))), 400)
		assert.equal(await whoIs(), undefined)
	})

	for (const [first, second] of [
		[0, 1],
		[1, 0],
	] as const)
		it(`A13: two tabs sign in, tab ${first + 1} first`, async () => {
			const tabs = [await visit(), await context.newPage()] as const
			const before = (await held()).length
			await tabs[0].goto(`${app.origin}/user/login/first`)
			await tabs[1].goto(`${app.origin}/user/login/second`)
			await choose(tabs[first], 'Ada Lovelace')
			assert.equal(await whoIs(), people.ada.upn)
			await choose(tabs[second], 'Ada Lovelace')
			assert.equal(await whoIs(), people.ada.upn)
			assert.deepEqual(
				tabs.map((tab) => new URL(tab.url()).pathname),
				['/first', '/second'],
			)
			const left = (await context.cookies(app.origin)).filter(({ name }) => name.includes('msal-tx'))
			assert.deepEqual(left, [])
			assert.equal((await held()).length, before + 2, 'one session, with its tokens')
		})

	it('A13: the tab that cancels gets a page with a way to try again, and the other stays signed in', async () => {
		const tabs = [await visit(), await context.newPage()] as const
		for (const tab of tabs) await tab.goto(`${app.origin}/user/login`)
		await choose(tabs[0], 'Ada Lovelace')
		const cookie = await sessionCookie()
		await choose(tabs[1], 'Cancel')
		assert.match(await tabs[1].content(), /ERR_IDP_DENIED/)
		assert.equal(await whoIs(), people.ada.upn)
		assert.equal(await sessionCookie(), cookie)
		await tabs[1].getByRole('link', { name: 'Sign in' }).click()
		await tabs[1].waitForURL(/\/user\/login|127\.0\.0\.1|localhost/)
		assert.equal(await whoIs(), people.ada.upn)
	})

	it('B3: the browser keeps cookies as they are meant', async () => {
		const page = await visit()
		await page.goto(`${app.origin}/user/login`)
		const [transaction, ...more] = (await context.cookies(app.origin)).filter(({ name }) =>
			name.includes('msal-tx'),
		)
		assert.deepEqual(more, [])
		assert.ok(transaction)
		assert.match(transaction.name, /^__Host-/)
		assert.deepEqual(
			[transaction.secure, transaction.httpOnly, transaction.sameSite, transaction.path, transaction.domain],
			[true, true, 'None', '/', 'localhost'],
		)
		assert.ok(transaction.expires <= Date.now() / 1000 + 15 * 60 + 1, 'at most 15 minutes')
		await choose(page, 'Ada Lovelace')
		const [session, ...others] = (await context.cookies(app.origin)).filter(({ name }) =>
			name.includes('msal'),
		)
		assert.deepEqual(others, [], 'the transaction’s is gone')
		assert.deepEqual(
			[session?.httpOnly, session?.sameSite, session?.path, session?.domain, session?.expires],
			[true, 'Lax', '/', 'localhost', -1],
		)
		assert.equal(
			await page.evaluate(() => (globalThis as unknown as { document: { cookie: string } }).document.cookie),
			'',
		)
	})

	it('B9: evil.test signs nobody out, by whatever means, and the sign-out leads nowhere else', async () => {
		const page = await visit()
		await signIn(page)
		const [cookie, stored] = [await sessionCookie(), await held()]
		const logout = `${app.origin}/user/logout`
		for (const html of [
			`<img src="${logout}">`,
			`<iframe src="${logout}"></iframe>`,
			`<link rel="prefetch" href="${logout}"><script src="${logout}"></script>`,
			`<script>fetch('${logout}', { mode: 'no-cors', credentials: 'include' }).catch(() => {})</script>`,
			`<script>fetch('${logout}', { method: 'POST', mode: 'no-cors', credentials: 'include' }).catch(() => {})</script>`,
			`<iframe name="f"></iframe><form method="post" action="${logout}" target="f"></form><script>document.forms[0].submit()</script>`,
			`<script>navigator.sendBeacon('${logout}', 'x')</script>`,
		]) {
			evilPage = html
			const asked = page.waitForRequest((request) => request.url().startsWith(logout))
			await page.goto(evilOrigin)
			await (await asked).response()
			assert.deepEqual([await sessionCookie(), await held()], [cookie, stored], html)
			assert.equal(await whoIs(), people.ada.upn, html)
		}
		for (const html of [
			`<form method="post" action="${logout}"></form><script>document.forms[0].submit()</script>`,
			`<form method="get" action="${logout}"></form><script>document.forms[0].submit()</script>`,
			`<script>location = '${logout}'</script>`,
			`<meta http-equiv="refresh" content="0; url=${logout}//evil.test/">`,
			`<script>location = '${logout}/%2F%2Fevil.test%2F?post_logout_redirect_uri=http://evil.test/'</script>`,
		]) {
			await lure(page, html)
			assert.ok(page.url().startsWith(app.origin), page.url())
			assert.doesNotMatch(await page.content(), /evil\.test/)
			assert.equal(await whoIs(), people.ada.upn, html)
		}
		// A link that a person follows asks them; what they press then is their own.
		await lure(page, `<script>location = '${logout}'</script>`)
		assert.match(await page.content(), /Another site sent you here to sign out/)
		await page.getByRole('button', { name: 'Sign out' }).click()
		await page.waitForURL((url) => url.origin === app.origin && url.pathname === '/')
		assert.equal(await whoIs(), undefined)
		assert.equal((await held()).length, stored.length - 2, 'the session and its tokens are gone')
	})
})
