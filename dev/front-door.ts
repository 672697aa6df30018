import type { IncomingMessage, ServerResponse } from 'node:http'
import { parse } from 'node:querystring'
import { breakAnswer, cutAnswer } from './break-answer.js'
import { translateAuthorizeQuery } from './dialect/authorize-request.js'
import { instanceDiscovery } from './dialect/discovery.js'
import { entraError } from './dialect/errors.js'
import { translateLogoutQuery } from './dialect/logout-request.js'
import { resolveAlias, routeOf } from './dialect/routes.js'
import { translateTokenRequest } from './dialect/token-request.js'
import { type Fields, type RequestKind, rememberExchange, type TokenClaimsRequest } from './exchange.js'
import type { FaultQueue, FaultTiming, TokenRewrite } from './faults.js'
import { isLoopback } from './refusals.js'
import { replayTokenRequest } from './replay-token-request.js'
import type { LogEntry } from './request-log.js'
import type { Tenant } from './tenant.js'

/** A fault of the provider. */
export interface Fault extends FaultTiming {
	/** Which requests. Default `token`. */
	readonly on?: RequestKind | '*'
	/** Only token requests with this `grant_type`. */
	readonly grant?: string
	/** Answers with this status; default 400 with `error`. */
	readonly status?: number
	/** A string is sent as HTML. Default: an error of Entra's. */
	readonly body?: string | object
	readonly headers?: Readonly<Record<string, string>>
	/** Answers with an error of Entra's. */
	readonly error?: {
		readonly error: string
		/** The number behind AADSTS. */
		readonly code: number
		readonly suberror?: string
		/** A claims challenge, as JSON. */
		readonly claims?: string
	}
	/** Changes a successful token answer before it is sent. */
	readonly rewrite?: TokenRewrite
	/** Does what was asked for, and cuts the connection after this part of the answer: 0, not a byte, to 1. */
	readonly cutAfter?: number
}

/** What a fault is matched against. */
export interface FaultTarget {
	readonly kind: RequestKind
	readonly grant: string | undefined
}

/** What the front door needs. */
export interface FrontDoorOptions {
	readonly tenant: Tenant
	readonly faults: FaultQueue<Fault, FaultTarget>
	readonly log: { add(entry: LogEntry): void }
	/** The provider's request handler; it changes when the keys are rotated. */
	readonly provide: (request: IncomingMessage, response: ServerResponse) => void
}

const LONGEST_FORM = 64 * 1024

/**
 * What stands between a socket and the provider: the request log, the faults, the aliases of the tenant, the
 * separation of the two listeners, and the translation of requests.
 */
export function createFrontDoor(
	{ tenant, faults, log, provide }: FrontDoorOptions,
	listener: 'pages' | 'tls',
) {
	return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
		const arrived = performance.now()
		const url = new URL(request.url ?? '/', tenant.origin)
		const { path, viaAlias } = resolveAlias(url.pathname, tenant.tenantId)
		const route = routeOf(path, tenant.tenantId)
		const { kind } = route
		const body = kind === 'token' && listener === 'tls' ? await readBody(request) : ''
		const sent = { ...parse(body) } as Fields
		const correlationId = sent['client-request-id'] ?? url.searchParams.get('client-request-id')
		const entry: LogEntry = {
			kind,
			method: request.method ?? 'GET',
			path: url.pathname,
			...(sent.grant_type && { grant: sent.grant_type }),
			...(correlationId && { correlationId }),
		}
		log.add(entry)
		response.once('finish', () => {
			entry.status = response.statusCode
		})
		response.once('close', () => {
			entry.ms = performance.now() - arrived
		})

		if (!isLoopback(hostNameOf(request)))
			return answer(response, 421, 'This stand-in answers to loopback names only.')
		const fault = faults.take({ kind, grant: sent.grant_type })
		if (fault && (await breakAnswer(fault, response))) return
		if (fault && (fault.status !== undefined || fault.error)) return answerFault(response, fault, tenant)
		if (route.listener !== listener) return answer(response, 404, otherListener(route.listener, tenant))
		if (kind === 'instance') return answer(response, 200, instanceDiscovery(tenant))

		if (kind === 'authorize') translateAuthorizeQuery(url.searchParams, tenant)
		if (kind === 'logout') translateLogoutQuery(url.searchParams, tenant)
		request.url = path + (kind === 'authorize' || kind === 'logout' ? `?${url.searchParams}` : url.search)
		const provided =
			kind === 'token' && request.method === 'POST'
				? replayTokenRequest(request, new URLSearchParams(translateTokenRequest(sent, tenant)).toString())
				: request
		const claims = parseClaims(sent.claims)
		rememberExchange(provided, { kind, viaAlias, sent, claims, rewrite: fault?.rewrite })
		entry.passed = true
		if (fault?.cutAfter !== undefined) cutAnswer(response, fault.cutAfter)
		provide(provided, response)
	}
}

async function readBody(request: IncomingMessage): Promise<string> {
	let body = ''
	request.setEncoding('utf8')
	for await (const chunk of request) {
		body += chunk
		if (body.length > LONGEST_FORM) {
			request.destroy()
			return ''
		}
	}
	return body
}

/** Against DNS rebinding: a foreign name that resolves to this machine is not an answer's business. */
function hostNameOf(request: IncomingMessage): string {
	return (request.headers.host ?? 'localhost').replace(/:\d+$/, '')
}

function otherListener(listener: 'pages' | 'tls', tenant: Tenant): string {
	return `Not here. ${listener === 'pages' ? `Pages are on ${tenant.pagesOrigin}` : `Endpoints are on ${tenant.origin}`}.`
}

function answerFault(response: ServerResponse, fault: Fault, tenant: Tenant): void {
	const transient = { error: 'temporarily_unavailable', code: 90033, text: 'A transient error has occurred.' }
	const parts = fault.error ? { ...fault.error, text: 'injected by the test' } : transient
	answer(response, fault.status ?? 400, fault.body ?? entraError(parts, tenant.origin), fault.headers)
}

function answer(
	response: ServerResponse,
	status: number,
	body: string | object,
	headers: Readonly<Record<string, string>> = {},
): void {
	const isText = typeof body === 'string'
	const type = isText ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8'
	response.writeHead(status, { 'content-type': type, ...headers })
	response.end(isText ? body : JSON.stringify(body))
}

function parseClaims(written: string | undefined): TokenClaimsRequest | undefined {
	if (!written) return undefined
	try {
		return JSON.parse(written) as TokenClaimsRequest
	} catch {
		return undefined
	}
}
