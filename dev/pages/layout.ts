import type { Context } from 'koa'

/** HTML, as opposed to text that still has to be escaped. */
export interface Html {
	readonly html: string
}

/**
 * Tagged template for HTML: what is put in is escaped, unless it is HTML itself or a list of it.
 */
export function html(
	strings: TemplateStringsArray,
	...values: readonly (string | number | Html | readonly Html[] | undefined | false)[]
): Html {
	const written = values.map((value) => {
		if (value === undefined || value === false) return ''
		if (typeof value !== 'object') return escapeHtml(String(value))
		return 'html' in value ? value.html : value.map((part) => part.html).join('')
	})
	return { html: strings.map((text, i) => text + (written[i] ?? '')).join('') }
}

/** HTML from elsewhere, already safe. */
export function trusted(markup: string): Html {
	return { html: markup }
}

/** A page of the stand-in. */
export interface PageParts {
	readonly title: string
	readonly main: Html
	/** More of the content security policy, for instance `frame-src`. */
	readonly policy?: string
}

/** Sends a page. It loads nothing, works without JavaScript and says on top what it is. */
export function sendPage(ctx: Context, { title, main, policy = '' }: PageParts): void {
	ctx.type = 'html'
	ctx.set('cache-control', 'no-store')
	ctx.set('referrer-policy', 'no-referrer')
	ctx.set('x-content-type-options', 'nosniff')
	// No form-action: Chromium applies it to the redirect back to the application, too.
	const own = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
	ctx.set('content-security-policy', `${own}; ${policy}`)
	ctx.body = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Stand-in for development</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<p class="banner"><strong>Stand-in for development</strong> – not Microsoft. Nothing typed here leaves this machine.</p>
<main>
${main}
</main>
</body>
</html>
`.html
}

function escapeHtml(text: string): string {
	return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

const STYLE = `
:root {
	--ground: #f3f1ec; --card: #fffdf9; --ink: #24201b; --quiet: #635b50; --line: #ddd6c9;
	--accent: #0d6b5f; --on-accent: #fff; --hover: #eef5f2; --alert: #a3261d; --alert-ground: #fdeeeb;
	--banner: #ffd766; --on-banner: #3a2c00;
}
@media (prefers-color-scheme: dark) {
	:root {
		--ground: #171513; --card: #211e1b; --ink: #f1ece4; --quiet: #b5aa9b; --line: #3d3731;
		--accent: #5ec9b5; --on-accent: #06241f; --hover: #2a2f2b; --alert: #ff9d92; --alert-ground: #3a1f1c;
		--banner: #5c4600; --on-banner: #ffeab0;
	}
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
.banner { margin: 0; padding: .6rem 1rem; background: var(--banner); color: var(--on-banner); text-align: center; font-size: .9rem; }
main { width: min(30rem, 100% - 2rem); margin: 2.5rem auto; padding: 2rem; background: var(--card);
	border: 1px solid var(--line); border-radius: 1rem; box-shadow: 0 1px 3px #0001, 0 12px 32px #0001; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
p { margin: .25rem 0 1rem; }
.quiet { color: var(--quiet); }
ul { list-style: none; margin: 0; padding: 0; }
li + li { margin-top: .5rem; }
.scopes { margin: 1rem 0 1.5rem; border: 1px solid var(--line); border-radius: .65rem; }
.scopes li { margin: 0; padding: .6rem .9rem; overflow-wrap: anywhere; }
.scopes li + li { border-top: 1px solid var(--line); }
button { font: inherit; cursor: pointer; border-radius: .65rem; padding: .6rem 1.1rem; }
button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.person { display: flex; align-items: center; gap: .9rem; width: 100%; padding: .6rem .8rem; text-align: left;
	background: none; color: inherit; border: 1px solid var(--line); }
.person:hover { background: var(--hover); border-color: var(--accent); }
.person span { min-width: 0; overflow-wrap: anywhere; }
.person small { display: block; color: var(--quiet); }
.initials { flex: none; display: grid; place-items: center; width: 2.5rem; height: 2.5rem; border-radius: 50%;
	color: #fff; font-weight: 600; font-size: .9rem; }
label { display: block; margin-bottom: .35rem; font-weight: 600; }
input { width: 100%; font: inherit; color: inherit; padding: .6rem .8rem; background: var(--ground);
	border: 1px solid var(--quiet); border-radius: .65rem; }
input[aria-invalid=true] { border-color: var(--alert); }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .8rem; }
.primary { background: var(--accent); color: var(--on-accent); border: 1px solid var(--accent); font-weight: 600; }
.secondary { background: none; color: inherit; border: 1px solid var(--quiet); }
.primary:hover, .secondary:hover { filter: brightness(.93); }
.alert { margin: 0 0 .8rem; padding: .6rem .8rem; color: var(--alert); background: var(--alert-ground); border-radius: .65rem; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { margin: 1rem 0 0; padding: .8rem; background: var(--ground); border-radius: .65rem; }
hr { margin: 1.75rem 0 1.25rem; border: 0; border-top: 1px solid var(--line); }
`
