import type { Provider } from 'oidc-provider'
import { isLoopback } from './refusals.js'

/**
 * Entra does not compare the port of a loopback redirect URI
 * (https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions), so an application under test
 * may listen wherever it likes. The provider compares all of it.
 */
export function allowAnyLoopbackPort(provider: Provider): void {
	const { prototype } = provider.Client
	prototype.redirectUriAllowed = function (uri) {
		return isRegistered(uri, this.redirectUris ?? [])
	}
	prototype.postLogoutRedirectUriAllowed = function (uri) {
		return isRegistered(uri, this.postLogoutRedirectUris ?? [])
	}
}

/** Whether `uri` is one of `registered`, but for the port of a loopback address. */
export function isRegistered(uri: string, registered: readonly string[]): boolean {
	return (
		registered.includes(uri) ||
		registered.some((known) => withoutLoopbackPort(known) === withoutLoopbackPort(uri))
	)
}

function withoutLoopbackPort(uri: string): string {
	if (!URL.canParse(uri)) return uri
	const url = new URL(uri)
	if (isLoopback(url.hostname)) url.port = ''
	return url.href
}
