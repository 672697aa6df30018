/** Headers of a call, as fetch takes them. */
export type HeadersLike = Readonly<Record<string, string>> | Iterable<readonly [name: string, value: string]>

/** Written by this library, or by the connection (RFC 9110, 7.6.1), and by nobody else. */
const notTheirs = new Set([
	'authorization',
	'connection',
	'content-length',
	'cookie',
	'cookie2',
	'expect',
	'host',
	'keep-alive',
	'te',
	'trailer',
	'transfer-encoding',
	'upgrade',
])
const families = ['proxy-', 'sec-']

// RFC 9110, 5.1 and 5.5.
const isName = (name: string) => /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/.test(name)
const isValue = (value: string) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)

/**
 * Makes the filter of callers' headers. What a caller may not set, or nobody can, is left out, with one warning for
 * each kind: a browser's headers, handed on whole, must not decide whose token goes where.
 */
export function createHeaderFilter(): (headers: HeadersLike | undefined) => Headers {
	const warned = new Set<string>()
	const warn = (what: string) => {
		if (warned.has(what)) return
		warned.add(what)
		process.emitWarning(`koa-msal: ${what} of a downstream call was ignored.`, 'KoaMsalWarning')
	}
	return (headers = {}) => {
		const kept = new Headers()
		for (const [name, value] of Symbol.iterator in headers ? headers : Object.entries(headers)) {
			const known = name.toLowerCase()
			const family = families.find((start) => known.startsWith(start))
			if (family !== undefined) warn(`a header ${family}*`)
			else if (notTheirs.has(known)) warn(`the header ${known}`)
			else if (!isName(name) || !isValue(String(value))) warn('a malformed header')
			else kept.append(name, String(value))
		}
		return kept
	}
}
