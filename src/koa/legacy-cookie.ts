import { stringifySetCookie } from 'cookie'
import type { Context } from 'koa'
import { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { type SessionClaims, type SessionTicket, ticketOf } from '../session.js'
import { admit } from './admit.js'
import { readCookieValues } from './cookies.js'
import { isCrossSite } from './cross-site.js'
import type { Login } from './login.js'
import { sessionAccess } from './session-access.js'
import { copyOf, keptFor } from './session-data.js'

/** What aiohttp_session makes of an id: `uuid.uuid4().hex`. */
const sessionId = /^[0-9a-f]{32}$/

/** Who a cookie of the original was of, in the provider's own words. */
interface Exchanged {
	readonly ticket: SessionTicket
	readonly claims?: SessionClaims
}

/** Refusals that no second try will change; what else fails is tried again with the next request. */
const final = new Set(['ERR_SIGNED_OUT', 'ERR_INTERACTION_REQUIRED'])

/**
 * Signs in who brings the cookie of the original, aiohttp_msal, for a session that was imported: once, and only when
 * the provider has taken its refresh token and said itself whose it is. What a sign-in does is done: profile, roles
 * and groups, and the application's own hooks.
 * @returns `undefined` at once for a request without that cookie
 */
export function acceptLegacyCookie(login: Login): (ctx: Context) => Promise<void> | undefined {
	const { settings, session } = login
	const { legacyCookie } = settings
	if (!legacyCookie) return () => undefined
	return (ctx) => {
		const ids = idsOf(ctx, legacyCookie)
		if (ids.length === 0 || ticketOf(session(ctx))) return undefined
		// The original's cookie is SameSite=None: another site must not have it spent, nor act with what it leads to. A
		// link from there may, for the new cookie then is kept.
		if (isCrossSite(ctx, settings) && !isNavigation(ctx)) return undefined
		if (ctx.path === settings.paths.authorized) return undefined
		return accept(ctx, login, ids, legacyCookie)
	}
}

/**
 * Ends what waits for the cookie of the original, for who signs out: it would sign them in again.
 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED
 */
export async function endLegacySessions(ctx: Context, { broker, settings }: Login): Promise<void> {
	const { legacyCookie } = settings
	const ids = legacyCookie ? idsOf(ctx, legacyCookie) : []
	if (!legacyCookie || ids.length === 0) return
	expire(ctx, legacyCookie)
	const pool = TokenBroker.poolOf(broker)
	for (const id of ids) {
		const found = await pool.run('findImported', { id })
		if (found.state !== 'waiting') continue
		const { partition, account } = found
		const { state } = await pool.run('takeImported', { id, partition })
		if (state === 'taken') await broker.signOut({ msal: { partition, account } })
	}
}

/** One that is set for the domain as well as for the host comes twice. */
function idsOf(ctx: Context, { name }: LegacyCookie): string[] {
	const values = readCookieValues(ctx.req, name).slice(0, 2)
	return [...new Set(values)].filter((value) => sessionId.test(value))
}

interface LegacyCookie {
	readonly name: string
	readonly domain: string
}

/** @throws ERR_CONFIG */
async function accept(
	ctx: Context,
	login: Login,
	ids: readonly string[],
	cookie: LegacyCookie,
): Promise<void> {
	const { broker, session } = login
	// Before anything is used up: it says what is wrong with the application's session.
	sessionAccess(ctx, session)
	for (const id of ids) {
		const found = await exchange(broker, id).catch((error: unknown) => {
			if (!(error instanceof BrokerError)) throw error
			// Whoever it was may go on as nobody, and comes again.
			ctx.app.emit('error', error, ctx)
			return undefined
		})
		if (found === undefined || found === 'unknown') continue
		expire(ctx, cookie)
		if (found === 'used') continue
		await enter(ctx, login, found)
		return
	}
}

/** Signs the person in, if the application lets them: whoever it refuses goes on as the visitor that they were. */
async function enter(ctx: Context, login: Login, { ticket, claims }: Exchanged): Promise<void> {
	const { broker, session, settings } = login
	const { data, renew } = sessionAccess(ctx, session)
	const visitors = copyOf(data)
	try {
		const kept = keptFor(ticket, data, settings.keepOnSignIn)
		await renew({ ...kept, msal: ticket, msalClaims: claims })
		await admit(ctx, login, ticket.account)
	} catch (error) {
		try {
			await sessionAccess(ctx, session).renew(visitors)
		} finally {
			// Told last: a listener of the application's that throws would leave the person in their session.
			await broker.signOut({ msal: ticket }).finally(() => ctx.app.emit('error', error, ctx))
		}
	}
}

/**
 * Of several requests at once, one gets the session. What the record of the original said of the person is replaced
 * by what the provider says.
 * @throws ERR_IDP_UNAVAILABLE, ERR_STORE_UNAVAILABLE and the like: nothing was used up
 */
async function exchange(broker: TokenBroker, id: string): Promise<Exchanged | 'unknown' | 'used'> {
	const pool = TokenBroker.poolOf(broker)
	const found = await pool.run('findImported', { id })
	if (found.state !== 'waiting') return found.state
	const { partition, account } = found
	const token = await broker.acquireSilent({ msal: { partition, account } }).catch((error: unknown) => {
		if (error instanceof BrokerError && final.has(error.code)) return undefined
		throw error
	})
	const taken = await pool.run('takeImported', { id, partition })
	if (taken.state === 'used') return 'used'
	if (!token) {
		await broker.signOut({ msal: { partition, account } })
		return 'used'
	}
	const ticket = await TokenBroker.describe(broker, { partition, account: token.account })
	const { claims } = taken
	return { ticket, ...(Object.keys(claims).length > 0 && { claims: { partition, ...claims } }) }
}

/** A page that another site leads to, in a window of its own: not an image, a script, a frame or a form. */
function isNavigation(ctx: Context): boolean {
	return (
		ctx.method === 'GET' &&
		ctx.get('Sec-Fetch-Mode') === 'navigate' &&
		ctx.get('Sec-Fetch-Dest') === 'document'
	)
}

/** With and without the domain: which of them it was set with, no browser says. */
function expire(ctx: Context, { name, domain }: LegacyCookie): void {
	const attributes = { path: '/', httpOnly: true, secure: true, sameSite: 'none', maxAge: 0 } as const
	for (const where of [{}, { domain }])
		ctx.append('Set-Cookie', stringifySetCookie({ name, value: '', ...attributes, ...where }))
}
