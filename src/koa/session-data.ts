import { type SessionTicket, ticketOf } from '../session.js'

/** Data of a web session. Anything that JSON can say; names that begin with `_` are not kept. */
export type SessionData = Record<string, unknown>

/** Own names of koa-session's session object, which stored data must not replace. */
const reservedNames = new Set([
	'__proto__',
	'constructor',
	'toJSON',
	'isNew',
	'length',
	'populated',
	'maxAge',
	'externalKey',
	'save',
	'regenerate',
	'manuallyCommit',
	'commit',
])

/** What of a session is data: not koa-session's own fields, nor names that would replace its methods. */
export function pickData(session: object): SessionData {
	return Object.fromEntries(
		Object.entries(session).filter(
			([name, value]) => !name.startsWith('_') && !reservedNames.has(name) && typeof value !== 'function',
		),
	)
}

/**
 * What of a session stays when somebody signs in to it: everything where it is theirs or was nobody's, else what the
 * application names.
 */
export function keptFor(
	ticket: SessionTicket,
	before: SessionData,
	keepOnSignIn: readonly string[],
): SessionData {
	const earlier = ticketOf(before)
	// Where somebody was signed in of whom nothing is known any more, it was somebody else.
	if (earlier ? sameAccount(earlier, ticket) : before.msal === undefined) return before
	return Object.fromEntries(Object.entries(before).filter(([name]) => keepOnSignIn.includes(name)))
}

/** Identity is the immutable pair of tenant and object id; names and addresses change hands. */
function sameAccount(a: SessionTicket, b: SessionTicket): boolean {
	return a.account.tenantId === b.account.tenantId && a.account.objectId === b.account.objectId
}
