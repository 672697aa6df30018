import type { Context } from 'koa'
import type { BrokerError, BrokerErrorCode } from '../errors.js'
import type { Login } from './login.js'
import { html, protect, showPage, wantsPage } from './page.js'

const titles: Partial<Record<BrokerErrorCode, string>> = {
	ERR_LOGIN_REJECTED: 'You are not signed in',
	ERR_IDP_DENIED: 'Nothing has changed',
	ERR_INTERACTION_REQUIRED: 'Please sign in',
	ERR_SIGNED_OUT: 'Please sign in',
	ERR_FORBIDDEN: 'You may not open this page',
	ERR_BAD_REQUEST: 'This request cannot be answered',
	ERR_NOT_FOUND: 'Not found',
}

/**
 * Answers an error of the routes or a guard as `onError` wants it. The page of the application needs no policy that
 * was made for ours.
 */
export async function answerError(
	ctx: Context,
	error: BrokerError,
	{ settings: { onError, basePath }, path }: Login,
): Promise<void> {
	if (onError !== 'page') ctx.remove('Content-Security-Policy')
	if (onError === 'throw') throw error
	if (onError !== 'page') return void (await onError(ctx, error))
	if (error.status >= 500) ctx.app.emit('error', error, ctx)
	refuse(ctx, error, path, `${basePath}/`)
}

/** Answers an error: a small page for a person, JSON for an API client. */
function refuse(ctx: Context, error: BrokerError, loginPath: string, startPage: string): void {
	protect(ctx)
	ctx.set(error.headers)
	if (error.status === 401) ctx.set('WWW-Authenticate', 'Bearer')
	// What goes wrong on our side is told in general words; its details are for the application's log.
	const message = error.expose
		? error.message
		: error.status === 503
			? 'The service is not available at the moment. Try again in a little while.'
			: 'Something went wrong on our side.'
	if (!wantsPage(ctx)) {
		ctx.status = error.status
		ctx.body = { error: error.code, message, ...(error.status === 401 && { login: loginPath }) }
		return
	}
	const title = titles[error.code] ?? 'This did not work'
	showPage(
		ctx,
		error.status,
		title,
		html`<p>${message}</p>
<p><a href="${loginPath}">${error.status === 503 ? 'Try again' : 'Sign in'}</a> <a class="plain" href="${startPage}">Go to the start page</a></p>
<small>${error.code}</small>`,
	)
}
