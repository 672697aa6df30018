import type { Context, Middleware, Next } from 'koa'
import { BrokerError } from '../errors.js'
import type { SignedInAccount } from '../wire.js'
import { loginOf, sendToProvider } from './login.js'
import { navigates } from './page.js'
import { answerError } from './refuse.js'
import { toLocalPath } from './return-to.js'
import { nextRound } from './rounds.js'
import { accountOf } from './signed-in.js'

/**
 * A condition of the application's own, for who is signed in. The value `true` lets a person through, and nothing else
 * does: not what is only truthy, and not a promise of it. What it throws lets nobody through: a {@link BrokerError}
 * counts as what it says, anything else goes to the application's error handling.
 */
export type Predicate = (ctx: Context, account: SignedInAccount) => boolean | Promise<boolean>

/** Marks a guard, and is what it asks. */
const condition = Symbol('condition')

/** Middleware that lets only some people through; {@link allOf} and {@link anyOf} take it as a condition as well. */
export interface Guard extends Middleware {
	readonly [condition]: Predicate
}

/**
 * Makes a guard. Who is not signed in is sent to sign in and comes back, or gets 401 as an API client; who is, and does
 * not meet the condition, gets 403. What is thrown behind the guard, because a session has ended or the provider wants
 * the person back, is answered in the same way.
 */
export function createGuard(name: string, check: Predicate): Guard {
	const middleware = {
		[name]: async (ctx: Context, next: Next) => {
			try {
				await pass(ctx, check)
			} catch (error) {
				return answer(ctx, error)
			}
			try {
				await next()
			} catch (error) {
				if (!isForThePerson(error)) throw error
				await answer(ctx, error)
			}
		},
	}[name] as Middleware
	return Object.assign(middleware, { [condition]: check })
}

/** @throws ERR_SIGNED_OUT, ERR_FORBIDDEN, and whatever the condition throws: there is one way to return */
async function pass(ctx: Context, check: Predicate): Promise<void> {
	const account = await accountOf(ctx, loginOf(ctx))
	if (!account) throw new BrokerError('ERR_SIGNED_OUT', 'Nobody is signed in. Sign in first.')
	if (!(await meets(check, ctx, account)))
		throw new BrokerError(
			'ERR_FORBIDDEN',
			'Your account may not do this. If you should have access, ask who runs this application.',
		)
}

/** Whether a person meets a condition. @throws what the condition throws, as an error */
export async function meets(check: Predicate, ctx: Context, account: SignedInAccount): Promise<boolean> {
	try {
		return (await check(ctx, account)) === true
	} catch (error) {
		// Koa takes a thrown `null` for no error, and then answers nothing at all.
		throw error instanceof Error
			? error
			: new TypeError('A condition threw something that is no error.', { cause: error })
	}
}

/**
 * The conditions of a list of guards and functions.
 * @throws ERR_CONFIG when there is none, or something else among them: nobody means everybody, or nobody
 */
export function conditionsOf(name: string, given: readonly (Guard | Predicate)[]): Predicate[] {
	if (given.length === 0) throw new BrokerError('ERR_CONFIG', `${name}() needs one condition or more.`)
	return given.map((one) => {
		if (typeof one !== 'function')
			throw new BrokerError('ERR_CONFIG', `${name}() takes guards and functions of (ctx, account).`)
		return condition in one ? one[condition] : one
	})
}

/** Of an answer that was begun behind the guard: an error would be saved as the report that it takes the place of. */
const ofAnswers = ['Content-Disposition', 'Content-Encoding', 'Content-Range', 'ETag', 'Last-Modified']

/** A browser is sent to sign in; all others are told, as by the routes. What is no error of ours is not ours to answer. */
async function answer(ctx: Context, error: unknown): Promise<void> {
	if (!(error instanceof BrokerError)) throw error
	if (isUnderWay(ctx)) {
		// Who reads what has come so far must not take it for the whole.
		ctx.res.destroy()
		throw error
	}
	const login = loginOf(ctx)
	for (const name of ofAnswers) ctx.remove(name)
	const goes = isForThePerson(error) && navigates(ctx)
	const round = goes ? nextRound(ctx, login.settings) : undefined
	if (round === undefined) return answerError(ctx, error, login)
	const { scopes, claims } = error
	const request = {
		...(scopes && { extraScopesToConsent: scopes }),
		...(claims !== undefined && { claims }),
	}
	try {
		await sendToProvider(ctx, login, toLocalPath(ctx.originalUrl), request, round)
	} catch (cause) {
		if (!(cause instanceof BrokerError)) throw cause
		await answerError(ctx, cause, login)
	}
}

/** Of an answer that has begun, or whose reader has gone, nothing else can be made. */
function isUnderWay(ctx: Context): boolean {
	return ctx.headerSent || !ctx.writable
}

function isForThePerson(error: unknown): boolean {
	return (
		error instanceof BrokerError &&
		(error.code === 'ERR_SIGNED_OUT' || error.code === 'ERR_INTERACTION_REQUIRED')
	)
}
