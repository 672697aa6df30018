import type { Context } from 'koa'
import { html, sendPage } from './layout.js'

/** The page after a sign-out that leads nowhere else. */
export function renderSignedOutPage(ctx: Context): void {
	sendPage(ctx, {
		title: 'Signed out',
		main: html`
<h1>You signed out of your account</h1>
<p class="quiet">You can close this window.</p>`,
	})
}
