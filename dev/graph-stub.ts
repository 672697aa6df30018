import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { breakAnswer } from './break-answer.js'
import type { EntraStandIn } from './entra-stand-in.js'
import { createFaultQueue, type FaultTiming } from './faults.js'
import { challenge, EVALUATED, refuse, send } from './graph/answers.js'
import { answerGraph } from './graph/resources.js'
import { fingerprint, verifyBearer } from './graph/verify-bearer.js'
import { guardHandler } from './guard-handler.js'
import { close, listen } from './listen.js'
import { assertDevelopmentOnly } from './refusals.js'

/** How a Graph stub is set up. */
export interface GraphStubOptions {
	/** Whose tokens and people it knows. */
	readonly standIn: Pick<EntraStandIn, 'issuer' | 'jwks' | 'people' | 'tls'>
	/** Default `localhost`. */
	readonly host?: string
	/** Default 0: any. */
	readonly port?: number
}

/** A fault of Graph's. */
export interface GraphFault extends FaultTiming {
	/** Only this path, for instance `/v1.0/me`. Default: any. */
	readonly path?: string
	/** Answers with an error of this status. */
	readonly status?: number
	/** Graph's error code. Default by status. */
	readonly code?: string
	/** `Retry-After` of a 429 or 503, seconds. Default with 429: 1. */
	readonly retryAfter?: number
	/** A claims challenge, for tokens that would otherwise do. */
	readonly claims?: object
	/** The authentication context that a token must have to escape the challenge. */
	readonly satisfiedByAcrs?: string
}

/** One request that Graph received. */
export interface GraphLogEntry {
	readonly method: string
	readonly path: string
	/** The query with its question mark; empty without one. */
	readonly search: string
	/** The `Host` header. */
	readonly host: string
	/** Beginning of the SHA-256 of the `Authorization` header; missing without one. */
	readonly authorization?: string
	status?: number
	ms?: number
}

/** A running Graph stub. */
export interface GraphStub {
	/** `https://localhost:port`; Graph's paths begin with `/v1.0`. */
	readonly origin: string
	readonly log: readonly GraphLogEntry[]
	count(path?: string): number
	clearLog(): void
	inject(...faults: GraphFault[]): void
	clearFaults(): void
	close(): Promise<void>
}

/**
 * Starts a stub of Microsoft Graph that checks its bearer tokens and can misbehave on demand.
 * @throws {Error} code `STAND_IN_IN_PRODUCTION`, `STAND_IN_NOT_LOOPBACK` or `EADDRINUSE`
 */
export async function createGraphStub({
	standIn,
	host = 'localhost',
	port = 0,
}: GraphStubOptions): Promise<GraphStub> {
	assertDevelopmentOnly('The Graph stub', [host])
	const log: GraphLogEntry[] = []
	const faults = createFaultQueue<GraphFault, string>((fault, path) => (fault.path ?? path) === path)

	async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const arrived = performance.now()
		const method = request.method ?? 'GET'
		const url = new URL(request.url ?? '/', `https://${request.headers.host ?? 'localhost'}`)
		const path = url.pathname
		const header = request.headers.authorization ?? ''
		const authorization = fingerprint(header)
		const entry: GraphLogEntry = {
			method,
			path,
			search: url.search,
			host: request.headers.host ?? '',
			...(authorization && { authorization }),
		}
		log.push(entry)
		response.once('finish', () => {
			entry.status = response.statusCode
		})
		response.once('close', () => {
			entry.ms = performance.now() - arrived
		})
		request.resume()

		const fault = faults.take(path)
		if (fault && (await breakAnswer(fault, response))) return
		if (fault?.status !== undefined) return refuseByFault(request, response, fault)
		const caller = await verifyBearer(header, { issuer: standIn.issuer, jwks: standIn.jwks() })
		if ('problem' in caller) return challenge(request, response, caller)
		if (fault?.claims && !caller.acrs.includes(fault.satisfiedByAcrs ?? '')) {
			return challenge(request, response, { problem: EVALUATED }, fault.claims)
		}
		send(request, response, answerGraph(method, url, caller, standIn.people))
	}

	const server = createServer({ key: standIn.tls.key, cert: standIn.tls.cert }, guardHandler(serve))
	const address = await listen(server, { host, port, variable: 'GRAPH_PORT' })
	return {
		origin: `https://${address}`,
		log,
		count: (path) => log.filter((entry) => path === undefined || entry.path === path).length,
		clearLog() {
			log.length = 0
		},
		inject: faults.add,
		clearFaults: faults.clear,
		close: () => close(server),
	}
}

function refuseByFault(request: IncomingMessage, response: ServerResponse, fault: GraphFault): void {
	const { status = 503 } = fault
	const retryAfter = fault.retryAfter ?? (status === 429 ? 1 : undefined)
	if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter))
	const code = fault.code ?? (status === 429 ? 'TooManyRequests' : 'ServiceUnavailable')
	refuse(request, response, { status, code, message: 'injected by the test' })
}
