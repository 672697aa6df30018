import { Agent, fetch, type RequestInit } from 'undici'
import { type CookieJar, createCookieJar, type SetCookie } from './cookie-jar.js'
import { type Form, parseForms, parseFrames } from './html-forms.js'

export type { Cookie, CookieJar, SetCookie } from './cookie-jar.js'
export type { Button, Form } from './html-forms.js'

/** What a browser is given. */
export interface BrowserOptions {
	/** Certificate authority (PEM) to trust besides nothing else. Default: the system's. */
	readonly ca?: string
	/**
	 * Origins the browser may visit. It stops in front of any other (`page.left`, or a page whose form is not yet
	 * submitted), so that a test can look at what would have been sent. Default: every loopback origin.
	 */
	readonly origins?: readonly string[]
	/** Sent with every request, for instance `accept-language`. */
	readonly headers?: Readonly<Record<string, string>>
}

/** An answer, and what a person would see of it. */
export interface Page {
	readonly status: number
	readonly headers: Headers
	/** Where the browser is: the address of the last answer. */
	readonly url: string
	readonly html: string
	/** The page's first form. */
	readonly form?: Form
	readonly forms: readonly Form[]
	/** The addresses of the page's frames. */
	readonly frames: readonly string[]
	/** The address the browser was sent to and did not visit, because its origin is not among `origins`. */
	readonly left?: string
	/** The body as JSON. */
	json<T = unknown>(): T
}

/** A browser for tests. */
export interface Browser {
	readonly jar: CookieJar
	/** Every `Set-Cookie` header seen, in order. */
	readonly setCookies: readonly SetCookie[]
	/** One GET, as if the address was typed: no redirect is followed. */
	get(url: string, headers?: Readonly<Record<string, string>>): Promise<Page>
	/** One form-encoded POST from the same site: no redirect is followed. */
	post(url: string, fields: Readonly<Record<string, string>>): Promise<Page>
	/** GET, then redirects, frames and self-submitting forms, until a page waits for a person. */
	follow(url: string): Promise<Page>
	/** Submits a form of the current page, with `fields` over its own, and follows as `follow` does. */
	submit(form: Form | undefined, fields?: Readonly<Record<string, string>>): Promise<Page>
	/** Presses the button of the current page whose text contains `text`, and follows. */
	press(text: string, fields?: Readonly<Record<string, string>>): Promise<Page>
	/** Closes its connections. */
	close(): Promise<void>
}

const LOOPBACK = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/
const MOST_STEPS = 25

interface Visit {
	readonly url: string
	readonly method: 'GET' | 'POST'
	readonly fields?: Readonly<Record<string, string>>
	/** Address of the page that causes the visit; `undefined` when typed. */
	readonly initiator?: string | undefined
	/** Whether it fills a frame of the page instead of the window. */
	readonly inFrame?: boolean
}

/**
 * The smallest honest browser: a cookie jar, redirects, frames, and forms that submit themselves. It runs no script.
 *
 * ```ts
 * const browser = createBrowser({ ca: standIn.ca })
 * const signIn = await browser.follow(`${app}/login`)      // the account picker
 * const home = await browser.press('Ada Lovelace')         // form_post to the app, and back home
 * ```
 */
