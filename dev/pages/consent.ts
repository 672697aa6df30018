import type { Context } from 'koa'
import { html, sendPage } from './layout.js'

/** The page on which a person lets an application do what it asks for. */
export function renderConsentPage(
	ctx: Context,
	{ application, scopes }: { readonly application: string; readonly scopes: readonly string[] },
): void {
	sendPage(ctx, {
		title: 'Permissions requested',
		main: html`
<h1>Permissions requested</h1>
<p class="quiet">${application} would like to:</p>
<ul class="scopes">
${scopes.length > 0 ? scopes.map((scope) => html`<li><code>${scope}</code></li>`) : html`<li>Sign you in and read your profile</li>`}
</ul>
<form method="post" class="row">
<button class="primary">Accept</button>
<button class="secondary" name="cancel" value="1">Cancel</button>
</form>`,
	})
}
