import type { Context } from 'koa'
import type { ErrorOut } from 'oidc-provider'
import { html, sendPage } from './layout.js'

/** What to do about the errors that a developer meets first. */
const ADVICE: Readonly<Record<string, string>> = {
	invalid_redirect_uri:
		'AADSTS50011: The redirect URI in the request does not match the ones configured for the application. Register it for this client; only the port of a loopback address may differ.',
	invalid_client: 'AADSTS700016: The application was not found in the directory. Compare its client id.',
	invalid_target: 'AADSTS500011: The resource was not found in the tenant. Compare the scope.',
	invalid_scope: 'AADSTS70011: A scope in the request is not valid.',
}

/** The page for an error that cannot be told to the application. */
export function renderErrorPage(ctx: Context, out: ErrorOut): void {
	const advice = ADVICE[out.error]
	sendPage(ctx, {
		title: 'Sign-in failed',
		main: html`
<h1>We cannot sign you in</h1>
<p class="alert" role="alert">${out.error_description ?? out.error}</p>
${advice ? html`<p>${advice}</p>` : ''}
<pre>${JSON.stringify(out, null, 2)}</pre>`,
	})
}
