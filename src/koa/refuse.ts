import { randomUUID } from 'node:crypto'
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
 * was made for ours. What has a number is in the log under it; what is our side's fault gets one.
 */
export async function answerError(
	ctx: Context,
	error: BrokerError,
	{ settings: { onError, basePath }, path }: Pick<Login, 'settings' | 'path'>,
): Promise<void> {
	const unnamed = error.status >= 500 && error.correlationId === undefined
	const told = unnamed ? error.withCorrelationId(randomUUID()) : error
	if (onError !== 'page') ctx.remove('Content-Security-Policy')
	if (onError === 'throw') throw told
	if (onError !== 'page') {
		try {
			await onError(ctx, told)
		} catch (error) {
			// Koa takes these two for no error, and would never answer.
			throw error ?? new Error(`non-error thrown: ${error}`)
		}
		return
	}
	if (told.correlationId !== undefined) ctx.app.emit('error', told, ctx)
	refuse(ctx, told, path, `${basePath}/`)
}

/** Query of the sign-in's address that lets the person choose another account. */
export const otherAccount = 'prompt=select_account'

/** Answers an error: a small page for a person, JSON for an API client. */
function refuse(ctx: Context, error: BrokerError, loginPath: string, startPage: string): void {
	protect(ctx)
	ctx.set(error.headers)
	const { code, status, correlationId } = error
	const challenge = challengeOf(error)
	if (challenge !== undefined) ctx.set('WWW-Authenticate', challenge)
	const message = error.expose ? error.message : inGeneralWords(status)
	if (!wantsPage(ctx)) {
		ctx.status = status
		ctx.body = {
			error: code,
			message,
			...(status === 401 && { login: loginPath }),
			...(correlationId !== undefined && { correlationId }),
		}
		return
	}
	// The one such failure whose message is for the person is that of a sign-out, which is not to be tried again.
	const again = status === 503 && !error.expose ? 'Try again' : 'Sign in'
	const links = [
		// Who is signed in and may not do this gains nothing by being signed in again.
		...(code === 'ERR_FORBIDDEN' ? [] : [html`<a href="${loginPath}">${again}</a>`]),
		...(status === 403 ? [html`<a href="${loginPath}?${otherAccount}">Use another account</a>`] : []),
		html`<a class="plain" href="${startPage}">Go to the start page</a>`,
	]
	showPage(
		ctx,
		status,
		titles[code] ?? 'This did not work',
		html`<p>${message}</p>
<p>${links}</p>
<small>${code}</small>${
			correlationId === undefined
				? ''
				: html`
<small>If you ask for help, give this number: <code>${correlationId}</code></small>`
		}`,
	)
}

/** Characters of scopes in a header at most. */
const longestScopes = 512

/** RFC 6750, 3 and 3.1. An application's error may carry anything: what is no scope (RFC 6749, 3.3) is not named. */
function challengeOf({ status, scopes = [] }: BrokerError): string | undefined {
	if (status === 401) return 'Bearer'
	if (status !== 403 || scopes.length === 0) return undefined
	const scope = scopes.join(' ')
	const named = scope.length <= longestScopes && /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)
	return `Bearer error="insufficient_scope"${named ? `, scope="${scope}"` : ''}`
}

/** What goes wrong on our side is not for the person: its details are for the application's log. */
function inGeneralWords(status: number): string {
	if (status === 503) return 'The service is not available at the moment. Try again in a little while.'
	if (status === 403)
		return 'This application has not let you in. If you should have access, ask who runs it.'
	return 'Something went wrong on our side.'
}