export function createBrowser(options: BrowserOptions = {}): Browser {
	const jar = createCookieJar()
	const agent = new Agent(options.ca ? { connect: { ca: options.ca } } : {})
	let current: Page | undefined

	const allowed = (url: string) => {
		const { origin } = new URL(url)
		return options.origins ? options.origins.includes(origin) : LOOPBACK.test(origin)
	}

	async function visit(
		{ url, method, fields, initiator, inFrame }: Visit,
		extra?: Readonly<Record<string, string>>,
	) {
		const target = new URL(url)
		const crossSite = initiator !== undefined && new URL(initiator).hostname !== target.hostname
		const cookie = jar.headerFor(target, { method, crossSite, topLevel: !inFrame })
		const init: RequestInit = {
			method,
			redirect: 'manual',
			dispatcher: agent,
			headers: {
				accept: 'text/html,*/*;q=0.8',
				...options.headers,
				...(cookie && { cookie }),
				...(method === 'POST' && { origin: new URL(initiator ?? url).origin }),
				...extra,
			},
		}
		if (fields) init.body = new URLSearchParams(fields)
		const response = await fetch(target, init)
		jar.store(target, response.headers.getSetCookie())
		const page = describePage(
			response.status,
			response.headers as unknown as Headers,
			target.href,
			await response.text(),
		)
		current = page
		return page
	}

	async function wander(first: Visit): Promise<Page> {
		let next = first
		for (let step = 0; step < MOST_STEPS; step++) {
			const page = await visit(next)
			for (const frame of page.frames) {
				if (allowed(frame)) await visit({ url: frame, method: 'GET', initiator: page.url, inFrame: true })
			}
			current = page
			const onward = nextVisit(page, next)
			if (!onward) return page
			if (!allowed(onward.url)) {
				current = isRedirect(page.status) ? { ...page, left: onward.url } : page
				return current
			}
			next = onward
		}
		throw new Error(`More than ${MOST_STEPS} redirects, last to ${next.url}`)
	}

	return {
		jar,
		setCookies: jar.seen,
		get: (url, headers) => visit({ url, method: 'GET' }, headers),
		post: (url, fields) => visit({ url, method: 'POST', fields }),
		follow: (url) => wander({ url, method: 'GET' }),
		async submit(form, fields) {
			if (!form)
				throw new Error(
					`No form to submit on ${current?.url ?? 'a page not yet opened'}: ${current?.html.slice(0, 500)}`,
				)
			return wander(submission(form, { ...form.fields, ...fields }, current?.url))
		},
		async press(text, fields) {
			for (const form of current?.forms ?? []) {
				const button = form.buttons.find((candidate) => candidate.text.includes(text))
				if (!button) continue
				const pressed = button.name ? { [button.name]: button.value } : {}
				return wander(submission(form, { ...form.fields, ...pressed, ...fields }, current?.url))
			}
			throw new Error(
				`No button "${text}" on ${current?.url ?? 'a page not yet opened'}: ${current?.html.slice(0, 500)}`,
			)
		},
		close: () => agent.close(),
	}
}

/** Where a browser goes by itself from `page`: by redirect, or by a form that submits itself. */
function nextVisit(page: Page, visit: Visit): Visit | undefined {
	const location = page.headers.get('location')
	if (isRedirect(page.status) && location !== null) {
		const url = new URL(location, page.url).href
		const keepsMethod = page.status === 307 || page.status === 308
		// A redirect keeps the initiator: a chain that began on another site stays cross-site.
		return keepsMethod ? { ...visit, url } : { url, method: 'GET', initiator: visit.initiator }
	}
	return page.form?.selfSubmitting ? submission(page.form, page.form.fields, page.url) : undefined
}

function submission(
	form: Form,
	fields: Readonly<Record<string, string>>,
	initiator: string | undefined,
): Visit {
	if (form.method === 'POST') return { url: form.action, method: 'POST', fields, initiator }
	const url = new URL(form.action)
	url.search = new URLSearchParams(fields).toString()
	return { url: url.href, method: 'GET', initiator }
}

function isRedirect(status: number): boolean {
	return [301, 302, 303, 307, 308].includes(status)
}

function describePage(status: number, headers: Headers, url: string, html: string): Page {
	const isHtml = headers.get('content-type')?.includes('html') ?? false
	const forms = isHtml ? parseForms(html, url) : []
	const [form] = forms
	return {
		status,
		headers,
		url,
		html,
		...(form && { form }),
		forms,
		frames: isHtml ? parseFrames(html, url) : [],
		json: <T>() => JSON.parse(html) as T,
	}
}
