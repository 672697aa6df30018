import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { html, sendPage, trusted } from './layout.js'

/** Waits for the frames, so that every application has heard of it. */
const SUBMIT = "addEventListener('load', () => document.forms[0].submit())"
const SUBMIT_HASH = createHash('sha256').update(SUBMIT).digest('base64')

/** Asks whether to sign out; the answer repeats the request, which then knows who is meant. */
export function renderSignOutPage(
	ctx: Context,
	{ name, fields }: { readonly name: string; readonly fields: Readonly<Record<string, string>> },
): void {
	sendPage(ctx, {
		title: 'Sign out',
		main: html`
<h1>Do you want to sign out?</h1>
<p class="quiet">You are signed in as ${name}. Close this window to stay signed in.</p>
<form method="get" class="row">
${Object.entries(fields).map(([field, value]) => html`<input type="hidden" name="${field}" value="${value}">`)}
<button class="primary">Sign out</button>
</form>`,
	})
}

/**
 * Signs out of every application in hidden frames and then here.
 * @param parts.form the provider's own form, which carries its protection against forgery
 */
export function renderSigningOutPage(
	ctx: Context,
	{ frames, form }: { readonly frames: readonly string[]; readonly form: string },
): void {
	const everywhere =
		'<input type="hidden" name="logout" value="yes"><noscript><button class="primary">Sign out</button></noscript></form>'
	sendPage(ctx, {
		title: 'Signing out',
		policy: `frame-src http: https:; script-src 'sha256-${SUBMIT_HASH}'`,
		main: html`
<h1>Signing you out…</h1>
<p class="quiet">Telling ${frames.length === 1 ? 'one application' : `${frames.length} applications`}.</p>
${frames.map((src) => html`<iframe hidden src="${src}"></iframe>`)}
${trusted(form.replace('</form>', everywhere))}
<script>${trusted(SUBMIT)}</script>`,
	})
}
