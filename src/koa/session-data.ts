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
