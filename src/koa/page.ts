import { createHash } from 'node:crypto'
import type { Context } from 'koa'

const style = `
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}
main{max-width:34rem;padding:2rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}
a,button{font:inherit;display:inline-block;margin:.5rem .75rem .5rem 0;padding:.55rem 1.1rem;border-radius:.4rem;border:1px solid #1d4ed8;background:#1d4ed8;color:#fff;text-decoration:none;cursor:pointer}
a.plain{background:none;color:inherit;border-color:currentColor}
:focus-visible{outline:3px solid #f59e0b;outline-offset:2px}
small{display:block;margin-top:1.5rem;opacity:.75}
`

/** Nothing but this one style: no script, no frame, no other origin. */
const policy = [
	"default-src 'none'",
	`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
	"base-uri 'none'",
	"frame-ancestors 'none'",
].join('; ')

/** Headers of every answer of this library's. */
export const protection: Readonly<Record<string, string>> = {
	'Cache-Control': 'no-store',
	'Content-Security-Policy': policy,
	'X-Content-Type-Options': 'nosniff',
	'X-Frame-Options': 'DENY',
	'Referrer-Policy': 'no-referrer',
}

const protectedRequests = new WeakSet<object>()

/** Sets them, and remembers that the answer is ours: an error would take them off again. */
export function protect(ctx: Context): void {
	ctx.set(protection)
	protectedRequests.add(ctx.req)
}

export function isProtected(ctx: Context): boolean {
	return protectedRequests.has(ctx.req)
}

/** Text that has been escaped, or was written here. */
export interface Html {
	readonly html: string
}

/** A template whose values are escaped. */
export function html(
	parts: TemplateStringsArray,
	...values: readonly (string | Html | readonly Html[])[]
): Html {
	const text = parts.reduce((before, part, i) => {
		const value = values[i - 1] ?? ''
		const pieces = typeof value === 'string' ? [{ html: escapeHtml(value) }] : [value].flat()
		return before + pieces.map((piece) => piece.html).join(' ') + part
	})
	return { html: text }
}

function escapeHtml(text: string): string {
	return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** Answers with a small page. */
export function showPage(ctx: Context, status: number, title: string, content: Html): void {
	protect(ctx)
	ctx.status = status
	ctx.type = 'html'
	ctx.body = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>
${content.html}
</main></body>
</html>
`
}

/** Whether a person looks at the answer: browsers name HTML when they navigate, API clients don't. */
export function wantsPage(ctx: Context): boolean {
	return /\btext\/html\b/i.test(ctx.get('Accept'))
}

/** Whether it can be sent elsewhere and come back: what another method has sent would be lost on the way. */
export function navigates(ctx: Context): boolean {
	return (ctx.method === 'GET' || ctx.method === 'HEAD') && wantsPage(ctx)
}
