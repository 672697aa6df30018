import { BrokerError } from '../errors.js'
import { normaliseScopes } from '../scopes.js'
import type { Settings } from '../settings.js'
import { checkScopes } from '../silent-request.js'

/** Where a call goes, and the scopes of the token that goes with it. */
export interface Target {
	readonly url: URL
	readonly scopes: readonly string[]
}

/** Microsoft Graph in scopes: by its address, and by its application id. */
const graphResources = ['https://graph.microsoft.com', '00000003-0000-0000-c000-000000000000']

/**
 * Makes the check that comes before everything else: no token is acquired for, and no socket opened to, a host that is
 * not allowed. Nor does a token of Microsoft Graph's go elsewhere, or another one there: whoever gets it could use it.
 * Which of the other APIs a scope is of, its name does not tell: that is the caller's to know.
 */
export function createTargetCheck(
	settings: Pick<Settings, 'graph' | 'downstream' | 'scopes'>,
): (address: string | URL, scopes: readonly string[] | undefined) => Target {
	const graph = new URL(settings.graph.endpoint)
	const hosts = new Set([graph.host, ...settings.downstream.allowedHosts])
	const resources = [...graphResources, graph.origin]
	// A scope that names no resource is Graph's: https://learn.microsoft.com/entra/identity-platform/scopes-oidc
	const isOfGraph = (scope: string) =>
		!scope.includes('/') || resources.some((resource) => scope.startsWith(`${resource}/`))

	return (address, asked) => {
		const url = parse(address)
		if (url.protocol !== 'https:' || url.username !== '' || url.password !== '')
			throw forbidden('A token goes over https alone, to an address without user name and password')
		if (!hosts.has(url.host)) throw forbidden(`${url.host} is not one of downstream.allowedHosts`)
		if (asked !== undefined) checkScopes(asked)
		const isGraph = url.host === graph.host
		const scopes = asked ?? (isGraph ? settings.scopes : [])
		const { wanted } = normaliseScopes(scopes)
		if (wanted.length === 0) throw forbidden(`Calls to ${url.host} need scopes of that API`)
		if (!wanted.every((scope) => isOfGraph(scope) === isGraph))
			throw forbidden(
				`The scopes are not those of ${isGraph ? 'Microsoft Graph' : url.host}, where the call goes`,
			)
		return { url, scopes }
	}
}

/** As fetch reads it; what is called is what was checked. */
function parse(address: string | URL): URL {
	// Not everybody writes TypeScript, and there are objects that throw when they are made a text.
	const text = typeof address === 'string' || address instanceof URL ? String(address) : ''
	if (!URL.canParse(text)) throw forbidden('This is no absolute URL')
	return new URL(text)
}

function forbidden(why: string): BrokerError {
	return new BrokerError('ERR_FORBIDDEN_TARGET', `${why}.`)
}
