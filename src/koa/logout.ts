import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import { ticketOf } from '../session.js'
import { isCrossSite } from './cross-site.js'
import { endLegacySessions } from './legacy-cookie.js'
import type { Login } from './login.js'
import { html, showPage } from './page.js'
import { returnToOf, toBrowserPath } from './return-to.js'
import { sessionAccess } from './session-access.js'
import { signedOutHere } from './signed-out-here.js'

/** Codes of a sign-out that the store is told of as soon as it can be. */
const later: ReadonlySet<string> = new Set(['ERR_STORE_UNAVAILABLE', 'ERR_OVERLOADED', 'ERR_WORKER_FAILED'])

/** It is done here, and is not to be tried again, which would sign the person in. */
function toldLater(error: unknown): never {
	throw error instanceof BrokerError && later.has(error.code) ? signedOutHere(error) : error
}

/** Ends the session, its tokens, and the provider's session. */
export async function logout(ctx: Context, login: Login): Promise<void> {
	const { broker, settings, session } = login
	const { basePath, paths, logoutTargets } = settings
	const toBrowser = (path: string) => toBrowserPath(basePath, path)
	const wanted = toBrowser(returnToOf(ctx, paths.logout))
	const target = logoutTargets.map(toBrowser).includes(wanted) ? wanted : toBrowser('/')
	const access = sessionAccess(ctx, session)
	const ticket = ticketOf(session(ctx))
	const crossSite = isCrossSite(ctx, settings)
	// A link or form on another site must not sign people out: they are asked. By GET, because with no-referrer an old
	// browser would send `Origin: null` with a POST, and be asked for ever.
	if (ticket && crossSite) {
		showPage(
			ctx,
			200,
			'Sign out?',
			html`<p>Another site sent you here to sign out.</p>
<form method="get" action="${toBrowser(paths.logout)}${target}"><button>Sign out</button> <a class="plain" href="${toBrowser('/')}">Stay signed in</a></form>`,
		)
		return
	}
	// First what the browser holds: it is gone even when the store can't be told. What an anonymous visitor has
	// (a basket, say) is not another site's to take.
	const dropped = crossSite ? [] : [access.drop(), endLegacySessions(ctx, login)]
	// Before the answer, and whether the session is there or not: a sign-in under way may have ended it already.
	const { presented } = access
	const ended = [
		broker.signOut({ msal: ticket }),
		presented !== undefined && !crossSite && login.marks.mark(presented),
	] as const
	const [[{ endSessionEndpoint }]] = await Promise.all([Promise.all(ended).catch(toldLater), ...dropped])
	ctx.status = 303
	ctx.set('Location', ticket && endSessionEndpoint ? endSessionUrl(endSessionEndpoint, target) : target)
	ctx.body = ''

	/** OpenID Connect RP-Initiated Logout 1.0; `logout_hint` spares people Entra's account picker. */
	function endSessionUrl(endpoint: string, path: string): string {
		const url = new URL(endpoint)
		url.searchParams.set('post_logout_redirect_uri', new URL(path, settings.auth.redirectUri).href)
		url.searchParams.set('client_id', settings.auth.clientId)
		if (ticket?.account.loginHint !== undefined) url.searchParams.set('logout_hint', ticket.account.loginHint)
		return url.href
	}
}
