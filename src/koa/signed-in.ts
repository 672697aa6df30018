import type { Context } from 'koa'
import type { TokenBroker } from '../broker.js'
import { ticketOf } from '../session.js'
import type { SessionHandle } from '../session-handle.js'
import type { SignedInAccount } from '../wire.js'
import type { Login } from './login.js'
import type { SessionData } from './session-data.js'

/** Who is signed in, for the application's own functions. */
export interface SignedIn {
	readonly ctx: Context
	readonly broker: TokenBroker
	/** `ctx.session`, or what `session: (ctx) => …` selects: what is put there stays there. */
	readonly session: SessionData
	readonly account: SignedInAccount
	/** The session's own verbs: tokens, and calls with them. */
	readonly handle: SessionHandle
}

/** What the application does when somebody has signed in, before they are answered. It refuses them by throwing. */
export type SignedInHook = (signedIn: SignedIn) => unknown

/** Who is signed in, and was not signed out elsewhere meanwhile. @throws what `broker.isSignedIn` throws */
export async function accountOf(
	ctx: Context,
	{ broker, session: select }: Login,
): Promise<SignedInAccount | undefined> {
	const session = select(ctx)
	return (await broker.isSignedIn(session)) ? ticketOf(session)?.account : undefined
}

export function signedIn(
	ctx: Context,
	{ broker, session: select }: Login,
	account: SignedInAccount,
): SignedIn {
	const session = select(ctx) as SessionData
	return { ctx, broker, session, account, handle: broker.forSession(session) }
}
