import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { redisTokenStore } from './redis-token-store.js'

type Environment = Readonly<Record<string, string | undefined>>
type Options = Record<string, unknown>

/** Options of `auth` of which an application has exactly one. */
const credentials = ['clientSecret', 'clientCertificate', 'clientAssertion']

/**
 * Completes options with what the environment says, under the names of Azure's own SDKs and the original
 * aiohttp_msal's. An option always wins; a credential among the options rules out those of the environment.
 * What the environment says counts before the same name in `envFile`; neither is changed.
 * Nothing is checked here: that is `resolveSettings`' part, which tells everything at once.
 */
export function withEnvironment(
	{ environmentPrefix = '', envFile, ...options }: Options = {},
	environment: Environment = process.env,
): Options {
	const file = envFile === undefined ? {} : readEnvFile(envFile)
	const value = (name: string) => (environment[name] ?? file?.[name])?.trim() || undefined
	const mine: Read = (name) => value(`${environmentPrefix}${name}`)
	const read: Read = (name) => mine(name) ?? value(name)
	// All names of one setting with the prefix before any without: a credential of another application that happens
	// to be there must not be taken for one of this.
	const first = <T>(of: (from: Read) => T | undefined) => of(mine) ?? of(value)
	const given = definedOnly((options.auth ?? {}) as Options)
	const fromEnvironment = definedOnly({
		clientId: first((from) => from('AZURE_CLIENT_ID') ?? from('SP_APP_ID')),
		authority: first((from) => authorityOf(from, read('AZURE_AUTHORITY_HOST'))),
		redirectUri: first((from) => redirectUriOf(from, options)),
		allowedTenants: listOf(read('MSAL_ALLOWED_TENANTS')),
		...first(credentialOf),
	})
	if (credentials.some((name) => given[name] !== undefined))
		for (const name of credentials) delete fromEnvironment[name]
	const redis = options.store === undefined ? first((from) => from('REDIS_URL') ?? from('REDIS')) : undefined
	const absoluteTimeout = read('MSAL_SESSION_ABSOLUTE_TIMEOUT')
	const session = definedOnly({
		cookieName: read('COOKIE_NAME'),
		absoluteTimeout: absoluteTimeout && Number(absoluteTimeout),
	})
	const proxy = first((from) => from('HTTPS_PROXY') ?? from('https_proxy'))
	const noProxy = first((from) => from('NO_PROXY') ?? from('no_proxy'))
	const legacyCookie = read('MSAL_LEGACY_COOKIE')
	return {
		// One that can't be read stays, to be refused with all else.
		...(file === undefined && { envFile }),
		...(redis !== undefined && { store: storeOf(redis) }),
		...definedOnly({ secrets: listOf(read('MSAL_SECRETS')), profile: read('MSAL_PROFILE') }),
		...definedOnly(options),
		auth: { ...fromEnvironment, ...given },
		...(Object.keys(session).length > 0 && { session: completed(session, options.session) }),
		...(legacyCookie !== undefined && {
			legacyCookie: completed({ name: legacyCookie }, options.legacyCookie),
		}),
		...(proxy !== undefined && {
			network: completed({ proxy, ...(noProxy !== undefined && { noProxy }) }, options.network),
		}),
	}
}

/** A section that is no object stays what it is, to be refused. */
function completed(fromEnvironment: Options, given: unknown): unknown {
	if (given === undefined) return fromEnvironment
	return typeof given === 'object' && given !== null ? { ...fromEnvironment, ...definedOnly(given) } : given
}

type Read = (name: string) => string | undefined

function authorityOf(read: Read, host = 'https://login.microsoftonline.com'): string | undefined {
	const tenant = read('AZURE_TENANT_ID')
	if (tenant === undefined) return read('SP_AUTHORITY')
	return `${host.replace(/\/+$/, '')}/${tenant}`
}

function redirectUriOf(read: Read, { basePath = '', prefix = '/user' }: Options): string | undefined {
	const domain = read('DOMAIN')
	const known = read('MSAL_REDIRECT_URI')
	if (known !== undefined || domain === undefined) return known
	const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(domain) ? 'http' : 'https'
	// What is no text is refused as itself.
	const path = [basePath, prefix].filter((part) => typeof part === 'string').join('')
	return `${scheme}://${domain}${path}/authorized`
}

function credentialOf(read: Read): Options | undefined {
	const certificate = read('AZURE_CLIENT_CERTIFICATE_PATH')
	if (certificate !== undefined) return { clientCertificate: { file: certificate } }
	const secret = read('AZURE_CLIENT_SECRET') ?? read('SP_APP_PW')
	if (secret !== undefined) return { clientSecret: secret }
	const tokenFile = read('AZURE_FEDERATED_TOKEN_FILE')
	// Kubernetes replaces the file as the token nears its end.
	if (tokenFile !== undefined)
		return { clientAssertion: async () => (await readFile(tokenFile, 'utf8')).trim() }
	return undefined
}

function readEnvFile(file: unknown): Environment | undefined {
	try {
		// Some editors put a byte order mark in front, which would be part of the first name.
		return parseEnv(readFileSync(file as string, 'utf8').replace(/^\ufeff/, '')) as Environment
	} catch {
		return undefined
	}
}

/** A malformed URL stays what it is, to be refused with all else. */
function storeOf(url: string): unknown {
	try {
		return redisTokenStore(url)
	} catch {
		return url
	}
}

function listOf(text: string | undefined): string[] | 'any' | undefined {
	if (text === undefined || text === 'any') return text as 'any' | undefined
	return text
		.split(',')
		.map((item) => item.trim())
		.filter((item) => item !== '')
}

function definedOnly(options: object): Options {
	return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
