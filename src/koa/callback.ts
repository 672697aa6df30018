import type { Context } from 'koa'
import { type SignIn, TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { type SessionTicket, ticketOf } from '../session.js'
import type { AuthorizationAnswer } from '../sign-in.js'
import { admit } from './admit.js'
import type { Login } from './login.js'
import { readForm, single } from './read-form.js'
import { toLocalPath } from './return-to.js'
import { endRound } from './rounds.js'
import { sessionAccess } from './session-access.js'
import { copyOf, keptFor, type SessionData } from './session-data.js'
import { accountOf } from './signed-in.js'
import type { BrowserTransaction } from './transactions.js'

/** The provider's answer: completes the sign-in and sends the person where they were going. */
export async function callback(
	ctx: Context,
	login: Login,
	responseMode: 'form_post' | 'query',
): Promise<void> {
	if (ctx.method !== (responseMode === 'query' ? 'GET' : 'POST')) {
		ctx.set('Allow', responseMode === 'query' ? 'GET' : 'POST')
		throw new BrokerError('ERR_BAD_REQUEST', 'Sign-in answers come another way here.', { status: 405 })
	}
	const { answer, transaction } = await readAnswer(ctx, login, responseMode)
	if (!transaction) {
		// The browser's back button, or reload, posts a form again whose transaction is done.
		const earlier = answer.state ? await TokenBroker.recallSignIn(login.broker, answer.state) : undefined
		const { returnTo, lives } = earlier ?? {}
		if (returnTo !== undefined && (lives || (await accountOf(ctx, login)))) return sendTo(ctx, returnTo)
		if (!earlier) await end(login, login.transactions.takeOnly(ctx))
		throw new BrokerError(
			'ERR_LOGIN_REJECTED',
			'This sign-in cannot be completed: it took too long, was completed before, or began in another browser.',
		)
	}
	// Also what comes after the code: a process that closes waits for it, and for what it takes back.
	await TokenBroker.finish(login.broker, complete(ctx, login, answer, transaction))
}

async function complete(
	ctx: Context,
	login: Login,
	answer: AuthorizationAnswer,
	transaction: BrowserTransaction,
): Promise<void> {
	const started = await isThere(ctx, login, transaction.sessionId)
	const signIn = await login.broker.acquireByCode(answer, transaction).catch((error: unknown) => {
		// The code is not used yet: another process takes it when the form is posted again.
		if (error instanceof BrokerError && error.code === 'ERR_BROKER_CLOSED')
			login.transactions.giveBack(ctx, transaction)
		throw error
	})
	if (!signIn.repeated) {
		let visitors: SessionData | undefined
		try {
			const before = await leave(ctx, login, transaction)
			visitors = before.msal === undefined ? copyOf(before) : {}
			const id = await enter(ctx, login, signIn, before)
			await admit(ctx, login, signIn.ticket.account)
			if (started !== undefined && (await login.marks.isMarked(started))) {
				visitors = {}
				throw new BrokerError(
					'ERR_LOGIN_REJECTED',
					'This sign-in cannot be completed: this browser was signed out meanwhile.',
				)
			}
			const session = { partition: signIn.ticket.partition, ...(id !== undefined && { sessionId: id }) }
			login.transactions.startFrom(ctx, transaction, session, transaction.returnTo)
		} catch (failure) {
			await undo(ctx, login, signIn.ticket, transaction, visitors)
			throw failure
		}
	}
	if (transaction.round !== undefined) endRound(ctx, login.settings, transaction.round)
	sendTo(ctx, signIn.repeated ? signIn.returnTo : transaction.returnTo)
}

/** The answer, and the sign-in of this browser that it names. One that can't be read ends the sign-in that it is for. */
async function readAnswer(
	ctx: Context,
	login: Login,
	responseMode: 'form_post' | 'query',
): Promise<{ readonly answer: AuthorizationAnswer; readonly transaction: BrowserTransaction | undefined }> {
	const { transactions } = login
	let named: readonly BrowserTransaction[] = []
	try {
		const fields = responseMode === 'query' ? new URLSearchParams(ctx.querystring) : await readForm(ctx)
		named = transactions.take(ctx, fields.getAll('state'))
		const answer = Object.fromEntries(
			['state', 'code', 'iss', 'error'].flatMap((name) => {
				const value = single(fields, name)
				return value === undefined ? [] : [[name, value]]
			}),
		)
		return { answer, transaction: named[0] }
	} catch (error) {
		// The browser went away before it had said all of it, and may say it again.
		if (!ctx.req.complete && ctx.req.destroyed) throw error
		await end(login, named.length > 0 ? named : transactions.takeOnly(ctx))
		throw error
	}
}

/**
 * Of the session that a sign-in started from, its id while it is there: what signs it out from now on is meant for the
 * sign-in too. One that was signed out before, while the person was with the provider, is not.
 */
async function isThere(
	ctx: Context,
	{ session }: Login,
	sessionId: string | undefined,
): Promise<string | undefined> {
	if (sessionId === undefined) return undefined
	// Whether it can be read is asked when it is to be ended. One that can't be may be there.
	const found = await sessionAccess(ctx, session)
		.read(sessionId)
		.catch(() => ({}))
	return found && sessionId
}

async function end({ broker }: Login, transactions: readonly BrowserTransaction[]): Promise<void> {
	await Promise.all(transactions.map((transaction) => TokenBroker.endSignIn(broker, transaction)))
}

/**
 * Ends every session that the sign-in takes the place of.
 * @returns what the one holds that it started from
 */
async function leave(
	ctx: Context,
	{ broker, session }: Login,
	{ sessionId: startedFrom, partition: replaced }: BrowserTransaction,
): Promise<SessionData> {
	const access = sessionAccess(ctx, session)
	const before = (startedFrom !== undefined && (await access.read(startedFrom))) || {}
	// In query mode the request brings a session as well: mostly the one the sign-in started from. It is ended here
	// and not by the sign-out below, after which this request could begin no other.
	const own = ticketOf(session(ctx))
	if (access.id !== undefined) await access.end(access.id, false)
	for (const left of [ticketOf(before), own])
		if (left && left.partition !== replaced) await broker.signOut({ msal: left })
	if (startedFrom !== undefined && startedFrom !== access.id)
		await access.end(startedFrom, before.msal === undefined)
	return before
}

/**
 * Signs the person in under a new session id.
 * @returns that, where it is known
 */
function enter(
	ctx: Context,
	{ settings, session }: Login,
	{ ticket, claims }: Extract<SignIn, { repeated: false }>,
	before: SessionData,
): Promise<string | undefined> {
	const kept = keptFor(ticket, before, settings.keepOnSignIn)
	return sessionAccess(ctx, session).renew({ ...kept, msal: ticket, msalClaims: claims })
}

/** Nothing stays of a sign-in that did not come about: no session, no tokens, and no second post of its form succeeds. */
async function undo(
	ctx: Context,
	login: Login,
	ticket: SessionTicket,
	transaction: BrowserTransaction,
	visitors: SessionData | undefined,
): Promise<void> {
	// One after the other: with the tokens a session ends that has them, and one that has ended is given no new id.
	const steps = [
		// What could not be left is still there, for the cookie that the browser has; nothing was entered.
		async () => visitors && giveBack(ctx, login, visitors, transaction),
		() => TokenBroker.undoSignIn(login.broker, ticket, transaction.state),
	]
	const failures: unknown[] = []
	for (const step of steps) await step().catch((failure: unknown) => failures.push(failure))
	for (const failure of failures) ctx.app.emit('error', failure, ctx)
}

/** Ends the session of who is not let in. What they had as a visitor, they have as a visitor, under an id of its own. */
async function giveBack(
	ctx: Context,
	{ session, transactions }: Login,
	visitors: SessionData,
	transaction: BrowserTransaction,
): Promise<void> {
	if (Object.keys(visitors).length === 0) return sessionAccess(ctx, session).drop()
	try {
		const id = await sessionAccess(ctx, session).renew(visitors)
		// The browser's other sign-ins under way take it along.
		if (id !== undefined) transactions.startFrom(ctx, transaction, { sessionId: id }, '')
	} catch (failure) {
		await sessionAccess(ctx, session).drop()
		throw failure
	}
}

function sendTo(ctx: Context, path: string): void {
	ctx.status = 303
	ctx.set('Location', toLocalPath(path))
	ctx.body = ''
}
