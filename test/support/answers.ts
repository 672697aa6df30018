import assert from 'node:assert/strict'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import type { EntraStandIn } from '../../dev/entra-stand-in.js'

/** The provider's answer to a sign-in: the fields of its form. */
export type AnswerFields = Readonly<Record<string, string>>

/** What the application says to it. */
export interface Delivered {
	readonly status: number
	readonly headers: Headers
	readonly text: string
	/** Set-Cookie lines. */
	readonly cookies: readonly string[]
}

/** What the application says of a sign-in that it refuses: a page, with a way to try again, and no session. */
export function assertRefused(delivered: Delivered, code: string, status = 400): void {
	assert.equal(delivered.status, status, delivered.text)
	assert.ok(delivered.text.includes(`<small>${code}</small>`), delivered.text)
	assert.match(delivered.text, /href="[^"]*\/login"/, 'a way to try again')
	assert.ok(delivered.text.length < 2048, 'a short page')
	assert.deepEqual(
		delivered.cookies.filter((line) => isSession(line) && !/^[^;]*=;/.test(line)),
		[],
		'no session',
	)
	assert.equal(delivered.headers.get('cache-control'), 'no-store')
}

/** A19: always 303, so that no browser posts the code on. */
export function assertSignedIn(delivered: Delivered, location = '/'): void {
	assert.deepEqual([delivered.status, delivered.headers.get('location')], [303, location], delivered.text)
}

/** Whether a cookie, or its Set-Cookie line, is a session's. */
export function isSession(cookie: string): boolean {
	return /^(__Host-|__Secure-)?msal-[0-9a-f]{8}=/.test(cookie)
}

/** Whether a cookie, or its Set-Cookie line, is that of a sign-in under way. */
export function isTransaction(cookie: string): boolean {
	return /^(__Host-|__Secure-)?msal-tx-/.test(cookie)
}

/** Browsers that stop in front of the application, with the provider's answer in hand. */
export function answersOf(standIn: EntraStandIn) {
	const browsers: Browser[] = []
	return {
		browser(): Browser {
			const browser = createBrowser({ origins: [standIn.pagesOrigin] })
			browsers.push(browser)
			return browser
		},
		/** Signs in at the provider and keeps its answer back. */
		async answerOf(
			browser: Browser,
			at: { readonly origin: string },
			{ name = 'Ada Lovelace', path = '/user/login' } = {},
		): Promise<AnswerFields> {
			let page = await browser.follow(at.origin + path)
			if (!page.form?.selfSubmitting) page = await browser.press(name)
			assert.ok(page.form?.fields.state, page.html)
			return page.form.fields
		},
		close: () => Promise.all(browsers.splice(0).map((browser) => browser.close())),
	}
}

/** The cookies that a form post from another site brings. */
export function cookiesFor(browser: Browser, at: { readonly origin: string }): string {
	return browser.jar.headerFor(new URL(at.origin), { method: 'POST', crossSite: true, topLevel: true })
}

/** Posts an answer as the provider's page does: from another site, so without Lax cookies. */
export async function deliver(
	browser: Browser,
	at: { readonly origin: string },
	fields: AnswerFields | string | readonly (readonly [string, string])[],
	headers: Readonly<Record<string, string>> = {},
): Promise<Delivered> {
	const url = new URL(`${at.origin}/user/authorized`)
	const response = await fetch(url, {
		method: 'POST',
		redirect: 'manual',
		headers: {
			'content-type': 'application/x-www-form-urlencoded',
			accept: 'text/html',
			cookie: cookiesFor(browser, at),
			...headers,
		},
		body:
			typeof fields === 'string' ? fields : new URLSearchParams(fields as Record<string, string>).toString(),
	})
	const cookies = response.headers.getSetCookie()
	browser.jar.store(url, cookies)
	return { status: response.status, headers: response.headers, text: await response.text(), cookies }
}
