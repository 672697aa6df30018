import type { Acquire } from './downstream.js'
import { BrokerError } from './errors.js'
import { requireTicket, type SessionLike } from './session.js'

/** What the Azure SDK asks with (`GetTokenOptions` of `@azure/core-auth`); anything else in it is ignored. */
export interface TokenOptions {
	readonly abortSignal?: AbortSignalLike
	/** A claims challenge, as a JSON text. */
	readonly claims?: string
	/** Must be the person's own tenant, by its id. */
	readonly tenantId?: string
	/** Of no effect: whether tokens are for continuous access evaluation is `auth.clientCapabilities`' to say. */
	readonly enableCae?: boolean
}

/** The Azure SDK's own signals are older than the platform's. */
export interface AbortSignalLike {
	readonly aborted: boolean
	addEventListener(type: 'abort', listener: () => void): void
	removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * A `TokenCredential` of the Azure SDK. Clients keep the tokens that they are given: make one client per session, never
 * one for all.
 */
export interface SessionCredential {
	/**
	 * @param scopes of one resource, such as `https://graph.microsoft.com/.default`
	 * @throws what `acquireSilent` throws
	 * @throws ERR_FORBIDDEN_TARGET a token of another tenant is asked for
	 */
	getToken(
		scopes: string | string[],
		options?: TokenOptions,
	): Promise<{
		readonly token: string
		/** Milliseconds since the epoch, as the next. */
		readonly expiresOnTimestamp: number
		readonly refreshAfterTimestamp: number
		readonly tokenType: 'Bearer'
	}>
}

export function createSessionCredential(session: SessionLike, acquire: Acquire): SessionCredential {
	return {
		async getToken(scopes, { claims, tenantId, abortSignal } = {}) {
			const { account } = requireTicket(session)
			// A service that answers with a challenge can name any tenant it likes.
			if (tenantId !== undefined && tenantId.toLowerCase() !== account.tenantId.toLowerCase())
				throw new BrokerError(
					'ERR_FORBIDDEN_TARGET',
					'A token of another tenant than the person’s was asked for.',
				)
			const waiting = abortSignal && follow(abortSignal)
			try {
				const token = await acquire({
					scopes: typeof scopes === 'string' ? [scopes] : scopes,
					...(claims !== undefined && { claims }),
					...(waiting && { signal: waiting.signal }),
				})
				return {
					token: token.accessToken,
					expiresOnTimestamp: token.expiresOn.getTime(),
					refreshAfterTimestamp: token.refreshOn.getTime(),
					tokenType: 'Bearer',
				}
			} finally {
				waiting?.stop()
			}
		},
	}
}

/** The platform's signal for one that only looks like it. */
function follow(like: AbortSignalLike): { readonly signal: AbortSignal; stop(): void } {
	const controller = new AbortController()
	const abort = () => controller.abort()
	if (like.aborted) abort()
	else like.addEventListener('abort', abort)
	return { signal: controller.signal, stop: () => like.removeEventListener('abort', abort) }
}
