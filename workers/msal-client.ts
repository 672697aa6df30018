import type { ConfidentialClientApplication } from '@azure/msal-node'
import { BrokerError } from '../src/errors.js'
import { isMicrosoftCloud } from '../src/microsoft-clouds.js'
import { toWord } from '../src/plain-text.js'
import type { WorkerSettings } from '../src/wire.js'
import type { Authority } from './authority.js'
import { credentialInUse } from './credential.js'
import msal from './msal.cjs'
import type { ProviderCall } from './provider-call.js'
import { parseTokenCache, type TokenCacheJson } from './token-cache.js'

/**
 * One msal-node client for one partition and one operation. A client that is used for two people mixes their
 * tokens up: with msal-node's own distributed cache plugin, one user's blob ends up holding another's.
 */
export function createMsalClient(
	settings: WorkerSettings,
	authority: Authority,
	network: ProviderCall,
	clientAssertion: (() => Promise<string>) | undefined,
): ConfidentialClientApplication {
	const credential = credentialInUse()
	const { host } = new URL(settings.authority)
	return new msal.ConfidentialClientApplication({
		auth: {
			clientId: settings.clientId,
			authority: settings.authority,
			// A host that is listed has no other names for MSAL, and tokens that plain msal-node stored under them are lost.
			knownAuthorities: [...(isMicrosoftCloud(host) ? [] : [host]), ...settings.knownAuthorities],
			authorityMetadata: authority.metadataJson,
			clientCapabilities: [...settings.clientCapabilities],
			...(credential.kind === 'secret'
				? { clientSecret: credential.secret.export().toString() }
				: clientAssertion && { clientAssertion }),
		},
		system: { networkClient: network, disableInternalRetries: true },
	})
}

/**
 * What the client has made of an answer, in MSAL's cache schema.
 * @throws ERR_IDP_PROTOCOL when nobody could read it afterwards
 */
export function readTokenCache(client: ConfidentialClientApplication): TokenCacheJson {
	try {
		return parseTokenCache(client.getTokenCache().serialize())
	} catch (cause) {
		throw new BrokerError('ERR_IDP_PROTOCOL', 'The provider’s answer cannot be stored.', { cause })
	}
}

/**
 * Turns whatever MSAL threw into one of our errors. MSAL's messages quote the provider's answer, so only its
 * code goes on, where it is one.
 */
export function translateMsalError(
	error: unknown,
	network: ProviderCall,
	during: 'redeem' | 'refresh',
	scopes: readonly string[],
): BrokerError {
	if (error instanceof BrokerError) return error
	if (network.failure) return network.failure
	const { errorCode, claims, errorNo } = (error ?? {}) as {
		errorCode?: string
		claims?: string
		errorNo?: string
	}
	const word = toWord(errorCode) ?? 'unknown error'
	const number = toWord(errorNo)
	const detail = number === undefined ? word : `${word} (AADSTS${number})`
	if (errorCode === 'invalid_client' || errorCode === 'unauthorized_client')
		return new BrokerError(
			'ERR_CLIENT_REJECTED',
			`The provider refuses this application's credential: ${detail}. Check auth.clientId and its secret or certificate.`,
			{ cause: error },
		)
	if (during === 'redeem')
		return new BrokerError('ERR_LOGIN_REJECTED', `The sign-in was refused: ${detail}. Try again.`, {
			cause: error,
		})
	if (errorCode && interactionCodes.has(errorCode))
		return new BrokerError('ERR_INTERACTION_REQUIRED', `The person has to sign in again: ${detail}.`, {
			scopes,
			...(claims && { claims }),
			cause: error,
		})
	return new BrokerError('ERR_IDP_PROTOCOL', `The token could not be refreshed: ${detail}.`, { cause: error })
}

/** OAuth error codes, and MSAL's own, that only a person at the provider can resolve. */
const interactionCodes = new Set([
	'invalid_grant',
	'interaction_required',
	'login_required',
	'consent_required',
	'no_tokens_found',
	'no_account_found',
	'refresh_token_expired',
	'native_account_unavailable',
	'bad_token',
])
