import type { AuthenticationResult } from '@azure/msal-node'
import { BrokerError } from '../src/errors.js'
import type { WireToken } from '../src/wire.js'
import { type Authority, createAuthority } from './authority.js'
import { http, settings } from './context.js'
import { assertionSigner } from './credential.js'
import { ProviderCall } from './provider-call.js'

/** The provider as every task of this worker shares it: metadata, keys and assertion, made once. */
export const authority = createAuthority(settings, http)

export const providerCall = (clientInfo?: string) => new ProviderCall(http, clientInfo)

/** MSAL's `clientAssertion`, for the credentials that need one. */
export function clientAssertion(
	known: Authority,
	fromApplication: string | undefined,
): (() => Promise<string>) | undefined {
	const sign = assertionSigner()
	if (sign) return () => sign(known.metadata.tokenEndpoint)
	return fromApplication === undefined ? undefined : async () => fromApplication
}

/** @throws ERR_IDP_PROTOCOL when MSAL's result has no usable token */
export function toWireToken(result: AuthenticationResult): WireToken {
	const { accessToken, expiresOn, refreshOn, scopes, tokenType } = result
	if (!accessToken || !expiresOn)
		throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider’s answer has no token.')
	return {
		accessToken,
		expiresOn: expiresOn.getTime(),
		...(refreshOn && { refreshOn: refreshOn.getTime() }),
		scopes: [...scopes],
		tokenType: tokenType || 'Bearer',
	}
}
