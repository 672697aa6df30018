import { BlockList, isIP } from 'node:net'
import type { Context } from 'koa'
import type { Settings } from '../settings.js'

/**
 * Where a sign-in should begin instead, when the browser came by another name or scheme than the redirect
 * URI's: the cookies set here would not be there when the provider sends it back. A trusted proxy's word is
 * taken for what the browser asked for; without a proxy, only 127.0.0.1 and localhost are told apart, as on a
 * developer's machine. Headers decide nothing but this: the target is always the configured origin.
 */
export function toCanonicalOrigin(ctx: Context, settings: Settings): string | undefined {
	const { redirectUri } = settings.auth
	const asked = isTrusted(ctx.req.socket.remoteAddress, settings.trustedProxies)
		? {
				host: firstOf(ctx.get('X-Forwarded-Host')) ?? redirectUri.host,
				protocol: firstOf(ctx.get('X-Forwarded-Proto')) ?? redirectUri.protocol.slice(0, -1),
			}
		: isLoopbackHost(ctx.get('Host')) && isLoopbackHost(redirectUri.host)
			? { host: ctx.get('Host'), protocol: redirectUri.protocol.slice(0, -1) }
			: undefined
	if (!asked || (asked.host === redirectUri.host && `${asked.protocol}:` === redirectUri.protocol))
		return undefined
	return redirectUri.origin + ctx.path + ctx.search
}

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
