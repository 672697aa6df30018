import { createHash, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import type { Context } from 'koa'
import { z } from 'zod'
import {
	type CredentialOptions,
	type CredentialSource,
	credentialSource,
	isClientCertificate,
	readCertificate,
} from './credential.js'
import { BrokerError } from './errors.js'
import type { SignedIn, SignedInHook } from './koa/signed-in.js'
import { isLoopback } from './loopback.js'
import { MemoryTokenStore } from './memory-token-store.js'
import { isOfManyTenants } from './microsoft-clouds.js'
import type { NetworkSettings } from './network.js'
import type { RedisTokenStore } from './redis-token-store.js'

/** Where tokens and sessions are kept: `memoryTokenStore()` or `redisTokenStore(…)`. */
export type TokenStore = MemoryTokenStore | RedisTokenStore

/** Makes a client assertion (RFC 7523), for workload identity federation. Called on the main thread. */
export type ClientAssertionFunction = (request: {
	readonly clientId: string
	readonly tokenEndpoint: string
}) => Promise<string>

/** Turns bodies into JSON texts and back, as `JSON` does. */
export interface Serialiser {
	readonly stringify: (value: unknown) => string
	readonly parse: (text: string) => unknown
}

/** The application's registration at the provider. Names are msal-node's `Configuration.auth`'s. */
export interface AuthOptions extends CredentialOptions {
	/** Application (client) id. */
	readonly clientId: string
	/** `https://login.microsoftonline.com/{tenant}`. */
	readonly authority: string
	/** Where the provider sends people back to, as registered: https, or http on localhost. */
	readonly redirectUri: string
	/** The application's own client assertions; instead of `clientSecret` and `clientCertificate`. */
	readonly clientAssertion?: ClientAssertionFunction
	/**
	 * Hosts that are to be believed beside Microsoft's own: `host` or `host:port`. Each but the authority's takes a
	 * protection away, and gives a warning at the start: it is believed who somebody is. Default `[]`.
	 */
	readonly knownAuthorities?: readonly string[]
	/** The OpenID configuration as a JSON text, when it is not to be fetched. */
	readonly authorityMetadata?: string
	/**
	 * Tenant ids whose people may sign in, or `'any'`. Required for the authorities `common` and
	 * `organizations`, where the provider lets in everybody's; default `'any'` elsewhere. `'any'` for those two takes a
	 * protection away, and gives a warning at the start: people of every tenant may sign in.
	 */
	readonly allowedTenants?: readonly string[] | 'any'
	/** Default `['CP1']`: this library handles claims challenges. */
	readonly clientCapabilities?: readonly string[]
	/**
	 * How the provider answers a sign-in. Default `form_post`: no code in a URL. `query` takes that protection away, and
	 * gives a warning at the start.
	 */
	readonly responseMode?: 'form_post' | 'query'
}

/** Paths of the routes, each instead of `{prefix}/{name}`: `/user/login` and so on. */
export interface RoutePaths {
	readonly login?: string
	/** Where the application sees what the provider sends to the redirect URI. Default: its path, without `basePath`. */
	readonly authorized?: string
	readonly logout?: string
	readonly info?: string
	readonly photo?: string
	readonly debug?: string
}

/**
 * `'page'`: a small page for a person, JSON for an API client. `'throw'`: the `BrokerError`, with its `status` and
 * `expose`, goes on to the application's own error handling. A function answers it itself.
 */
export type OnError = 'page' | 'throw' | ((ctx: Context, error: BrokerError) => unknown)

/** What one set of routes can have of its own. */
export type RouteSettings = Pick<KoaMsalOptions, 'prefix' | 'paths' | 'basePath' | 'onError' | 'keepOnSignIn'>

/** Fields of `GET /user/info`, by name. */
export type InfoFields = Readonly<Record<string, (signedIn: SignedIn) => unknown>>

/** What `koaMsal()` and its parts take. Times are milliseconds. */
export interface KoaMsalOptions {
	readonly auth: AuthOptions
	/** Scopes asked for at sign-in, and by `acquireSilent` when it is given none. Default `['User.Read']`. */
	readonly scopes?: readonly string[]
	/**
	 * Default `memoryTokenStore()`, which in production gives a warning at the start: what it holds is lost with the
	 * process, and other processes hear of no sign-out. So does a Redis on another host without TLS, without a check of
	 * its certificate or without a password, each of which takes a protection away.
	 */
	readonly store?: TokenStore
	/**
	 * Secrets of 32 bytes or more: the first seals and signs, all open and verify. To roll one, put the new one
	 * second, then first, then alone. Required with Redis; default with the memory store: random.
	 */
	readonly secrets?: readonly string[]
	/** Prefix of this library's routes. Default `/user`. */
	readonly prefix?: string
	/** Paths of single routes, as the application sees them. */
	readonly paths?: RoutePaths
	/**
	 * What an ingress takes away from the front of the path: the application sees `/user/login`, the browser
	 * `/tenant1/app/user/login`. Everything that the browser is told begins with it: redirects, links on pages,
	 * cookies' `Path`. The redirect URI is the browser's view as well. It takes a protection away, and gives a warning at
	 * the start: cookies below a path can't have the `__Host-` prefix. Default: nothing.
	 */
	readonly basePath?: string
	/** How failures of the routes and guards are answered. Default `'page'`. */
	readonly onError?: OnError
	/**
	 * Names of session data that stay when another person signs in where somebody was signed in: a basket, say. What
	 * the same person has, and what an anonymous visitor has, stays in any case, under a new session id. Each name takes
	 * a protection away, and they give a warning at the start: the next person sees it. Default `[]`.
	 */
	readonly keepOnSignIn?: readonly string[]
	readonly session?: {
		/** A session ends when it is not used for this long. Default 8 hours, or `absoluteTimeout` if that is less. */
		readonly idleTimeout?: number
		/** A session ends this long after sign-in, whatever happens. Default 7 days. */
		readonly absoluteTimeout?: number
		/** Name of the session cookie, without its prefix and suffix. Default `msal`. */
		readonly cookieName?: string
	}
	/** Local paths that `/user/logout/{to}` may lead to. Default `['/']`. */
	readonly logoutTargets?: readonly string[]
	/**
	 * Called one after the other, and waited for, when somebody has signed in, before they are answered: to look them up,
	 * or to put something into their session. One that throws refuses the sign-in, of which nothing stays; what the person
	 * had in the session as an anonymous visitor does. What it throws is told to the application's log alone, except the
	 * message of a `BrokerError` with the code `ERR_FORBIDDEN` or `ERR_LOGIN_REJECTED`.
	 */
	readonly onSignedIn?: SignedInHook | readonly SignedInHook[]
	/**
	 * More fields of `GET /user/info`, by name: functions of who is signed in, asked all at a time, with each request for
	 * it. What one resolves to becomes JSON; one that throws is null there, and an error event of the application.
	 */
	readonly info?: InfoFields
	/**
	 * Whether there is `GET /user/debug`, with `NODE_ENV=development` alone, for who is signed in: account ids, scopes,
	 * expiry times, versions and settings without secrets. `true` takes a protection away, and gives a warning at the
	 * start. Default `false`.
	 */
	readonly debug?: boolean
	readonly pool?: {
		/** Worker threads. Default: processor cores less one, from one to four. */
		readonly threads?: number
		/** Tasks that one worker runs at a time. Default 256. */
		readonly concurrency?: number
		/** Tasks that wait for a worker; more are refused with `ERR_OVERLOADED`. Default 1,024. */
		readonly maxQueue?: number
		/** Deadline of a task, waiting included. Default 15 seconds. */
		readonly taskTimeout?: number
	}
	readonly refresh?: {
		/**
		 * The part of a token's life after which it is refreshed behind its callers, where the provider names no time
		 * (`refresh_in`); 0.1 to 0.9, spread by a quarter to either side. Default 0.5.
		 */
		readonly after?: number
		/** Refreshes at the provider at a time, in this process; more wait. Default 128. */
		readonly maxInFlight?: number
		/**
		 * A process that dies while it refreshes a session keeps the others from it for this long and two seconds, which
		 * together are better less than `pool.taskTimeout`. Default 10 s.
		 */
		readonly lease?: number
	}
	readonly network?: {
		/** Deadline of one call to the provider; calls of Microsoft Graph and APIs have `downstream.timeout`. Default 10 seconds. */
		readonly timeout?: number
		/**
		 * PEM file of certificates that are trusted beside Node's own. It takes a protection away, and gives a warning at
		 * the start, unless the authority is on this machine: whoever has their keys can pass for the provider.
		 */
		readonly caFile?: string
		/**
		 * URL of a proxy for all calls. A password in an `http:` one takes a protection away, and gives a warning at the
		 * start: it goes to the proxy in the clear.
		 */
		readonly proxy?: string
		/** Hosts reached without the proxy, separated by commas, as in `NO_PROXY`. Default: none. */
		readonly noProxy?: string
	}
	readonly cache?: {
		/** Tokens that L1 holds at most. Default 10,000. */
		readonly maxEntries?: number
		/** Bytes that L1 holds at most. Default 64 MiB. */
		readonly maxBytes?: number
		/** A token is handed out while it has more than this left. Default 5 minutes. */
		readonly expiryMargin?: number
		/**
		 * Bytes of one session's tokens in the store, sealed: beyond it the oldest access tokens are left out, and
		 * refreshed when they are asked for. 16,384 to 67,108,864; default 1 MiB.
		 */
		readonly maxBlobBytes?: number
	}
	readonly outOfBand?: {
		/**
		 * Scopes that `forUser` may be asked for. Each takes a protection away, and they give a warning at the start: no
		 * session is needed for a person's token. Default `[]`: it refuses everything.
		 */
		readonly scopes?: readonly string[]
	}
	readonly graph?: {
		/**
		 * Microsoft Graph's address. Another host than one of Microsoft's takes a protection away, and gives a warning at
		 * the start: it gets people's tokens. Default `https://graph.microsoft.com/v1.0`.
		 */
		readonly endpoint?: string
	}
	/**
	 * What sign-in asks of Microsoft Graph and keeps in the session, to be shown: with `user` the mail address, by which
	 * the user is then found as well; with `user+manager` the manager's name and address too, for which `scopes` has to
	 * have `User.Read.All`. It takes 2 seconds at most, and what can't be had is left out. Default `none`.
	 */
	readonly profile?: 'none' | 'user' | 'user+manager'
	/** Calls to APIs with the person's token: `broker.forSession(session)`. */
	readonly downstream?: {
		/**
		 * Hosts that may be called, exactly: `host` or `host:port`, over https. Microsoft Graph's is among them always.
		 * Default `[]`.
		 */
		readonly allowedHosts?: readonly string[]
		/**
		 * Deadline of a call until its answer begins, waits and repetitions included; after that, the longest gap in its
		 * body. 100 to 300,000; default 30 seconds. A call can have its own.
		 */
		readonly timeout?: number
		/** Bytes of an answer's body, unpacked, at most. Default 64 MiB. A call can have its own. */
		readonly maxBytes?: number
		/** Writes and reads JSON bodies. Default `JSON`. */
		readonly serialiser?: Serialiser
	}
	/**
	 * Addresses (or CIDR ranges) of proxies whose `X-Forwarded-Proto` and `X-Forwarded-Host` are believed, to
	 * send a browser that came by another name or scheme to the redirect URI's before it signs in. Cookies and
	 * redirect URI never depend on a header. More than a 64th of all addresses takes a protection away, and gives a
	 * warning at the start: browsers may be among them. Default `[]`.
	 */
	readonly trustedProxies?: readonly string[]
	/**
	 * Accepts the session cookie of the original, aiohttp_msal, once, for a session that `npx koa-msal import` has
	 * brought over, so that nobody has to sign in again. The person is let in when the provider has taken the refresh
	 * token and said itself who that is. Needs Redis. It takes a protection away, and gives a warning at the start: that
	 * cookie is not signed. Default: not accepted.
	 */
	readonly legacyCookie?: {
		/** The original's `COOKIE_NAME`. Default `AIOHTTP_SESSION`. */
		readonly name?: string
		/** The original's `DOMAIN`, which its cookie was set for. Default: the redirect URI's host. */
		readonly domain?: string
	}
}

/** Options, checked and completed. Frozen; nothing reads the options after this. */
export interface Settings {
	readonly auth: {
		readonly clientId: string
		readonly authority: string
		readonly redirectUri: URL
		readonly credential: CredentialSource
		readonly clientAssertion?: ClientAssertionFunction
		readonly knownAuthorities: readonly string[]
		readonly authorityMetadata?: string
		readonly allowedTenants: readonly string[] | 'any'
		readonly clientCapabilities: readonly string[]
		readonly responseMode: 'form_post' | 'query'
	}
	readonly scopes: readonly string[]
	readonly store: TokenStore
	readonly secrets: readonly KeyObject[]
	readonly prefix: string
	/** Those that were set; the others follow the prefix. */
	readonly ownPaths: Readonly<Partial<Record<keyof RoutePaths, string | undefined>>>
	/** As the application sees them. */
	readonly paths: Readonly<Record<keyof RoutePaths, string>>
	readonly basePath: string
	readonly onError: OnError
	readonly keepOnSignIn: readonly string[]
	readonly session: {
		readonly idleTimeout: number
		readonly absoluteTimeout: number
		readonly cookieName: string
	}
	readonly logoutTargets: readonly string[]
	readonly onSignedIn: readonly SignedInHook[]
	readonly info: InfoFields
	readonly debug: boolean
	readonly pool: {
		readonly threads: number
		readonly concurrency: number
		readonly maxQueue: number
		readonly taskTimeout: number
	}
	readonly refresh: { readonly after: number; readonly maxInFlight: number; readonly lease: number }
	readonly network: NetworkSettings
	readonly cache: {
		readonly maxEntries: number
		readonly maxBytes: number
		readonly expiryMargin: number
		readonly maxBlobBytes: number
	}
	readonly outOfBand: { readonly scopes: readonly string[] }
	readonly graph: { readonly endpoint: string }
	readonly profile: 'none' | 'user' | 'user+manager'
	readonly downstream: {
		readonly allowedHosts: readonly string[]
		readonly timeout: number
		readonly maxBytes: number
		readonly serialiser: Serialiser
	}
	readonly trustedProxies: readonly string[]
	readonly legacyCookie?: { readonly name: string; readonly domain: string }
	/** Prefix of all Redis keys: a hash of the client id, because services share a Redis. */
	readonly namespace: string
	/** Suffix of all cookie names: a hash of the client id, because services share a host. */
	readonly cookieSuffix: string
}

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const defaultIdleTimeout = 8 * hour
const defaultAbsoluteTimeout = 7 * day

/** Fields of `GET /user/info` that this library answers for. */
const ownInfo = ['authenticated', 'name', 'username', 'mail', 'objectId', 'tenantId']

/** What each setting should look like. A message names the setting and quotes this, never the value. */
const expectations: Record<string, string> = {
	auth: 'the application’s registration: clientId, authority, redirectUri and a credential',
	'auth.clientId': 'the application (client) id (AZURE_CLIENT_ID), like 11111111-2222-3333-4444-555555555555',
	'auth.authority':
		'https://login.microsoftonline.com/{tenant} (AZURE_TENANT_ID, with AZURE_AUTHORITY_HOST for another cloud)',
	'auth.redirectUri':
		'the registered address (MSAL_REDIRECT_URI): https://app.example/user/authorized, or http on localhost outside production',
	'auth.clientSecret':
		'the secret’s value (AZURE_CLIENT_SECRET), not its id, or an async function that returns it',
	'auth.clientCertificate':
		'{ thumbprintSha256: 64 hex digits, privateKey: an unencrypted RSA key of 2048 bits or more in PEM, x5c?: PEM }, or { file: a PEM file with both } (AZURE_CLIENT_CERTIFICATE_PATH), or an async function that returns the former',
	'auth.clientAssertion': 'an async function that returns a client assertion (AZURE_FEDERATED_TOKEN_FILE)',
	'auth.credential':
		'exactly one of auth.clientSecret (AZURE_CLIENT_SECRET), auth.clientCertificate (AZURE_CLIENT_CERTIFICATE_PATH), auth.clientAssertion (AZURE_FEDERATED_TOKEN_FILE)',
	'auth.knownAuthorities': 'a list of hosts, like ["login.example:8443"]',
	'auth.authorityMetadata': 'the OpenID configuration as a JSON text',
	'auth.allowedTenants':
		"a list of tenant ids, or 'any'; the authorities common and organizations need it (MSAL_ALLOWED_TENANTS)",
	'auth.clientCapabilities': 'a list like ["CP1"]',
	'auth.responseMode': "'form_post' or 'query'",
	scopes: 'a list of one scope or more, like ["User.Read"]',
	store: 'memoryTokenStore() or redisTokenStore(…) (REDIS_URL, like redis://host:6379/0)',
	secrets:
		'a list of different secrets of 32 bytes or more (MSAL_SECRETS, separated by commas); make one with: openssl rand -base64 32. With Redis it is required',
	prefix: 'a path like /user',
	paths:
		'{ login, authorized, logout, info, photo, debug }, each a path like /sign-in, all different and none below another',
	basePath:
		'what the ingress takes away, like /tenant1/app; auth.redirectUri begins with it, as the browser sees it',
	onError: "'page', 'throw' or a function (ctx, error) => …",
	keepOnSignIn: 'a list of names of session data, like ["basket"]',
	'session.idleTimeout': 'milliseconds, from 60000 to session.absoluteTimeout',
	'session.absoluteTimeout': 'milliseconds, from 60000 to 7776000000 (MSAL_SESSION_ABSOLUTE_TIMEOUT)',
	'session.cookieName': 'letters, digits, - and _ (COOKIE_NAME)',
	logoutTargets: 'a list of local paths like ["/"]',
	onSignedIn: 'a function, or a list of functions',
	info: `an object of functions, none of them called ${ownInfo.join(', ')}`,
	debug: 'true or false',
	'pool.threads': 'a whole number from 1 to 64',
	'pool.concurrency': 'a whole number from 1 to 1024',
	'pool.maxQueue': 'a whole number from 1 to 100000',
	'pool.taskTimeout': 'milliseconds, from 100 to 300000',
	'refresh.after': 'a number from 0.1 to 0.9',
	'refresh.maxInFlight': 'a whole number from 1 to 10000',
	'refresh.lease': 'milliseconds, from 1000 to 60000',
	'network.timeout': 'milliseconds, from 100 to 300000',
	'network.caFile': 'a readable PEM file',
	'network.proxy':
		'an http:// or https:// URL (HTTPS_PROXY) like http://user:password@host:3128, percent-encoded and without a path',
	'network.noProxy': 'host names, separated by commas (NO_PROXY)',
	'cache.maxEntries': 'a whole number, 1 or more',
	'cache.maxBytes': 'bytes, 1048576 or more',
	'cache.expiryMargin': 'milliseconds, from 0 to 3600000',
	'cache.maxBlobBytes': 'bytes, from 16384 to 67108864',
	'outOfBand.scopes': 'a list of the scopes that forUser may be asked for, like ["User.Read"]',
	'graph.endpoint': 'an https URL like https://graph.microsoft.com/v1.0',
	profile: "'none', 'user' or 'user+manager' (MSAL_PROFILE)",
	'downstream.allowedHosts': 'a list of exact host names, like ["api.example", "api.example:8443"]',
	'downstream.timeout': 'milliseconds, from 100 to 300000',
	'downstream.maxBytes': 'bytes, 1024 or more',
	'downstream.serialiser': 'an object with the functions stringify and parse',
	trustedProxies: 'a list of IP addresses or CIDR ranges, like ["10.0.0.0/8"]',
	legacyCookie: '{ name?, domain? } of the original’s session cookie (MSAL_LEGACY_COOKIE for the name)',
	'legacyCookie.name': 'letters, digits, - and _ (MSAL_LEGACY_COOKIE), like AIOHTTP_SESSION',
	'legacyCookie.domain': 'a host name, like app.example',
	envFile: 'a readable file of NAME=value lines, like .env, given to koaMsal()',
}

const whole = (min: number, max: number, fallback: number) => z.int().min(min).max(max).default(fallback)
const section = <S extends z.ZodRawShape>(shape: S) => z.strictObject(shape).prefault({} as never)
const localPath = z.string().regex(/^\/(?![/\\])[\x21-\x7e]*$/)
const scopes = z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/))
const routePath = localPath.refine((path) => path.length > 1 && !path.endsWith('/') && !/[?#]/.test(path))
const url = (test: (url: URL) => boolean) =>
	z.string().refine((text) => {
		if (!URL.canParse(text)) return false
		const value = new URL(text)
		return !value.username && !value.password && !value.hash && test(value)
	})

/** Not what a person typed, nor a placeholder: many characters, in no order, and not the same ones again. */
function looksRandom(secret: string): boolean {
	const steps = new Set<number>()
	for (let i = 1; i < secret.length; i++) steps.add(secret.charCodeAt(i) - secret.charCodeAt(i - 1))
	return new Set(secret).size >= 10 && steps.size >= 6 && !repeats(secret)
}

/** Whether a text is a shorter one over and over: from its second copy on it stands in itself again. */
function repeats(text: string): boolean {
	for (let length = 1; length <= text.length / 2; length++)
		if (text.startsWith(text.slice(length))) return true
	return false
}

/** What can be said for one set of routes, too. */
const routeShape = {
	prefix: routePath.default('/user'),
	paths: z
		.strictObject({
			login: routePath.optional(),
			authorized: routePath.optional(),
			logout: routePath.optional(),
			info: routePath.optional(),
			photo: routePath.optional(),
			debug: routePath.optional(),
		})
		.default({}),
	basePath: z.union([z.literal(''), routePath]).default(''),
	onError: z
		.custom<OnError>((value) => value === 'page' || value === 'throw' || typeof value === 'function')
		.default('page'),
	keepOnSignIn: z.array(z.string().min(1)).default([]),
}

const shape = z.strictObject({
	auth: z.strictObject({
		clientId: z.string().regex(/^[\w.~-]{1,128}$/),
		authority: url(
			({ protocol, pathname, search }) =>
				protocol === 'https:' && pathname.length > 1 && !pathname.includes('%') && !search,
		),
		redirectUri: url(
			(value) =>
				!value.search &&
				(value.protocol === 'https:' ||
					(value.protocol === 'http:' &&
						isLoopback(value.hostname) &&
						process.env.NODE_ENV !== 'production')),
		),
		clientSecret: z
			.custom<NonNullable<CredentialOptions['clientSecret']>>(
				(value) => typeof value === 'function' || (typeof value === 'string' && value !== ''),
			)
			.optional(),
		clientCertificate: z
			.custom<NonNullable<CredentialOptions['clientCertificate']>>(isCertificateOption)
			.optional(),
		clientAssertion: z.custom<ClientAssertionFunction>((value) => typeof value === 'function').optional(),
		knownAuthorities: z.array(z.string().regex(/^[\w.-]+(:\d+)?$/)).default([]),
		authorityMetadata: z.string().refine(isJsonObject).optional(),
		allowedTenants: z.union([z.literal('any'), z.array(z.string().regex(/^[\w.-]+$/)).min(1)]).optional(),
		clientCapabilities: z.array(z.string().min(1)).default(['CP1']),
		responseMode: z.enum(['form_post', 'query']).default('form_post'),
	}),
	scopes: scopes.min(1).default(['User.Read']),
	store: z.custom<TokenStore>(isTokenStore).optional(),
	secrets: z
		.array(z.string().refine((text) => Buffer.byteLength(text) >= 32 && looksRandom(text)))
		.min(1)
		.refine((list) => new Set(list).size === list.length)
		.optional(),
	...routeShape,
	session: section({
		idleTimeout: z
			.int()
			.min(minute)
			.max(90 * day)
			.optional(),
		absoluteTimeout: whole(minute, 90 * day, defaultAbsoluteTimeout),
		cookieName: z
			.string()
			.regex(/^[\w-]{1,64}$/)
			.default('msal'),
	}),
	logoutTargets: z.array(localPath).min(1).default(['/']),
	onSignedIn: z
		.custom<NonNullable<KoaMsalOptions['onSignedIn']>>((value) => [value].flat().every(isFunction))
		.default([]),
	info: z.custom<InfoFields>(isInfo).default({}),
	debug: z.boolean().default(false),
	pool: section({
		// Node counts the cores of the host, also where a container has fewer (before 22.12, and below one in any version:
		// libuv/libuv#4740, nodejs/node#59200). Four are more than a process has use for.
		threads: whole(1, 64, Math.max(1, Math.min(4, availableParallelism() - 1))),
		concurrency: whole(1, 1024, 256),
		maxQueue: whole(1, 100_000, 1024),
		taskTimeout: whole(100, 300_000, 15_000),
	}),
	refresh: section({
		after: z.number().min(0.1).max(0.9).default(0.5),
		maxInFlight: whole(1, 10_000, 128),
		lease: whole(1000, minute, 10_000),
	}),
	network: section({
		timeout: whole(100, 300_000, 10_000),
		caFile: z.string().min(1).optional(),
		proxy: z
			.string()
			// More than an origin is a password that is not percent-encoded, and would be told as a path.
			.refine((text) => URL.canParse(text) && isProxy(new URL(text)))
			.optional(),
		noProxy: z.string().optional(),
	}),
	cache: section({
		maxEntries: whole(1, 100_000_000, 10_000),
		maxBytes: whole(1_048_576, Number.MAX_SAFE_INTEGER, 64 * 1_048_576),
		expiryMargin: whole(0, hour, 5 * minute),
		maxBlobBytes: whole(16_384, 64 * 1_048_576, 1_048_576),
	}),
	outOfBand: section({ scopes: scopes.default([]) }),
	graph: section({
		endpoint: url((value) => value.protocol === 'https:' && !value.search).default(
			'https://graph.microsoft.com/v1.0',
		),
	}),
	profile: z.enum(['none', 'user', 'user+manager']).default('none'),
	downstream: section({
		allowedHosts: z
			.array(
				z
					.string()
					.regex(/^[a-z\d-]+(\.[a-z\d-]+)*(:\d+)?$/i)
					.refine(isHost),
			)
			.default([]),
		timeout: whole(100, 300_000, 30_000),
		maxBytes: whole(1024, Number.MAX_SAFE_INTEGER, 64 * 1_048_576),
		serialiser: z.custom<Serialiser>(isSerialiser).optional(),
	}),
	trustedProxies: z.array(z.string().refine(isAddressRange)).default([]),
	legacyCookie: z
		.strictObject({
			name: z
				.string()
				.regex(/^[\w-]{1,64}$/)
				.default('AIOHTTP_SESSION'),
			domain: z
				.string()
				.regex(/^[\w-]+(\.[\w-]+)*$/)
				.optional(),
		})
		.optional(),
	// Read by then, if it can be.
	envFile: z.never().optional(),
})

/**
 * Checks all options at once and completes them.
 * @throws ERR_CONFIG naming every bad setting and what it should look like, never its value
 */
export function resolveSettings(options: unknown): Settings {
	const problems = new Map<string, string>()
	const parsed = shape.safeParse(options)
	for (const issue of parsed.error?.issues ?? []) {
		const path = issue.path.map(String)
		if (issue.code === 'unrecognized_keys')
			for (const key of issue.keys) problems.set([...path, key].join('.'), 'is not a setting')
		else report(problems, settingOf(path), isMissing(options, path))
	}
	// These need more than one setting, or the file system: they are told in the same breath.
	const auth = (isObject(options) && isObject(options.auth) && options.auth) || {}
	const credentials = ['clientSecret', 'clientCertificate', 'clientAssertion'].filter(
		(name) => auth[name] !== undefined,
	)
	if (credentials.length !== 1) report(problems, 'auth.credential', credentials.length === 0)
	const manyTenants = typeof auth.authority === 'string' && isOfManyTenants(auth.authority)
	if (manyTenants && auth.allowedTenants === undefined) report(problems, 'auth.allowedTenants', true)
	const input = isObject(options) ? options : {}
	// A text is the URL of a Redis that did not parse: it is refused itself, and will want secrets once it does.
	const redis = isRedisTokenStore(input.store) || typeof input.store === 'string'
	if (redis && input.secrets === undefined) report(problems, 'secrets', true)
	let ca: string | undefined
	const caFile = isObject(input.network) ? input.network.caFile : undefined
	if (typeof caFile === 'string') {
		ca = readPem(caFile)
		if (ca === undefined) report(problems, 'network.caFile', false)
	}
	const { idleTimeout, absoluteTimeout = defaultAbsoluteTimeout } = isObject(input.session)
		? input.session
		: {}
	if (Number(idleTimeout) > Number(absoluteTimeout)) report(problems, 'session.idleTimeout', false)
	if (parsed.success) checkRoutes(problems, parsed.data, new URL(parsed.data.auth.redirectUri))
	if (problems.size > 0 || !parsed.success) throw configError(problems)
	return complete(parsed.data, ca)
}

/** What one set of routes says itself, in place of what the broker's settings say. @throws ERR_CONFIG */
export function withRouteOptions(settings: Settings, options: RouteSettings): Settings {
	const { prefix, ownPaths, basePath, onError, keepOnSignIn } = settings
	const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
	const input = { prefix, paths: ownPaths, basePath, onError, keepOnSignIn, ...given }
	const problems = new Map<string, string>()
	const parsed = z.strictObject(routeShape).safeParse(input)
	for (const issue of parsed.error?.issues ?? []) {
		if (issue.code === 'unrecognized_keys')
			for (const key of issue.keys) problems.set([...issue.path, key].join('.'), 'is not a setting')
		else report(problems, settingOf(issue.path.map(String)), false)
	}
	if (!parsed.success) throw configError(problems)
	const { redirectUri } = settings.auth
	checkRoutes(problems, parsed.data, redirectUri)
	if (problems.size > 0) throw configError(problems)
	return Object.freeze({ ...settings, ...freezeAll(completeRoutes(parsed.data, redirectUri)) })
}

type RouteData = z.infer<z.ZodObject<typeof routeShape>>

function completeRoutes(data: RouteData, { pathname }: URL) {
	const { prefix, paths: ownPaths, basePath, onError, keepOnSignIn } = data
	const paths = {
		login: ownPaths.login ?? `${prefix}/login`,
		authorized: ownPaths.authorized ?? (pathname.slice(basePath.length) || '/'),
		logout: ownPaths.logout ?? `${prefix}/logout`,
		info: ownPaths.info ?? `${prefix}/info`,
		photo: ownPaths.photo ?? `${prefix}/photo`,
		debug: ownPaths.debug ?? `${prefix}/debug`,
	}
	return { prefix, ownPaths, paths, basePath, onError, keepOnSignIn }
}

/** What takes a path behind its own must not take another route's; and cookies reach what is below `basePath` only. */
function checkRoutes(problems: Map<string, string>, data: RouteData, redirectUri: URL): void {
	if (!`${redirectUri.pathname}/`.startsWith(`${data.basePath}/`)) report(problems, 'basePath', false)
	const { login, authorized, logout, ...single } = completeRoutes(data, redirectUri).paths
	const others = Object.values(single)
	const all = [login, authorized, logout, ...others].map((path) => path.toLowerCase())
	const taken = [login, logout].some((open) =>
		[login, logout, ...others].some(
			(path) => path !== open && path.toLowerCase().startsWith(`${open.toLowerCase()}/`),
		),
	)
	if (taken || new Set(all).size < all.length) report(problems, 'paths', false)
}

function complete(data: z.infer<typeof shape>, ca: string | undefined): Settings {
	const { auth, secrets, store = new MemoryTokenStore(), network } = data
	const { serialiser = JSON } = data.downstream
	if (secrets === undefined)
		process.emitWarning(
			'no secrets are set, so a random one is used and a restart signs everyone out. Set secrets (MSAL_SECRETS).',
			'KoaMsalWarning',
		)
	const hash = createHash('sha256').update(auth.clientId).digest('hex')
	const settings: Settings = {
		auth: {
			clientId: auth.clientId,
			authority: auth.authority.replace(/\/+$/, ''),
			redirectUri: new URL(auth.redirectUri),
			credential: credentialSource(
				{
					...(auth.clientSecret !== undefined && { clientSecret: auth.clientSecret }),
					...(auth.clientCertificate && { clientCertificate: auth.clientCertificate }),
				},
				network.timeout,
			),
			...(auth.clientAssertion && { clientAssertion: auth.clientAssertion }),
			knownAuthorities: auth.knownAuthorities,
			...(auth.authorityMetadata !== undefined && { authorityMetadata: auth.authorityMetadata }),
			allowedTenants: auth.allowedTenants ?? 'any',
			clientCapabilities: auth.clientCapabilities,
			responseMode: auth.responseMode,
		},
		scopes: data.scopes,
		store,
		secrets: (secrets ?? [randomBytes(32)]).map((secret) => createSecretKey(Buffer.from(secret as string))),
		...completeRoutes(data, new URL(auth.redirectUri)),
		session: {
			...data.session,
			idleTimeout: data.session.idleTimeout ?? Math.min(defaultIdleTimeout, data.session.absoluteTimeout),
		},
		logoutTargets: data.logoutTargets,
		onSignedIn: [data.onSignedIn].flat(),
		info: { ...data.info },
		debug: data.debug,
		pool: data.pool,
		refresh: data.refresh,
		network: {
			timeout: network.timeout,
			...(ca !== undefined && { ca }),
			...(network.proxy !== undefined && { proxy: createSecretKey(Buffer.from(network.proxy)) }),
			...(network.noProxy !== undefined && { noProxy: network.noProxy }),
		},
		cache: data.cache,
		outOfBand: data.outOfBand,
		graph: { endpoint: data.graph.endpoint.replace(/\/+$/, '') },
		profile: data.profile,
		downstream: {
			...data.downstream,
			// As a URL names them: in lower case, and without the port that is https's own.
			allowedHosts: data.downstream.allowedHosts.map((host) => new URL(`https://${host}`).host),
			// A copy: what is frozen here is not the application's own object, least of all JSON itself.
			serialiser: {
				stringify: (value) => serialiser.stringify(value),
				parse: (text) => serialiser.parse(text),
			},
		},
		trustedProxies: data.trustedProxies,
		...(data.legacyCookie && {
			legacyCookie: {
				name: data.legacyCookie.name,
				domain: data.legacyCookie.domain ?? new URL(auth.redirectUri).hostname,
			},
		}),
		namespace: `koa-msal:${hash.slice(0, 16)}`,
		cookieSuffix: hash.slice(0, 8),
	}
	for (const part of Object.values(settings)) if (part !== store) freezeAll(part)
	return Object.freeze(settings)
}

/** Freezes plain objects and lists, all the way down; keys and URLs are left as they are. */
function freezeAll<T>(value: T): T {
	const plain = Array.isArray(value) || (isObject(value) && Object.getPrototypeOf(value) === Object.prototype)
	if (!plain || Object.isFrozen(value)) return value
	for (const inner of Object.values(value as object)) freezeAll(inner)
	return Object.freeze(value)
}

/** One message for all of them: nobody wants to start an application once per mistake. */
function configError(problems: ReadonlyMap<string, string>): BrokerError {
	const lines = [...problems].map(([name, what]) => `  ${name} ${what}`)
	const count = lines.length === 1 ? '1 setting is' : `${lines.length} settings are`
	return new BrokerError('ERR_CONFIG', `koa-msal: ${count} missing or wrong:\n${lines.join('\n')}`)
}

function report(problems: Map<string, string>, setting: string, missing: boolean): void {
	const expected = expectations[setting]
	const problem = missing ? 'is missing' : 'is not valid'
	problems.set(setting, expected === undefined ? problem : `${problem}: it should be ${expected}`)
}

/** The nearest path that has an expectation: `scopes.0` is `scopes`. */
function settingOf(path: readonly string[]): string {
	for (let end = path.length; end > 0; end--) {
		const name = path.slice(0, end).join('.')
		if (name in expectations) return name
	}
	return path.join('.') || 'options'
}

function isMissing(options: unknown, path: readonly string[]): boolean {
	let value: unknown = options
	for (const name of path) value = isObject(value) ? value[name] : undefined
	return value === undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null
}

function isFunction(value: unknown): boolean {
	return typeof value === 'function'
}

function isInfo(value: unknown): boolean {
	if (!isObject(value) || Array.isArray(value)) return false
	return Object.entries(value).every(([name, field]) => !ownInfo.includes(name) && isFunction(field))
}

function isTokenStore(value: unknown): value is TokenStore {
	return value instanceof MemoryTokenStore || isRedisTokenStore(value)
}

function isRedisTokenStore(value: unknown): value is RedisTokenStore {
	return (
		isObject(value) &&
		value.kind === 'redis' &&
		isObject(value.connection) &&
		isObject(value.connection.options)
	)
}

function isJsonObject(text: string): boolean {
	try {
		const value: unknown = JSON.parse(text)
		return isObject(value) && !Array.isArray(value)
	} catch {
		return false
	}
}

/** The options of a certificate, no more and no less; a file is read once, to tell at the start what is wrong. */
function isCertificateOption(value: unknown): boolean {
	if (typeof value === 'function') return true
	if (!isObject(value)) return false
	const names = Object.keys(value)
	if (names.length === 1 && typeof value.file === 'string') {
		const pem = readPem(value.file)
		return pem !== undefined && isClientCertificate(readCertificate(pem))
	}
	return (
		names.every((name) => ['thumbprintSha256', 'privateKey', 'x5c'].includes(name)) &&
		isClientCertificate(value)
	)
}

function isProxy({ protocol, pathname, search, hash }: URL): boolean {
	return /^https?:$/.test(protocol) && pathname === '/' && search === '' && hash === ''
}

/** Not what looks like a name and is read as an address (`0x7f.1`). */
function isHost(text: string): boolean {
	if (!URL.canParse(`https://${text}`)) return false
	return new URL(`https://${text}`).hostname === text.toLowerCase().replace(/:\d+$/, '')
}

function isSerialiser(value: unknown): boolean {
	return isObject(value) && typeof value.stringify === 'function' && typeof value.parse === 'function'
}

function isAddressRange(text: string): boolean {
	const [address = '', bits, more] = text.split('/')
	const version = isIP(address)
	if (version === 0 || more !== undefined) return false
	return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

function readPem(file: string): string | undefined {
	try {
		const pem = readFileSync(file, 'utf8')
		return pem.includes('-----BEGIN CERTIFICATE-----') ? pem : undefined
	} catch {
		return undefined
	}
}
