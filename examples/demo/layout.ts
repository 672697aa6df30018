import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { type Html, html, trusted } from './html.js'
import { style } from './style.js'

/** What the pages say of where the demo runs. */
export interface Place {
	readonly origin: string
	/** The provider is the stand-in for development. */
	readonly standIn: boolean
	/** Tokens and sessions are in Redis, else in this process. */
	readonly redis: boolean
}

/** A page of the demo. */
export interface Page {
	readonly place: Place
	readonly title: string
	readonly main: Html
	/** Beside the name of the demo, on top. */
	readonly corner?: Html
}

/** A key on a ground of the accent colour. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="#4f46e5"/><path d="M12 9a7 7 0 1 0 6.3 10H20v3h3v-3h3v-4h-7.7A7 7 0 0 0 12 9Zm0 4.6a2.4 2.4 0 1 1 0 4.8 2.4 2.4 0 0 1 0-4.8Z" fill="#fff"/></svg>
`

/** Counts times down. Without it they are right when the page is sent, and then stand still. */
const script = `
for (const element of document.querySelectorAll('[data-until]')) {
	const show = () => {
		const seconds = Math.max(0, Math.round((element.dataset.until - Date.now()) / 1000))
		element.textContent = Math.floor(seconds / 60) + ' min ' + String(seconds % 60).padStart(2, '0') + ' s'
	}
	setInterval(show, 1000)
}
`

/** This one style and script, pictures and forms of this origin, nothing else. */
const policy = [
	"default-src 'none'",
	`style-src '${hash(style)}'`,
	`script-src '${hash(script)}'`,
	"img-src 'self'",
	"form-action 'self'",
	"base-uri 'none'",
	"frame-ancestors 'none'",
].join('; ')

/** Sends a page. Nothing of it may be kept: it is about the person who is signed in. */
export function show(ctx: Context, page: Page, status = 200): void {
	ctx.status = status
	ctx.set({
		'Cache-Control': 'no-store',
		'Content-Security-Policy': policy,
		'Referrer-Policy': 'no-referrer',
		'X-Content-Type-Options': 'nosniff',
	})
	ctx.type = 'html'
	ctx.body = layOut(page).html
}

function layOut({ place, title, main, corner }: Page): Html {
	return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · koa-msal demo</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<style>${trusted(style)}</style>
</head>
<body>
${place.standIn && html`<p class="banner"><strong>For development.</strong> Sign-in is by a stand-in on this machine, not by Microsoft.</p>`}
<header>
<a class="brand" href="/"><img src="/icon.svg" alt="" width="32" height="32"><span>koa-msal <small>demo</small></span></a>
${corner}
</header>
<main>
${main}
</main>
<script>${trusted(script)}</script>
</body>
</html>
`
}

function hash(text: string): string {
	return `sha256-${createHash('sha256').update(text).digest('base64')}`
}
