import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { breakAnswer } from './break-answer.js'
import { GRAPH_AUDIENCE } from './directory.js'
import type { EntraStandIn } from './entra-stand-in.js'
import { createFaultQueue, type FaultTiming } from './faults.js'
import { answerGraph, type GraphAnswer, type GraphPhoto, type GraphRefusal } from './graph/resources.js'
import { type BadToken, type Caller, fingerprint, verifyBearer } from './graph/verify-bearer.js'
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
		const path = new URL(request.url ?? '/', 'https://localhost').pathname
		const header = request.headers.authorization ?? ''
		const authorization = fingerprint(header)
		const entry: GraphLogEntry = {
			method,
			path,
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
		send(request, response, answerGraph(method, path, caller satisfies Caller, standIn.people))
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

const EVALUATED = 'Continuous access evaluation resulted in challenge'

/**
 * The 401 of a bad token, or a claims challenge, whose base64 goes back to the token endpoint as `claims`:
 * https://learn.microsoft.com/entra/identity-platform/claims-challenge
 */
function challenge(
	request: IncomingMessage,
	response: ServerResponse,
	{ problem }: BadToken,
	claims?: object,
): void {
	const base =
		'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
	const encoded = Buffer.from(JSON.stringify(claims ?? {})).toString('base64')
	const wanted = `client_id="${GRAPH_AUDIENCE}", errorDescription="${EVALUATED}", error="insufficient_claims", claims="${encoded}"`
	response.setHeader('www-authenticate', claims ? `${base}, ${wanted}` : base)
	refuse(request, response, { status: 401, code: 'InvalidAuthenticationToken', message: problem })
}

function refuseByFault(request: IncomingMessage, response: ServerResponse, fault: GraphFault): void {
	const { status = 503 } = fault
	const retryAfter = fault.retryAfter ?? (status === 429 ? 1 : undefined)
	if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter))
	const code = fault.code ?? (status === 429 ? 'TooManyRequests' : 'ServiceUnavailable')
	refuse(request, response, { status, code, message: 'injected by the test' })
}

function send(request: IncomingMessage, response: ServerResponse, answer: GraphAnswer): void {
	if ('refusal' in answer) {
		refuse(request, response, answer.refusal)
	} else if ('json' in answer) {
		sendJson(request, response, 200, answer.json)
	} else if (request.headers['if-none-match'] === answer.etag) {
		response.writeHead(304, { etag: answer.etag }).end()
	} else {
		sendPhoto(response, answer)
	}
}

function sendPhoto(response: ServerResponse, { png, etag }: GraphPhoto): void {
	response.writeHead(200, { 'content-type': 'image/png', 'content-length': png.length, etag }).end(png)
}

function refuse(
	request: IncomingMessage,
	response: ServerResponse,
	{ status, code, message }: GraphRefusal,
): void {
	const id = randomUUID()
	const innerError = {
		date: new Date().toISOString(),
		'request-id': id,
		'client-request-id': request.headers['client-request-id'] ?? id,
	}
	sendJson(request, response, status, { error: { code, message, innerError } })
}

function sendJson(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
	response.setHeader('request-id', String(request.headers['client-request-id'] ?? randomUUID()))
	response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
}
