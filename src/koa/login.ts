import type { Context } from 'koa'
import type { AuthorizationRequest } from '../authorization-request.js'
import type { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import type { SessionLike } from '../session.js'
import type { Settings } from '../settings.js'
import { sendToCanonicalOrigin } from './origin.js'
import { protect } from './page.js'
import { toBrowserPath } from './return-to.js'
import { type SelectSession, sessionAccess } from './session-access.js'
import type { SignOutMarks } from './sign-out-marks.js'
import type { createTransactions } from './transactions.js'

/** The parts that belong together in one application, for everything that signs people in. */
export interface Login {
	readonly broker: TokenBroker
	readonly settings: Settings
	readonly transactions: ReturnType<typeof createTransactions>
	readonly marks: SignOutMarks
	/** Which object is the session of a request. */
	readonly session: SelectSession
	/** `/user/login`, as the browser sees it. */
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

/**
 * Sends the browser to the provider, remembering where it was going; by way of the redirect URI's origin, when it
 * is elsewhere. RFC 9700, 4.12: 303, never 307.
 * @param returnTo a local path, as the application sees it
 * @param round which one in a row it is, when a guard sends the browser
 */
export async function sendToProvider(
	ctx: Context,
	{ broker, settings, transactions, session }: Login,
	returnTo: string,
	request: AuthorizationRequest = {},
	round?: number,
): Promise<void> {
	protect(ctx)
	const { id } = sessionAccess(ctx, session)
	if (sendToCanonicalOrigin(ctx, settings)) return
	const { url, transaction } = await broker.getAuthCodeUrl({
		...request,
		returnTo: toBrowserPath(settings.basePath, returnTo),
		session: session(ctx),
		...(id !== undefined && { sessionId: id }),
	})
	transactions.begin(ctx, { ...transaction, ...(round !== undefined && { round }) }, url)
	ctx.status = 303
	ctx.set('Location', url)
	ctx.body = ''
}
