import type { IncomingMessage } from 'node:http'
import type { TokenRewrite } from './faults.js'

/** What a request is about. */
export type RequestKind =
	| 'token'
	| 'discovery'
	| 'keys'
	| 'instance'
	| 'authorize'
	| 'resume'
	| 'interaction'
	| 'logout'
	| 'other'

/** One form or query, each name once. */
export type Fields = Record<string, string>

/** What is remembered of a request between the socket and the answer. */
export interface Exchange {
	readonly kind: RequestKind
	/** Whether it came by `common` or `organizations` instead of the tenant's own path. */
	readonly viaAlias: boolean
	/** The token request as it was sent, before translation. */
	readonly sent: Readonly<Fields>
	/** The parsed `claims` of a token request: a claims challenge or the client's capabilities. */
	readonly claims: TokenClaimsRequest | undefined
	/** A test's change to a successful token answer. */
	readonly rewrite: TokenRewrite | undefined
	/** What the provider refused, with the detail it tells nobody. */
	refusal?: Refusal
}

/** The part of a `claims` parameter that reaches access tokens. */
export interface TokenClaimsRequest {
	readonly access_token?: {
		readonly xms_cc?: { readonly values?: readonly string[] }
		readonly acrs?: { readonly value?: string; readonly values?: readonly string[] }
	}
}

/** An error of the provider. */
export interface Refusal {
	readonly error?: string
	readonly error_description?: string | undefined
	readonly error_detail?: string | undefined
	readonly cause?: unknown
}

const exchanges = new WeakMap<IncomingMessage, Exchange>()

/** Ties an exchange to the request that the provider will see. */
export function rememberExchange(request: IncomingMessage, exchange: Exchange): void {
	exchanges.set(request, exchange)
}

/** The exchange of a provider's context. */
export function exchangeOf(ctx: { readonly req: IncomingMessage } | undefined): Exchange | undefined {
	return ctx && exchanges.get(ctx.req)
}
