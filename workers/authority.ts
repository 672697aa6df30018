import { createRemoteJWKSet, customFetch, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { BrokerError } from '../src/errors.js'
import { isLoopback } from '../src/loopback.js'
import type { Http } from '../src/network.js'
import type { ProviderMetadata, WorkerSettings } from '../src/wire.js'

export interface Authority {
	readonly metadata: ProviderMetadata
	/** The document itself, for MSAL. */
	readonly metadataJson: string
	readonly keys: JWTVerifyGetKey & { jwks(): JSONWebKeySet | undefined }
}

/**
 * The provider's OpenID configuration, fetched when first needed and kept: a provider that is down does not
 * stop the start, and no later operation asks again.
 * @throws ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL
 */
export function createAuthority(settings: WorkerSettings, http: Http): () => Promise<Authority> {
	let known: Promise<Authority> | undefined
	return () => {
		known ??= load(settings, http).catch((error) => {
			known = undefined
			throw error
		})
		return known
	}
}

async function load(settings: WorkerSettings, http: Http): Promise<Authority> {
	const metadataJson = settings.authorityMetadata ?? (await fetchConfiguration(settings.authority, http))
	const metadata = readConfiguration(metadataJson, settings.authority, settings.knownAuthorities)
	return { metadata, metadataJson, keys: createKeys(metadata.jwksUri, settings.network.timeout, http) }
}

/** Milliseconds for which keys are believed: a key that was withdrawn is believed no longer. */
const keysLive = 600_000

/** Milliseconds between two fetches for key ids that nobody knows. */
const keysRest = 30_000

/**
 * The provider's keys, fetched when first needed, when they are old, and for a key id that is not among them. jose's own
 * rests count from any fetch, which had who signed in shortly before a rotation refused after it, and by a clock that
 * may be set back.
 */
function createKeys(uri: string, timeout: number, http: Http): Authority['keys'] {
	const known = createRemoteJWKSet(new URL(uri), {
		[customFetch]: async (url: string) => {
			const answer = await http(url)
			if (answer.status >= 500 || answer.status === 429) throw unavailable(url, answer.status)
			return new Response(new Uint8Array(answer.body), { status: answer.status })
		},
		timeoutDuration: timeout,
		cacheMaxAge: Number.POSITIVE_INFINITY,
		cooldownDuration: Number.POSITIVE_INFINITY,
	})
	let [fetchedAt, restsUntil] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
	const fetchAnew = async () => {
		try {
			await known.reload()
			fetchedAt = performance.now()
		} catch (error) {
			// It has not said that it does not know the key.
			restsUntil = Number.NEGATIVE_INFINITY
			throw error
		}
	}
	const find: JWTVerifyGetKey = async (header, token) => {
		const asked = performance.now()
		if (asked >= fetchedAt + keysLive) await fetchAnew()
		try {
			return await known(header, token)
		} catch (error) {
			if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
			if (fetchedAt < asked) {
				if (!known.reloading) {
					if (asked < restsUntil) throw error
					restsUntil = asked + keysRest
				}
				await fetchAnew()
			}
			return known(header, token)
		}
	}
	return Object.assign(find, { jwks: () => known.jwks() })
}

async function fetchConfiguration(authority: string, http: Http): Promise<string> {
	const url = `${authority}/v2.0/.well-known/openid-configuration`
	const answer = await http(url)
	if (answer.status === 429 || answer.status >= 500) throw unavailable(url, answer.status)
	if (answer.status !== 200)
		throw new BrokerError('ERR_IDP_PROTOCOL', `${url} answered ${answer.status}. Check auth.authority.`)
	return answer.body.toString()
}

/** OpenID Connect Discovery 1.0, 4.3: what is fetched must be about the authority that was asked. */
export function readConfiguration(
	json: string,
	authority: string,
	knownAuthorities: readonly string[] = [],
): ProviderMetadata {
	let document: Record<string, unknown>
	try {
		document = JSON.parse(json) as Record<string, unknown>
		if (typeof document !== 'object' || document === null) throw new TypeError()
	} catch {
		throw new BrokerError('ERR_IDP_PROTOCOL', `The OpenID configuration of ${authority} is not JSON.`)
	}
	const { host } = new URL(authority)
	const url = (name: string): URL | undefined => {
		const value = document[name]
		return typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
	}
	const required = (name: string, accepts: (url: URL) => boolean): string => {
		const value = url(name)
		if (!value || !accepts(value))
			throw new BrokerError(
				'ERR_IDP_PROTOCOL',
				`The OpenID configuration of ${authority} has no acceptable ${name}.`,
			)
		return document[name] as string
	}
	// Secrets, codes and tokens go to these two, and the keys decide whom we believe: only the authority itself.
	const own = (value: URL) => value.protocol === 'https:' && value.host === host
	// A person's browser goes to these two. Plain http only on this very machine, for a provider under development.
	const page = (value: URL) => value.protocol === 'https:' || isLoopback(value.hostname)
	const endSession = url('end_session_endpoint')
	return {
		issuer: required(
			'issuer',
			(value) =>
				value.protocol === 'https:' &&
				// External ID names its issuer by tenant id: another host, which knownAuthorities then lists.
				(value.host === host || knownAuthorities.includes(value.host)) &&
				isAbout(value, authority),
		),
		tokenEndpoint: required('token_endpoint', own),
		jwksUri: required('jwks_uri', own),
		authorizationEndpoint: required('authorization_endpoint', page),
		...(endSession && page(endSession) && { endSessionEndpoint: endSession.href }),
		issParameterSupported: document.authorization_response_iss_parameter_supported === true,
	}
}

/**
 * Whether an issuer is the authority's: of the tenant whose id the authority names, and of any tenant only where
 * the authority is everybody's. A tenant's domain name does not tell its id.
 */
function isAbout(issuer: URL, authority: string): boolean {
	const [, tenant = ''] = new URL(authority).pathname.toLowerCase().split('/')
	const segments = decodeURI(issuer.pathname).toLowerCase().split('/')
	if (segments.includes('{tenantid}')) return tenant === 'common' || tenant === 'organizations'
	return !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(tenant) || segments.includes(tenant)
}

function unavailable(url: string, status: number): BrokerError {
	return new BrokerError('ERR_IDP_UNAVAILABLE', `${new URL(url).host} answered ${status}.`)
}
