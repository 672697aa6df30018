import { BrokerError } from './errors.js'
import type { MembershipClaims, SignedInAccount } from './wire.js'

/** What sign-in puts into the web session, as `session.msal`: under 1 KB, and never a token. */
export interface SessionTicket {
	/** Names the sealed token cache of this session. Never used twice. */
	readonly partition: string
	readonly account: SignedInAccount
	/** Whom Microsoft Graph said at sign-in to be the manager, where the setting `profile` has it asked. Display data. */
	readonly manager?: { readonly name?: string; readonly mail?: string }
}

/**
 * What sign-in puts beside the ticket, as `session.msalClaims`: roles and groups as they were then. With many groups
 * it is larger than everything else in a session (200 of them: 8 KB).
 */
export interface SessionClaims extends MembershipClaims {
	/** Of the ticket that they belong to: beside any other they say nothing. */
	readonly partition: string
}

/** Any web session: `ctx.session`, or a plain `{ msal }` in another thread. */
export type SessionLike = object | null | undefined

/** The ticket of a session in which somebody is signed in. */
export function ticketOf(session: SessionLike): SessionTicket | undefined {
	const ticket = typeof session === 'object' && session && 'msal' in session ? session.msal : undefined
	return isTicket(ticket) ? ticket : undefined
}

/** Roles and groups of who is signed in; nothing where they are not the ticket's own. */
export function claimsOf(session: SessionLike): MembershipClaims {
	const claims =
		typeof session === 'object' && session && 'msalClaims' in session ? session.msalClaims : undefined
	if (typeof claims !== 'object' || claims === null) return {}
	const { partition, roles, wids, groups, groupsOverage } = claims as Partial<SessionClaims>
	if (partition === undefined || partition !== ticketOf(session)?.partition) return {}
	return {
		...(areTexts(roles) && { roles }),
		...(areTexts(wids) && { wids }),
		...(areTexts(groups) && { groups }),
		...(groupsOverage === true && { groupsOverage }),
	}
}

/** @throws ERR_SIGNED_OUT */
export function requireTicket(session: SessionLike): SessionTicket {
	const ticket = ticketOf(session)
	if (!ticket) throw new BrokerError('ERR_SIGNED_OUT', 'Nobody is signed in. Sign in first.')
	return ticket
}

function isTicket(value: unknown): value is SessionTicket {
	if (typeof value !== 'object' || value === null) return false
	const { partition, account, manager } = value as Partial<SessionTicket>
	return (
		typeof partition === 'string' &&
		/^[\w-]{43}$/.test(partition) &&
		typeof account === 'object' &&
		account !== null &&
		typeof account.homeAccountId === 'string' &&
		typeof account.tenantId === 'string' &&
		typeof account.objectId === 'string' &&
		typeof account.username === 'string' &&
		isTextOrAbsent(account.upn) &&
		isTextOrAbsent(account.mail) &&
		isTextOrAbsent(account.name) &&
		isTextOrAbsent(account.loginHint) &&
		(manager === undefined ||
			(typeof manager === 'object' &&
				manager !== null &&
				isTextOrAbsent(manager.name) &&
				isTextOrAbsent(manager.mail)))
	)
}

function isTextOrAbsent(value: unknown): boolean {
	return value === undefined || typeof value === 'string'
}

function areTexts(value: unknown): value is readonly string[] {
	return Array.isArray(value) && value.every((one) => typeof one === 'string')
}
