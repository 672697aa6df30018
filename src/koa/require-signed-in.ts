import type { Context, Middleware } from 'koa'
import { BrokerError } from '../errors.js'
import { type Login, loginOf, sendToProvider } from './login.js'
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
		const login = loginOf(ctx)
		const { broker, session } = login
		const isSignedIn = await answering(ctx, login, () => broker.isSignedIn(session(ctx)))
		if (isSignedIn === 'answered') return
		try {
			if (!isSignedIn) throw new BrokerError('ERR_SIGNED_OUT', 'Nobody is signed in. Sign in first.')
			await next()
		} catch (error) {
			if (!isForThePerson(error)) throw error
			await answering(ctx, login, () => challenge(ctx, login, error))
		}
	}
}

function isForThePerson(error: unknown): error is BrokerError {
	return (
		error instanceof BrokerError &&
		(error.code === 'ERR_SIGNED_OUT' || error.code === 'ERR_INTERACTION_REQUIRED')
	)
}

/** Whatever goes wrong in the guard itself is answered as in the routes; what goes wrong behind it is not its own. */
async function answering<T>(ctx: Context, login: Login, work: () => Promise<T>): Promise<T | 'answered'> {
	try {
		return await work()
	} catch (error) {
		if (!(error instanceof BrokerError)) throw error
		await answerError(ctx, error, login)
		return 'answered'
	}
}

async function challenge(ctx: Context, login: Login, error: BrokerError): Promise<void> {
	const navigates = (ctx.method === 'GET' || ctx.method === 'HEAD') && wantsPage(ctx)
	if (!navigates) throw error
	await sendToProvider(ctx, login, toLocalPath(ctx.originalUrl), {
		...(error.scopes && { extraScopesToConsent: error.scopes }),
		...(error.claims !== undefined && { claims: error.claims }),
	})
	ctx.set('Cache-Control', 'no-store')
}
