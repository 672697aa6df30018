import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { launchChromium } from '../support/chromium.js'
import { type Demo, freePorts, startDemo } from './demo-process.js'

const screenshots = fileURLToPath(new URL('../../../test-output/screenshots/', import.meta.url))

describe('the demo, in a browser', { timeout: 150_000 }, () => {
	let demo: Demo
	let browser: Browser
	before(async () => {
		await mkdir(screenshots, { recursive: true })
		;[demo, browser] = await Promise.all([startDemo(await freePorts()), launchChromium()])
	})
	after(async () => {
		await browser?.close()
		await demo?.stop()
	})

	it('leads from the first page to a token and out again', async () => {
		const { context, complaints } = await visit(browser)
		const page = await context.newPage()
		await page.goto(demo.origin)
		assert.match(await page.locator('.banner').innerText(), /not by Microsoft/)
		await shoot(page, '1-welcome')

		await page.getByRole('link', { name: 'Sign in' }).click()
		await page.waitForURL(`${demo.pagesOrigin}/**`)
		await shoot(page, '2-account-picker')
		const photo = page.waitForResponse(`${demo.origin}/user/photo`)
		await page.getByRole('button', { name: 'Ada Lovelace' }).click()
		await page.waitForURL(`${demo.origin}/`)
		assert.equal(await heading(page), 'Ada Lovelace')
		assert.equal(await page.locator('.job').innerText(), 'Analyst')
		assert.equal(await outcome(page), 'hit')
		assert.deepEqual([(await photo).status(), (await photo).headers()['content-type']], [200, 'image/png'])
		await shoot(page, '3-signed-in')

		await press(page, 'Acquire again')
		assert.equal(await outcome(page), 'hit')
		await press(page, 'Force a refresh')
		assert.equal(await outcome(page), 'refreshed')
		await page.reload()
		assert.equal(await page.locator('tbody tr').count(), 2, 'a reload acquires nothing')
		await press(page, 'Ten at once')
		assert.match(
			await page.locator('.token').innerText(),
			/The other 9 joined it: the provider was asked once/,
		)
		await shoot(page, '4-refreshed')

		await page.getByRole('link', { name: 'Allow reading it' }).click()
		await page.getByText('User.Read.All').waitFor()
		await shoot(page, '5-consent')
		await page.getByRole('button', { name: 'Accept' }).click()
		await page.getByText('Charles Babbage').waitFor()
		assert.ok((await page.locator('.scopes code').allInnerTexts()).includes('User.Read.All'))
		await press(page, 'Force a refresh')
		await page.getByText('Charles Babbage').waitFor()
		assert.doesNotMatch(await page.content(), /eyJ[\w-]{10}/, 'no token is shown')
		await shoot(page, '6-manager')

		const logouts = page.waitForRequest((request) => request.url().includes('/logout?'))
		await page.getByRole('link', { name: 'Sign out' }).click()
		assert.match((await logouts).url(), /post_logout_redirect_uri=/)
		await page.waitForURL(`${demo.origin}/`)
		await page.getByRole('link', { name: 'Sign in' }).waitFor()
		await page.goBack()
		assert.doesNotMatch(await page.content(), /Ada Lovelace/)
		assert.deepEqual(complaints, [])
		await context.close()
	})

	it('lets two tabs sign in at the same time', async () => {
		const { context, complaints } = await visit(browser)
		const tabs = [await context.newPage(), await context.newPage()]
		await Promise.all(tabs.map((tab) => openPicker(tab, demo)))
		await Promise.all(
			tabs.map(async (tab) => {
				await tab.getByRole('button', { name: 'Grace Hopper' }).click()
				await tab.waitForURL(`${demo.origin}/`)
			}),
		)
		// The second sign-in ends the session of the first (B1): a photo that the first tab asked for as that
		// session, and that the demo reads after its end, is nobody's. From here on both have the second's.
		const refused = new RegExp(
			`^${demo.origin}/user/photo: 401$|status of 401 .*\\(${demo.origin}/user/photo\\)$`,
		)
		assert.deepEqual(
			complaints.splice(0).filter((complaint) => !refused.test(complaint)),
			[],
		)
		for (const tab of tabs) {
			await tab.reload()
			assert.equal(await heading(tab), 'Grace Hopper')
			await press(tab, 'Acquire again')
			assert.equal(await outcome(tab), 'hit')
		}
		assert.deepEqual(complaints, [])
		await context.close()
	})

	it('bears the reload and back buttons, and the same answer posted twice', async () => {
		const { context, complaints } = await visit(browser)
		const page = await context.newPage()
		const posted = page.waitForRequest(`${demo.origin}/user/authorized`)
		await signIn(page, demo, 'Ada Lovelace')
		await page.reload()
		assert.equal(await heading(page), 'Ada Lovelace')

		const answer = await context.request.post(`${demo.origin}/user/authorized`, {
			headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
			data: (await posted).postData() ?? '',
			maxRedirects: 0,
		})
		assert.deepEqual([answer.status(), answer.headers().location], [303, '/'])

		assert.deepEqual(complaints, [])

		// Back leads to the provider, which says that this sign-in is done.
		await page.goBack()
		await page.goForward()
		assert.equal(await heading(page), 'Ada Lovelace')
		await press(page, 'Force a refresh')
		assert.equal(await outcome(page), 'refreshed')
		await context.close()
	})

	it('needs no mouse', async () => {
		const { context, complaints } = await visit(browser)
		const page = await context.newPage()
		await page.goto(demo.origin)
		await tabTo(page, 'Sign in')
		await page.screenshot({ path: `${screenshots}7-focus.png` })
		await page.keyboard.press('Enter')
		await page.waitForURL(`${demo.pagesOrigin}/**`)
		await tabTo(page, 'Radia Perlman')
		await page.keyboard.press('Enter')
		await page.waitForURL(`${demo.origin}/`)
		await tabTo(page, 'Force a refresh')
		await page.keyboard.press('Enter')
		await page.locator('.reading .refreshed').waitFor()
		await tabTo(page, 'Sign out')
		await page.keyboard.press('Enter')
		await page.getByRole('heading', { name: 'Sign in, and watch' }).waitFor()
		assert.deepEqual(complaints, [])
		await context.close()
	})

	it('works without JavaScript', async () => {
		const { context, complaints } = await visit(browser, { javaScriptEnabled: false })
		const page = await context.newPage()
		await openPicker(page, demo)
		await page.getByRole('button', { name: 'Charles Babbage' }).click()
		// What posts the answer by itself is a script of the provider's.
		await page.getByRole('button', { name: 'Continue' }).click()
		await page.waitForURL(`${demo.origin}/`)
		await press(page, 'Force a refresh')
		assert.equal(await outcome(page), 'refreshed')
		assert.deepEqual(complaints, [])
		await context.close()
	})

	it('shows a guest, who has neither photo nor manager', async () => {
		const { context } = await visit(browser)
		const page = await context.newPage()
		const photo = page.waitForResponse(`${demo.origin}/user/photo`)
		await signIn(page, demo, 'Emmy Noether')
		assert.equal((await photo).status(), 404)
		assert.equal(await page.locator('.photo').innerText(), 'EN')
		assert.equal(await page.locator('.job').innerText(), 'No job title')
		await shoot(page, '8-guest')
		await context.close()
	})

	it('answers problems with a page and the right status', async () => {
		const { context } = await visit(browser)
		const page = await context.newPage()
		const missing = await page.goto(`${demo.origin}/nowhere`)
		assert.equal(missing?.status(), 404)
		await shoot(page, '9-not-found')

		await signIn(page, demo, 'Ada Lovelace')
		const forged = await context.request.post(`${demo.origin}/token/refresh`, {
			headers: { 'Sec-Fetch-Site': 'cross-site' },
		})
		assert.equal(forged.status(), 403)
		const foreign = await context.request.post(`${demo.origin}/token/refresh`, {
			headers: { Origin: 'https://evil.example' },
		})
		assert.equal(foreign.status(), 403)

		// Signed out in another tab.
		const other = await context.newPage()
		await other.goto(`${demo.origin}/user/logout`)
		const answered = page.waitForResponse((response) => response.request().method() === 'POST')
		await page.getByRole('button', { name: 'Acquire again' }).click()
		assert.equal((await answered).status(), 401)
		assert.equal(await heading(page), 'You are not signed in any more')
		await shoot(page, '10-signed-out')
		await context.close()
	})
})

