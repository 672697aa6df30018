import type { Context } from 'koa'
import type { AuthorizationRequest } from '../authorization-request.js'
import type { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import type { SessionLike } from '../session.js'
import type { Settings } from '../settings.js'
import { sendToCanonicalOrigin } from './origin.js'
import { type SessionAccess, sessionAccessOf } from './session.js'
import type { createTransactions } from './transactions.js'

/** The parts that belong together in one application, for everything that signs people in. */
export interface Login {
	readonly broker: TokenBroker
	readonly settings: Settings
	readonly transactions: ReturnType<typeof createTransactions>
	/** `/user/login` */
	readonly path: string
	/** Ids of the groups that the person of a session is in, in lower case. */
	readonly groupsOf: (session: SessionLike) => Promise<ReadonlySet<string>>
}

const loginByRequest = new WeakMap<object, Login>()

/** Tells the guards of a request which routes it can be sent to. */
export function offerLogin(ctx: Context, login: Login): void {
	loginByRequest.set(ctx.req, login)
}

/** @throws ERR_CONFIG when this library's routes are not in front */
export function loginOf(ctx: Context): Login {
	const login = loginByRequest.get(ctx.req)
	if (!login)
		throw new BrokerError(
			'ERR_CONFIG',
			'A guard needs app.use(msalSession) and app.use(msalRoutes) before it.',
		)
	return login
}

/** @throws ERR_CONFIG when the session middleware is not in front */
export function requireSessionAccess(ctx: Context): SessionAccess {
	const access = sessionAccessOf(ctx)
	if (!access)
		throw new BrokerError('ERR_CONFIG', 'app.use(msalSession) has to come before app.use(msalRoutes).')
	return access
}

/**
 * Sends the browser to the provider, remembering where it was going; by way of the redirect URI's origin, when it
 * is elsewhere. RFC 9700, 4.12: 303, never 307.
 */
export async function sendToProvider(
	ctx: Context,
	{ broker, settings, transactions }: Login,
	returnTo: string,
	request: AuthorizationRequest = {},
): Promise<void> {
	const { id } = requireSessionAccess(ctx)
	if (sendToCanonicalOrigin(ctx, settings)) return
	const { url, transaction } = await broker.getAuthCodeUrl({
		...request,
		returnTo,
		session: ctx.session,
		...(id !== undefined && { sessionId: id }),
	})
	transactions.begin(ctx, transaction)
	ctx.status = 303
	ctx.set('Location', url)
	ctx.body = ''
}
