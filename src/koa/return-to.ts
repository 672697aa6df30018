import type { Context } from 'koa'

/** Characters of the longest local path that a sign-in remembers: it travels in a cookie. */
const longest = 1024

/**
 * A local path, or `/`. What comes out is what a browser would make of it (WHATWG URL), on whatever origin:
 * anything that names another origin, now or once it is resolved, is dropped.
 */
export function toLocalPath(candidate: string | undefined): string {
	// A query has lists too, and not everybody writes TypeScript.
	if (typeof candidate !== 'string' || candidate.length > longest) return '/'
	// Browsers skip tabs and line breaks and take a backslash for a slash; nobody means either.
	if (!candidate.startsWith('/') || /[\\\p{Cc}]/u.test(candidate) || !URL.canParse(candidate, base))
		return '/'
	const { origin, pathname, search, hash } = new URL(candidate, base)
	// `/.//evil.example` is local until its dots are resolved.
	if (origin !== base || pathname.startsWith('//')) return '/'
	const path = pathname + search + hash
	// Encoding makes up to nine characters of one.
	return path.length > longest ? '/' : path
}

/**
 * Where the browser finds what the application sees at a local path. What begins with the base path is taken for the
 * browser's view already: a script that knows only its own address has put it there, or koa-mount.
 */
export function toBrowserPath(basePath: string, candidate: string | undefined): string {
	const path = toLocalPath(candidate)
	// Resolved first: no `..` leads out of the base path.
	const isBelow =
		path === basePath || [`${basePath}/`, `${basePath}?`].some((start) => path.startsWith(start))
	if (isBelow) return path
	const whole = toLocalPath(basePath + path)
	// Too long.
	return whole === '/' ? `${basePath}/` : whole
}

/** An origin that nobody can have (RFC 6761). */
const base = 'http://local.invalid'

/**
 * What follows `/user/login` in a request's address, as a local path: `/user/login/orders?page=2` leads to
 * `/orders?page=2`, and so does the percent-encoded `/user/login/%2Forders%3Fpage%3D2`.
 */
export function returnToOf({ path, search }: Pick<Context, 'path' | 'search'>, route: string): string {
	const rest = path.slice(route.length) + search
	if (!/^\/%2f/i.test(rest)) return toLocalPath(rest.startsWith('/') ? rest : undefined)
	try {
		return toLocalPath(decodeURIComponent(rest.slice(1)))
	} catch {
		return '/'
	}
}
