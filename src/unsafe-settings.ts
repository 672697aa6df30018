import type { KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import { isLoopback } from './loopback.js'
import { isMicrosoftCloud, isMicrosoftGraph, isOfManyTenants } from './microsoft-clouds.js'
import type { Settings, TokenStore } from './settings.js'

/** A value of a setting that takes a protection away. */
interface Rule {
	readonly setting: string
	/** What is lost by it; quotes no value. */
	readonly loses: string
	readonly applies: (settings: Settings) => boolean
}

/** More of all addresses than this is not a network of proxies: the widest private ones are a half of it. */
const widestShare = 1 / 64

const rules: readonly Rule[] = [
	{
		setting: 'auth.allowedTenants',
		loses: 'people of every tenant may sign in',
		applies: ({ auth }) => auth.allowedTenants === 'any' && isOfManyTenants(auth.authority),
	},
	{
		setting: 'auth.knownAuthorities',
		loses: 'another host than the authority’s is believed who somebody is',
		applies: ({ auth }) => auth.knownAuthorities.some((host) => !isExpected(host, auth.authority)),
	},
	{
		setting: 'auth.responseMode',
		loses: 'codes stand in URLs, which logs and histories keep',
		applies: ({ auth }) => auth.responseMode === 'query',
	},
	{
		setting: 'store',
		loses:
			'in production, tokens and sessions are lost with the process, and other processes hear of no sign-out',
		applies: ({ store }) => store.kind === 'memory' && process.env.NODE_ENV === 'production',
	},
	{
		setting: 'store.tls',
		loses: 'Redis on another host is spoken to in the clear, its password too',
		applies: ({ store }) => isElsewhere(store) && serversOf(store).some(({ tls }) => !tls),
	},
	{
		setting: 'store.tls.rejectUnauthorized',
		loses: 'whoever is in between can pass for Redis',
		applies: ({ store }) => serversOf(store).some(({ tls }) => tls?.rejectUnauthorized === false),
	},
	{
		setting: 'store.tls.minVersion',
		loses: 'versions or ciphers of TLS that are broken are taken of Redis',
		applies: ({ store }) => serversOf(store).some(({ tls }) => tls !== undefined && isWeak(tls)),
	},
	{
		setting: 'store.password',
		loses: 'whoever reaches Redis on another host can delete its sessions',
		applies: ({ store }) => isElsewhere(store) && serversOf(store).some(isOpen),
	},
	{
		setting: 'basePath',
		loses:
			'session cookies have no __Host- prefix, so neighbouring paths and hosts can set some of their name',
		applies: ({ basePath }) => basePath !== '',
	},
	{
		setting: 'keepOnSignIn',
		loses: 'session data of one person stay for the next who signs in',
		applies: ({ keepOnSignIn }) => keepOnSignIn.length > 0,
	},
	{
		setting: 'debug',
		loses: 'where NODE_ENV is development, GET /user/debug shows ids and settings',
		applies: ({ debug }) => debug,
	},
	{
		setting: 'network.caFile',
		loses: 'other authorities than Node’s own can say who the provider is',
		applies: ({ network, auth }) => network.ca !== undefined && !isLoopback(new URL(auth.authority).hostname),
	},
	{
		setting: 'network.proxy',
		loses: 'the proxy’s user and password go to it in the clear',
		applies: ({ network: { proxy } }) => proxy !== undefined && tellsItsPassword(proxy),
	},
	{
		setting: 'graph.endpoint',
		loses: 'another host than Microsoft Graph’s gets tokens of people',
		applies: ({ graph }) => {
			const { host, hostname } = new URL(graph.endpoint)
			return !isMicrosoftGraph(host) && !isLoopback(hostname)
		},
	},
	{
		setting: 'outOfBand.scopes',
		loses: 'tokens of people can be had without their session',
		applies: ({ outOfBand }) => outOfBand.scopes.length > 0,
	},
	{
		setting: 'trustedProxies',
		loses: 'headers of very many addresses are believed, of browsers perhaps',
		applies: ({ trustedProxies }) => shareOf(trustedProxies) > widestShare,
	},
	{
		setting: 'legacyCookie',
		loses: 'a cookie of another application, which is not signed, signs somebody in once',
		applies: ({ legacyCookie }) => legacyCookie !== undefined,
	},
	{
		setting: 'NODE_TLS_REJECT_UNAUTHORIZED',
		loses: 'whoever is in between can pass for others; not for those that koa-msal calls, which are checked',
		applies: () => process.env.NODE_TLS_REJECT_UNAUTHORIZED === '0',
	},
]

/**
 * Gives one warning for each setting that takes a protection away. Names it, and never its value.
 * @param told those that were warned of before, for a part of them that has changed since
 */
export function warnOfUnsafeSettings(settings: Settings, told?: Settings): void {
	for (const { setting, loses, applies } of rules)
		if (applies(settings) && !(told && applies(told)))
			process.emitWarning(`unsafe setting: ${setting}: ${loses}`, 'KoaMsalWarning')
}

function isExpected(host: string, authority: string): boolean {
	const known = new URL(`https://${host}`)
	return known.host === new URL(authority).host || isMicrosoftCloud(known.host) || isLoopback(known.hostname)
}

/** What is looked at of a Redis. */
interface Server {
	readonly host?: string
	readonly path?: string
	readonly password?: KeyObject
	readonly tls?: {
		readonly rejectUnauthorized?: unknown
		readonly cert?: unknown
		readonly pfx?: unknown
		readonly minVersion?: unknown
		readonly secureProtocol?: unknown
		readonly ciphers?: unknown
	}
}

/** Every server that a connection begins with; a Sentinel group's are its sentinels, and what they lead to. */
function serversOf(store: TokenStore): readonly Server[] {
	if (store.kind === 'memory') return []
	const { connection } = store
	if (connection.kind === 'cluster') {
		const { redisOptions } = connection.options
		return connection.nodes.map((node) => ({
			...(redisOptions as Server),
			...(typeof node === 'object' && (node as Server)),
		}))
	}
	const { sentinels, sentinelTLS, sentinelPassword, enableTLSForSentinelMode, tls, ...server } =
		connection.options as Server & {
			readonly sentinels?: readonly Server[]
			readonly sentinelTLS?: NonNullable<Server['tls']>
			readonly sentinelPassword?: KeyObject
			readonly enableTLSForSentinelMode?: boolean
		}
	if (!sentinels) return [{ ...server, ...(tls && { tls }) }]
	return sentinels.flatMap(({ host = '' }) => [
		{ ...server, host, ...(tls && enableTLSForSentinelMode && { tls }) },
		// They tell addresses, and hold nothing: a password of theirs is the administrator's business.
		{ host, ...(server.password && { password: server.password }), ...(sentinelTLS && { tls: sentinelTLS }) },
	])
}

/** Whether a Redis is on another host. */
function isElsewhere(store: TokenStore): boolean {
	return serversOf(store).some(({ host = 'localhost', path }) => path === undefined && !isLoopback(host))
}

/** A certificate of the client's own is as good as a password. */
function isOpen({ password, tls }: Server): boolean {
	return !password && tls?.cert === undefined && tls?.pfx === undefined
}

/**
 * RFC 8996; OpenSSL's security level 0 allows everything, and each `secureProtocol` of Node's but that of TLS 1.2 allows
 * older versions.
 */
function isWeak({ minVersion, secureProtocol, ciphers }: NonNullable<Server['tls']>): boolean {
	return (
		minVersion === 'TLSv1' ||
		minVersion === 'TLSv1.1' ||
		(secureProtocol !== undefined && !/^TLSv1_2_/.test(String(secureProtocol))) ||
		/SECLEVEL=0/i.test(String(ciphers))
	)
}

function tellsItsPassword(proxy: KeyObject): boolean {
	const { protocol, username, password, hostname } = new URL(proxy.export().toString())
	return protocol === 'http:' && username + password !== '' && !isLoopback(hostname)
}

/** The part of all addresses of a kind that ranges have, about: the larger of IPv4's and IPv6's. */
function shareOf(ranges: readonly string[]): number {
	const shares = { 4: 0, 6: 0 }
	for (const range of ranges) {
		const [address = '', bits] = range.split('/')
		const length = Number(bits ?? 128)
		const version = isIP(address)
		// IPv4, as IPv6 writes it.
		if (version === 6 && length >= 96 && isMapped(address)) shares[4] += 2 ** (96 - length)
		else if (version === 6) shares[6] += 2 ** -length
		else shares[4] += 2 ** -Number(bits ?? 32)
	}
	return Math.max(shares[4], shares[6])
}

/** Whether an IPv6 address is an IPv4 one, `::ffff:a.b.c.d`, in any spelling: a URL writes each in one way. */
function isMapped(address: string): boolean {
	return new URL(`http://[${address}]`).hostname.startsWith('[::ffff:')
}
