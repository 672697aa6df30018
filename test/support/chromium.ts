import { type Browser, chromium, type Page } from 'playwright-core'
import { findProgram } from './programs.js'

/**
 * A Chromium without a window and without traffic of its own.
 * @param sites hosts, as `evil.test`, that it finds at 127.0.0.1: each is a site of its own to it, on any port
 */
export function launchChromium(sites: readonly string[] = []): Promise<Browser> {
	const executablePath = findProgram('chromium')
	const rules = sites.map((site) => `MAP ${site} 127.0.0.1`).join(', ')
	return chromium.launch({
		...(executablePath && { executablePath }),
		args: [
			'--no-sandbox',
			'--disable-gpu',
			'--disable-quic',
			'--no-first-run',
			'--disable-background-networking',
			'--disable-component-update',
			'--disable-sync',
			...(rules && [`--host-resolver-rules=${rules}`]),
		],
	})
}

/** A page, and what it did that a page of this library never does. */
export interface WatchedPage {
	readonly page: Page
	/** Dialogs, violations of a content security policy, errors on the console, requests to other origins. */
	readonly alarms: string[]
	close(): Promise<void>
}

/** @param origins what it may ask; every other request is stopped */
export async function openWatchedPage(browser: Browser, origins: readonly string[]): Promise<WatchedPage> {
	const context = await browser.newContext()
	const alarms: string[] = []
	await context.route('**/*', (route) => {
		const url = route.request().url()
		if (origins.includes(new URL(url).origin)) return route.continue()
		alarms.push(`request: ${url}`)
		return route.abort()
	})
	await context.exposeBinding('tellOfViolation', (_, what: string) => alarms.push(`policy: ${what}`))
	await context.addInitScript(
		`addEventListener('securitypolicyviolation', (event) =>
			tellOfViolation(event.violatedDirective + ' ' + event.blockedURI))`,
	)
	const page = await context.newPage()
	page.on('dialog', async (dialog) => {
		alarms.push(`dialog: ${dialog.message()}`)
		await dialog.dismiss()
	})
	page.on('pageerror', (error) => alarms.push(`error: ${error.message}`))
	page.on('console', (message) => {
		// A page of status 400 is what was wanted.
		if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
			alarms.push(`console: ${message.text()}`)
	})
	return { page, alarms, close: () => context.close() }
}
