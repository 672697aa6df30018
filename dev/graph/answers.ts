import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { GRAPH_AUDIENCE } from '../directory.js'
import type { GraphAnswer, GraphPhoto, GraphRefusal } from './resources.js'
import type { BadToken } from './verify-bearer.js'

/** The problem of a token that is good but not good enough. */
export const EVALUATED = 'Continuous access evaluation resulted in challenge'

/**
 * The 401 of a bad token, or a claims challenge, whose base64 goes back to the token endpoint as `claims`:
 * https://learn.microsoft.com/entra/identity-platform/claims-challenge
 */
export function challenge(
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

/** Sends what was found, or an error. */
export function send(request: IncomingMessage, response: ServerResponse, answer: GraphAnswer): void {
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

/** Sends an error as Graph writes them. */
export function refuse(
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
