import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Browser, createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { BrokerError } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

describe('a sign-in that fails (html_wrap, html_table)', () => {
	let world: World
	let app: Application
	let browser: Browser
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
		browser = createBrowser()
	})
	after(async () => {
		await browser.close()
		await app.close()
		await world.close()
	})
	afterEach(() => {
		world.standIn.clearFaults()
		browser.jar.clear()
		app.errors.length = 0
	})

	/** The number that a page shows, and the one error event that goes with it. */
	function correlated(page: Page): { readonly id: string; readonly error: BrokerError } {
		const id = /<code>([^<]*)<\/code>/.exec(page.html)?.[1] ?? ''
		assert.match(id, uuid)
		const [error, ...more] = app.errors
		assert.ok(error instanceof BrokerError)
		assert.deepEqual(more, [], 'one event')
		assert.equal(error.correlationId, id)
		assert.ok(error.stack?.includes(id), 'whoever prints the stack prints the number')
		return { id, error }
	}

	it('shows a number that the application’s log has, and the provider’s', async () => {
		world.standIn.clearLog()
		world.standIn.inject({ grant: 'authorization_code', error: { error: 'invalid_grant', code: 54005 } })
		const page = await app.signIn(browser)
		assert.equal(page.status, 400)
		const { id, error } = correlated(page)
		assert.equal(error.code, 'ERR_LOGIN_REJECTED')
		const [call] = world.standIn.log.filter(({ kind }) => kind === 'token')
		assert.equal(call?.correlationId, id)
		world.standIn.inject({ grant: 'authorization_code', error: { error: 'invalid_grant', code: 54005 } })
		browser.jar.clear()
		app.errors.length = 0
		assert.notEqual(correlated(await app.signIn(browser)).id, id, 'each its own')
	})

	it('says what to do next, and tells details of our side to the log alone', async () => {
		world.standIn.inject({ grant: 'authorization_code', status: 500, times: 5 })
		const page = await app.signIn(browser)
		assert.equal(page.status, 503)
		const { error } = correlated(page)
		assert.match(error.message, /answered 500/)
		// The number of the failure may well have one in it.
		assert.ok(!page.html.replaceAll(error.correlationId ?? '', '').includes('500'))
		assert.match(page.html, /<a href="\/user\/login">Try again<\/a>/)
		assert.match(page.html, /<a class="plain" href="\/">/)
	})

	it('is told with the number when the person has cancelled, and lets them use another account', async () => {
		await browser.follow(`${app.origin}/user/login`)
		const page = await browser.press('Cancel')
		assert.equal(page.status, 403)
		assert.equal(correlated(page).error.code, 'ERR_IDP_DENIED')
		assert.match(page.html, /<a href="\/user\/login\?prompt=select_account">Use another account<\/a>/)
		const asked = await browser.get(`${app.origin}/user/login?prompt=select_account`)
		assert.equal(new URL(asked.headers.get('location') ?? '').searchParams.get('prompt'), 'select_account')
		for (const more of ['?prompt=none', '?prompt=select_account&login_hint=x', '/x?prompt=select_account']) {
			const other = await browser.get(`${app.origin}/user/login${more}`)
			assert.equal(new URL(other.headers.get('location') ?? '').searchParams.get('prompt'), null, more)
		}
	})

	it('has a number before the provider was ever reached, in JSON too', async () => {
		const fresh = await createApplication(world)
		try {
			for (const accept of ['text/html', 'application/json']) {
				fresh.errors.length = 0
				world.standIn.inject({ on: 'discovery', drop: true })
				const page = await browser.get(`${fresh.origin}/user/login`, { accept })
				assert.equal(page.status, 503)
				const [error] = fresh.errors as BrokerError[]
				assert.match(error?.correlationId ?? '', uuid)
				if (accept === 'text/html') assert.ok(page.html.includes(error?.correlationId as string))
				else assert.equal(page.json<{ correlationId: string }>().correlationId, error?.correlationId)
			}
		} finally {
			await fresh.close()
		}
	})

	it('has none when the answer belongs to no sign-in: whoever makes one up writes in no log', async () => {
		const page = await browser.post(`${app.origin}/user/authorized`, { state: 'x', code: 'y' })
		assert.equal(page.status, 400)
		assert.ok(!page.html.includes('<code>'))
		assert.deepEqual(app.errors, [])
	})
})
