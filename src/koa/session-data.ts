import { type SessionTicket, ticketOf } from '../session.js'

/** Data of a web session. Anything that JSON can say, up to 1,000 levels deep; names that begin with `_` are not kept. */
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

/** Levels of objects and lists in a session: `JSON.stringify` has no stack for some thousand. */
const deepest = 1000

/** What was stored with its deadline (milliseconds since 1970), or nothing where that is not what the text says. */
export function parseData(
	text: string,
): { readonly deadline: number; readonly data: SessionData } | undefined {
	const { deadline, data } = objectOf(parseJson(text)) ?? {}
	const restored = restoreData(data)
	return Number.isFinite(deadline) && restored ? { deadline: deadline as number, data: restored } : undefined
}

/**
 * The data of a stored session, whoever has stored it, or nothing where it is none. What stands in the place of a
 * ticket, and is none, was somebody's: the session must not pass for nobody's, whose data the next person keeps.
 */
export function restoreData(stored: unknown): SessionData | undefined {
	const session = objectOf(stored)
	if (!session || isTooDeep(session)) return undefined
	const data = pickData(session)
	return data.msal === undefined || ticketOf(data) ? data : { ...data, msal: null }
}

/** The same for a session that has its data already: names that hide its methods go, and the methods are back. */
export function mendSession(session: SessionData): void {
	for (const name of reservedNames) if (name !== 'isNew' && Object.hasOwn(session, name)) delete session[name]
	if (session.msal !== undefined && session.msal !== null && !ticketOf(session)) session.msal = null
}

/** A text that is no JSON says nothing. */
export function parseJson(text: string): unknown {
	try {
		return JSON.parse(text)
	} catch {
		return undefined
	}
}

function objectOf(value: unknown): SessionData | undefined {
	return typeof value === 'object' && value !== null && !Array.isArray(value)
		? (value as SessionData)
		: undefined
}

/** Level by level, for a walk down has no stack for it either. */
function isTooDeep(session: object): boolean {
	const seen = new Set<object>()
	let level: object[] = [session]
	for (let depth = 0; level.length > 0; depth++) {
		if (depth >= deepest) return true
		level = level.flatMap((parent) =>
			Object.values(parent).filter((child): child is object => {
				if (typeof child !== 'object' || child === null || seen.has(child)) return false
				seen.add(child)
				return true
			}),
		)
	}
	return false
}

/**
 * A copy of data to go back to: what is done to the session meanwhile, at any level, is not in it. Of what is no data,
 * and no store could keep, there is none.
 */
export function copyOf(data: SessionData): SessionData {
	try {
		return structuredClone(data)
	} catch {
		return {}
	}
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
