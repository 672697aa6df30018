import type { IncomingMessage, ServerResponse } from 'node:http'
import { parseCookie, stringifySetCookie } from 'cookie'
import type { Settings } from '../settings.js'

/** How a cookie of this library is named and sent. Decided by settings alone, never by a request header. */
export interface CookieKind {
	readonly name: string
	readonly attributes: {
		readonly path: string
		readonly httpOnly: true
		readonly secure: boolean
		readonly sameSite: 'lax' | 'none'
	}
}

/**
 * The session cookie. `Secure` follows the scheme of the redirect URI, which is what the browser sees, also
 * behind a proxy that ends TLS. `__Host-` pins it to this host (RFC 6265bis, 4.1.3.2).
 */
export function sessionCookie(settings: Settings): CookieKind {
	const { auth, session, cookieSuffix } = settings
	const secure = auth.redirectUri.protocol === 'https:'
	return kind(settings, `${session.cookieName}-${cookieSuffix}`, secure, 'lax')
}

/**
 * The cookie of one sign-in under way, named after its state, so that two tabs don't share one. A form post
 * from the provider is cross-site and brings only `SameSite=None; Secure` cookies; browsers other than Safari
 * take those on http://localhost too. An answer in the query comes by a navigation, which brings Lax ones.
 */
export function transactionCookie(settings: Settings, label: string): CookieKind {
	const { auth, cookieSuffix } = settings
	const crossSite = auth.responseMode === 'form_post'
	const secure = crossSite || auth.redirectUri.protocol === 'https:'
	return kind(settings, `msal-tx-${cookieSuffix}-${label}`, secure, crossSite ? 'none' : 'lax')
}

/** Says that a browser was sent to the redirect URI's origin already: nothing secret, and over plain http too. */
export function sentCookie(settings: Settings): CookieKind {
	return kind(settings, `msal-sent-${settings.cookieSuffix}`, false, 'lax')
}

/** Counts sign-ins in a row, also where no session comes of them: it goes wherever the cookie of a sign-in goes. */
export function roundsCookie(settings: Settings): CookieKind {
	const { secure, sameSite } = transactionCookie(settings, '').attributes
	return kind(settings, `msal-rounds-${settings.cookieSuffix}`, secure, sameSite)
}

/** Below a base path another application has the rest of the host: `__Host-` would want `Path=/`. */
function kind({ basePath }: Settings, name: string, secure: boolean, sameSite: 'lax' | 'none'): CookieKind {
	const prefix = basePath === '' ? '__Host-' : '__Secure-'
	return {
		name: secure ? prefix + name : name,
		attributes: { path: basePath || '/', httpOnly: true, secure, sameSite },
	}
}

/** The request's cookies. Of several with one name, the first. */
export function readCookies(request: IncomingMessage): Readonly<Record<string, string | undefined>> {
	// Not decoded: all values of this library are base64url, and a malformed one of somebody else's is no matter.
	return parseCookie(request.headers.cookie ?? '', { decode: (value) => value })
}

/** All values that the request brings under one name, in its order. */
export function readCookieValues(request: IncomingMessage, name: string): string[] {
	return (request.headers.cookie ?? '')
		.split(';')
		.map((pair) => pair.trim())
		.filter((pair) => pair.startsWith(`${name}=`))
		.map((pair) => pair.slice(name.length + 1))
}

/** Sets a cookie in place of any of the same name that the response sets already. */
export function setCookie(
	response: ServerResponse,
	cookie: CookieKind,
	value: string,
	maxAgeSeconds?: number,
) {
	const line = stringifySetCookie({
		name: cookie.name,
		value,
		...cookie.attributes,
		...(maxAgeSeconds !== undefined && { maxAge: maxAgeSeconds }),
	})
	response.setHeader('Set-Cookie', [...otherCookies(response, cookie), line])
}

/** Takes back what the response would set or delete of a cookie. */
export function leaveCookie(response: ServerResponse, cookie: Pick<CookieKind, 'name'>): void {
	const others = otherCookies(response, cookie)
	if (others.length > 0) response.setHeader('Set-Cookie', others)
	else response.removeHeader('Set-Cookie')
}

/** Whether the response sets or deletes a cookie. */
export function hasCookie(response: ServerResponse, cookie: Pick<CookieKind, 'name'>): boolean {
	return otherCookies(response, cookie).length < cookieLines(response).length
}

function otherCookies(response: ServerResponse, { name }: Pick<CookieKind, 'name'>): string[] {
	return cookieLines(response).filter((line) => !line.startsWith(`${name}=`))
}

function cookieLines(response: ServerResponse): string[] {
	return [response.getHeader('Set-Cookie') ?? []].flat().map(String)
}

/** Deletes a cookie, with the attributes that it was set with. */
export function clearCookie(response: ServerResponse, cookie: CookieKind): void {
	setCookie(response, cookie, '', 0)
}
