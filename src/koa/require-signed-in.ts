import type { Context, Middleware } from 'koa'
import { BrokerError } from '../errors.js'
import { loginOf, sendToProvider } from './login.js'
import { wantsPage } from './page.js'
import { answerError } from './refuse.js'
import { toLocalPath } from './return-to.js'

/**
 * Lets only people through who are signed in. A browser is sent to sign in and comes back to the same page; an
 * API client gets 401 and JSON. The same happens when something behind the guard finds that the session has
 * ended, or that the provider wants the person back: with the scopes and claims that it asked for.
 */
export function requireSignedIn(): Middleware {
	return async function requireSignedIn(ctx, next) {
		try {
			const { broker, session } = loginOf(ctx)
			if (!(await broker.isSignedIn(session(ctx))))
				throw new BrokerError('ERR_SIGNED_OUT', 'Nobody is signed in. Sign in first.')
			await next()
		} catch (error) {
			if (!isForThePerson(error)) throw error
			await challenge(ctx, error)
		}
	}
}

function isForThePerson(error: unknown): error is BrokerError {
	return (
		error instanceof BrokerError &&
		(error.code === 'ERR_SIGNED_OUT' || error.code === 'ERR_INTERACTION_REQUIRED')
	)
}

async function challenge(ctx: Context, error: BrokerError): Promise<void> {
	const login = loginOf(ctx)
	const navigates = (ctx.method === 'GET' || ctx.method === 'HEAD') && wantsPage(ctx)
	if (!navigates) return answerError(ctx, error, login)
	await sendToProvider(ctx, login, toLocalPath(ctx.originalUrl), {
		...(error.scopes && { extraScopesToConsent: error.scopes }),
		...(error.claims !== undefined && { claims: error.claims }),
	})
	ctx.set('Cache-Control', 'no-store')
}
