import type { Context } from 'koa'
import type { AuthorizationRequest } from '../authorization-request.js'
import { loginOf, sendToProvider } from './login.js'
import { toLocalPath } from './return-to.js'

/**
 * Sends the browser to sign in from a route of the application's own, asking for more, or otherwise, than
 * `/user/login` does. Who is signed in already keeps their tokens: so more can be consented to when it is needed.
 *
 * @example
 * ```js
 * router.get('/connect-mail', (ctx) => startSignIn(ctx, { extraScopesToConsent: ['Mail.Read'], returnTo: '/mail' }))
 * ```
 * @param request `returnTo`: a local path to go to afterwards, default `/`
 * @throws ERR_BAD_REQUEST the request is malformed; ERR_CONFIG `msalSession` and `msalRoutes` are not in front;
 * ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL when the authority's metadata can't be had
 */
export async function startSignIn(
	ctx: Context,
	{ returnTo, ...request }: AuthorizationRequest & { readonly returnTo?: string } = {},
): Promise<void> {
	await sendToProvider(ctx, loginOf(ctx), toLocalPath(returnTo), request)
}
