import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { redisTokenStore } from './redis-token-store.js'

type Environment = Readonly<Record<string, string | undefined>>
type Options = Record<string, unknown>

/** Options of `auth` of which an application has exactly one. */
const credentials = ['clientSecret', 'clientCertificate', 'clientAssertion']

/**
 * Completes options with what the environment says, under the names of Azure's own SDKs and the original
 * aiohttp_msal's. An option always wins; a credential among the options rules out those of the environment.
 * Nothing is checked here: that is `resolveSettings`' part, which tells everything at once.
 */
export function withEnvironment(
	{ environmentPrefix = '', ...options }: Options = {},
	environment: Environment = process.env,
): Options {
	const read = (name: string) =>
		environment[`${environmentPrefix}${name}`]?.trim() || environment[name]?.trim() || undefined
	const given = (options.auth ?? {}) as Options
	const fromEnvironment = definedOnly({
		clientId: read('AZURE_CLIENT_ID') ?? read('SP_APP_ID'),
		authority: authorityOf(read),
		redirectUri: redirectUriOf(read, options.prefix),
		allowedTenants: listOf(read('MSAL_ALLOWED_TENANTS')),
		...credentialOf(read),
	})
	if (credentials.some((name) => given[name] !== undefined))
		for (const name of credentials) delete fromEnvironment[name]
	const redis = read('REDIS_URL') ?? read('REDIS')
	const cookieName = read('COOKIE_NAME')
	const proxy = read('HTTPS_PROXY') ?? read('https_proxy')
	const noProxy = read('NO_PROXY') ?? read('no_proxy')
	return {
		...(redis !== undefined && options.store === undefined && { store: storeOf(redis) }),
		...definedOnly({ secrets: listOf(read('MSAL_SECRETS')) }),
		...options,
		auth: { ...fromEnvironment, ...given },
		...(cookieName !== undefined && { session: { cookieName, ...(options.session as Options) } }),
		...(proxy !== undefined && {
			network: { proxy, ...(noProxy !== undefined && { noProxy }), ...(options.network as Options) },
		}),
	}
}

type Read = (name: string) => string | undefined

function authorityOf(read: Read): string | undefined {
	const tenant = read('AZURE_TENANT_ID')
	if (tenant === undefined) return read('SP_AUTHORITY')
	const host = read('AZURE_AUTHORITY_HOST') ?? 'https://login.microsoftonline.com'
	return `${host.replace(/\/+$/, '')}/${tenant}`
}

function redirectUriOf(read: Read, prefix: unknown): string | undefined {
	const domain = read('DOMAIN')
	const known = read('MSAL_REDIRECT_URI')
	if (known !== undefined || domain === undefined) return known
	const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(domain) ? 'http' : 'https'
	return `${scheme}://${domain}${typeof prefix === 'string' ? prefix : '/user'}/authorized`
}

function credentialOf(read: Read): Options {
	const certificate = read('AZURE_CLIENT_CERTIFICATE_PATH')
	if (certificate !== undefined) return { clientCertificate: readCertificate(certificate) }
	const secret = read('AZURE_CLIENT_SECRET') ?? read('SP_APP_PW')
	if (secret !== undefined) return { clientSecret: secret }
	const tokenFile = read('AZURE_FEDERATED_TOKEN_FILE')
	// Kubernetes replaces the file as the token nears its end.
	if (tokenFile !== undefined)
		return { clientAssertion: async () => (await readFile(tokenFile, 'utf8')).trim() }
	return {}
}

/** A malformed URL stays what it is, to be refused with all else. */
function storeOf(url: string): unknown {
	try {
		return redisTokenStore(url)
	} catch {
		return url
	}
}

/** A PEM file with the key and the certificate, as Azure's SDKs take it. Unreadable: an empty one, refused later. */
function readCertificate(file: string): Options {
	try {
		const pem = readFileSync(file, 'utf8')
		const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----/.exec(
			pem,
		)?.[0]
		const x5c = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)?.join('\n')
		const der = new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERTIFICATE-----'))).raw
		return { thumbprintSha256: createHash('sha256').update(der).digest('hex'), privateKey, x5c }
	} catch {
		return {}
	}
}

function listOf(text: string | undefined): string[] | 'any' | undefined {
	if (text === undefined || text === 'any') return text as 'any' | undefined
	return text
		.split(',')
		.map((item) => item.trim())
		.filter((item) => item !== '')
}

function definedOnly(options: Options): Options {
	return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
