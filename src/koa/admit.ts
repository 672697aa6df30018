import { randomUUID } from 'node:crypto'
import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import type { SignedInAccount } from '../wire.js'
import type { Login } from './login.js'
import { signedIn } from './signed-in.js'

/**
 * Asks the application's own hooks, one after the other, whether somebody who has proved who they are may come in.
 * @throws ERR_LOGIN_REJECTED with status 403, or the hook's own 503
 */
export async function admit(ctx: Context, login: Login, account: SignedInAccount): Promise<void> {
	try {
		for (const hook of login.settings.onSignedIn) await hook(signedIn(ctx, login, account))
	} catch (cause) {
		throw refusal(cause)
	}
}

/** The application's own refusal is for the person; what else a hook throws is for the log. */
function refusal(cause: unknown): BrokerError {
	const id = randomUUID()
	if (cause instanceof BrokerError && cause.status === 503) return cause.withCorrelationId(id)
	const own = cause instanceof BrokerError && /^ERR_(FORBIDDEN|LOGIN_REJECTED)$/.test(cause.code)
	const refused = new BrokerError(
		'ERR_LOGIN_REJECTED',
		own ? cause.message : 'A function of onSignedIn has refused a sign-in.',
		{ status: 403, expose: own, cause },
	).withCorrelationId(id)
	// Koa's own log prints the stack alone.
	if (cause instanceof Error) refused.stack += `\n  caused by ${cause.stack}`
	return refused
}