async function openPicker(page: Page, { origin, pagesOrigin }: Demo): Promise<void> {
	await page.goto(origin)
	await page.getByRole('link', { name: 'Sign in' }).click()
	await page.waitForURL(`${pagesOrigin}/**`)
}

async function signIn(page: Page, demo: Demo, name: string): Promise<void> {
	await openPicker(page, demo)
	await page.getByRole('button', { name }).click()
	await page.waitForURL(`${demo.origin}/`)
}

function heading(page: Page): Promise<string> {
	return page.getByRole('heading', { level: 1 }).innerText()
}

/** Presses Tab until something with this text has the focus. */
async function tabTo(page: Page, text: string): Promise<void> {
	for (let i = 0; i < 30; i++) {
		await page.keyboard.press('Tab')
		if ((await page.locator(':focus').allInnerTexts()).some((focused) => focused.includes(text))) return
	}
	assert.fail(`the Tab key does not lead to “${text}”`)
}

/** A browser without cookies, and what it complains of. */
async function visit(
	browser: Browser,
	options: BrowserContextOptions = {},
): Promise<{ context: BrowserContext; complaints: string[] }> {
	const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
	context.setDefaultTimeout(10_000)
	const complaints: string[] = []
	context.on('console', (message) => {
		const { url } = message.location()
		// The provider's pages name no icon, and browsers look for one.
		if (url.endsWith('/favicon.ico') && !url.startsWith('http://localhost:')) return
		if (message.type() === 'error' || message.type() === 'warning')
			complaints.push(`${message.text()} (${url})`)
	})
	context.on('weberror', ({ error }) => complaints.push(String(error())))
	context.on('requestfailed', (request) => {
		const why = request.failure()?.errorText
		// A page's load event does not wait for its icon, so who leaves early has the browser drop that request.
		if (why === 'net::ERR_ABORTED' && request.url().endsWith('/icon.svg')) return
		complaints.push(`${request.url()}: ${why}`)
	})
	context.on('response', (response) => {
		if (response.status() >= 400) complaints.push(`${response.url()}: ${response.status()}`)
	})
	return { context, complaints }
}

async function outcome(page: Page): Promise<string> {
	return page.locator('.reading .badge').innerText()
}

/** Presses a button and waits for the page it leads to. */
async function press(page: Page, name: string): Promise<void> {
	const answered = page.waitForResponse((response) => response.request().method() === 'POST')
	await page.getByRole('button', { name, exact: true }).click()
	assert.equal((await answered).status(), 303)
	await page.waitForLoadState()
}

/** Pictures for people: light and dark, wide and as on a phone. */
async function shoot(page: Page, name: string): Promise<void> {
	const wide = page.viewportSize()
	for (const colorScheme of ['light', 'dark'] as const) {
		await page.emulateMedia({ colorScheme })
		await page.screenshot({ path: `${screenshots}${name}-${colorScheme}.png`, fullPage: true })
	}
	await page.emulateMedia({ colorScheme: 'light' })
	await page.setViewportSize({ width: 375, height: 720 })
	await page.screenshot({ path: `${screenshots}${name}-phone.png`, fullPage: true })
	if (wide) await page.setViewportSize(wide)
}
