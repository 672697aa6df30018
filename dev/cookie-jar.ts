/** One `Set-Cookie` header, taken apart. */
export interface SetCookie {
	readonly url: string
	readonly name: string
	readonly value: string
	/** Attribute names in lower case; flags are `''`. */
	readonly attributes: Readonly<Record<string, string>>
	/** The header as it came. */
	readonly raw: string
}

/** A cookie that is held. */
export interface Cookie {
	readonly host: string
	readonly path: string
	readonly name: string
	readonly value: string
	readonly sameSite: string
	readonly expiresAt: number
}

/** What a browser knows about a request when it decides which cookies go along. */
export interface CookieRequest {
	readonly method: string
	/** Whether the page that caused the request is on another host name. */
	readonly crossSite: boolean
	/** Whether the answer fills the window, and not a frame in it. */
	readonly topLevel: boolean
}

/** A jar of host-only cookies. */
export interface CookieJar {
	/** The cookies held, the newest last. */
	readonly cookies: readonly Cookie[]
	/** Every `Set-Cookie` header seen, refused and deleted ones included. */
	readonly seen: readonly SetCookie[]
	store(url: URL, headers: readonly string[]): void
	headerFor(url: URL, request: CookieRequest): string
	/** Forgets the cookies with that name, or all. */
	clear(name?: string): void
}

/**
 * A jar as strict as a browser's in what matters to sign-in: cookies belong to one host name and ignore the port,
 * `__Host-` and `__Secure-` names are enforced, SameSite is honoured, and Secure cookies work on loopback http.
 */
export function createCookieJar(): CookieJar {
	const held = new Map<string, Cookie>()
	const seen: SetCookie[] = []
	return {
		seen,
		get cookies() {
			return [...held.values()]
		},
		store(url, headers) {
			for (const raw of headers) {
				const parsed = parseSetCookie(raw, url)
				seen.push(parsed)
				const cookie = accept(parsed, url)
				if (!cookie) continue
				const key = `${cookie.host}|${cookie.path}|${cookie.name}`
				held.delete(key)
				if (cookie.expiresAt > Date.now()) held.set(key, cookie)
			}
		},
		headerFor(url, request) {
			return [...held.values()]
				.filter((cookie) => cookie.host === url.hostname && pathMatches(url.pathname, cookie.path))
				.filter((cookie) => cookie.expiresAt > Date.now() && sameSiteAllows(cookie.sameSite, request))
				.map((cookie) => `${cookie.name}=${cookie.value}`)
				.join('; ')
		},
		clear(name) {
			for (const [key, cookie] of held) if (name === undefined || cookie.name === name) held.delete(key)
		},
	}
}

function parseSetCookie(raw: string, url: URL): SetCookie {
	const [pair = '', ...rest] = raw.split(/;\s*/)
	const attributes: Record<string, string> = {}
	for (const attribute of rest) {
		const [key = '', value = ''] = splitOnce(attribute)
		attributes[key.toLowerCase()] = value
	}
	const [name, value] = splitOnce(pair)
	return { url: url.href, name, value, attributes, raw }
}

/** The cookie a browser would keep, or `undefined` where it would refuse. */
function accept({ name, value, attributes }: SetCookie, url: URL): Cookie | undefined {
	const secure = 'secure' in attributes
	const path = attributes.path?.startsWith('/') ? attributes.path : defaultPath(url)
	const sameSite = (attributes.samesite ?? '').toLowerCase()
	if (attributes.domain && attributes.domain.replace(/^\./, '') !== url.hostname) return undefined
	if (name.startsWith('__Host-') && (!secure || attributes.path !== '/' || 'domain' in attributes))
		return undefined
	if (name.startsWith('__Secure-') && !secure) return undefined
	if (sameSite === 'none' && !secure) return undefined
	return { host: url.hostname, path, name, value, sameSite, expiresAt: expiryOf(attributes) }
}

function expiryOf(attributes: Readonly<Record<string, string>>): number {
	if (attributes['max-age'] !== undefined) return Date.now() + Number(attributes['max-age']) * 1000
	if (attributes.expires !== undefined) return Date.parse(attributes.expires)
	return Number.POSITIVE_INFINITY
}

/**
 * RFC 6265bis §5.6.7, and what Chromium 156 was seen to do beyond it: a frame of another site gets no cookies at
 * all, SameSite=None or not. A cookie without SameSite is as good as None for its first two minutes: taken so.
 */
function sameSiteAllows(sameSite: string, { method, crossSite, topLevel }: CookieRequest): boolean {
	if (!crossSite) return true
	if (!topLevel) return false
	return sameSite === 'none' || sameSite === '' || (sameSite === 'lax' && method === 'GET')
}

/** RFC 6265 §5.1.4. */
function pathMatches(pathname: string, path: string): boolean {
	return pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`)
}

function defaultPath(url: URL): string {
	return url.pathname.slice(0, url.pathname.lastIndexOf('/')) || '/'
}

function splitOnce(text: string): [string, string] {
	const at = text.indexOf('=')
	return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
