import { BlockList, isIP } from 'node:net'
import type { Context } from 'koa'
import type { Settings } from '../settings.js'
import { clearCookie, readCookies, sentCookie, setCookie } from './cookies.js'
import { toBrowserPath } from './return-to.js'

/**
 * Where a sign-in should begin instead, when the browser came by another name or scheme than the redirect
 * URI's: the cookies set here would not be there when the provider sends it back. A trusted proxy's word is
 * taken for what the browser asked for; without a proxy, only 127.0.0.1 and localhost are told apart, as on a
 * developer's machine. Headers decide nothing but this: the target is always the configured origin.
 */
function toCanonicalOrigin(ctx: Context, settings: Settings): string | undefined {
	const { redirectUri } = settings.auth
	const asked = isTrusted(ctx.req.socket.remoteAddress, settings.trustedProxies)
		? {
				host: firstOf(ctx.get('X-Forwarded-Host')) ?? redirectUri.host,
				protocol: firstOf(ctx.get('X-Forwarded-Proto')) ?? redirectUri.protocol.slice(0, -1),
			}
		: isLoopbackHost(ctx.get('Host')) && isLoopbackHost(redirectUri.host)
			? { host: ctx.get('Host'), protocol: redirectUri.protocol.slice(0, -1) }
			: undefined
	if (!asked) return undefined
	const address = `${asked.protocol}://${asked.host}`
	// As URLs, in which `app.example:443` and `APP.example` are the same place.
	if (!URL.canParse(address) || new URL(address).origin === redirectUri.origin) return undefined
	return redirectUri.origin + toBrowserPath(settings.basePath, ctx.originalUrl)
}

/**
 * Sends the browser to where a sign-in has to begin, if that is elsewhere, and only once: behind a proxy that
 * always names another host or scheme (its own, say) it would go round in circles.
 * @returns whether it was sent
 */
export function sendToCanonicalOrigin(ctx: Context, settings: Settings): boolean {
	const sent = sentCookie(settings)
	const wasSent = readCookies(ctx.req)[sent.name] !== undefined
	if (wasSent) clearCookie(ctx.res, sent)
	const canonical = toCanonicalOrigin(ctx, settings)
	if (canonical === undefined || wasSent) return false
	setCookie(ctx.res, sent, '1', sentMemory)
	ctx.status = 303
	ctx.set('Location', canonical)
	ctx.body = ''
	return true
}

/** Seconds in which a browser that was sent on is not sent on again. */
const sentMemory = 30

function isTrusted(peer: string | undefined, proxies: readonly string[]): boolean {
	if (peer === undefined || proxies.length === 0) return false
	const trusted = new BlockList()
	for (const proxy of proxies) {
		const [address = '', bits] = proxy.split('/')
		const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
		if (bits === undefined) trusted.addAddress(address, family)
		else trusted.addSubnet(address, Number(bits), family)
	}
	const address = peer.replace(/^::ffff:(?=\d+\.)/, '')
	return trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

/** Proxies append: the browser's own value stands first. */
function firstOf(header: string): string | undefined {
	return header.split(',')[0]?.trim() || undefined
}

function isLoopbackHost(host: string): boolean {
	return /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host)
}
