import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { DevCertificates } from '../../dev/certificates.js'
import { fingerprint } from '../../dev/graph/verify-bearer.js'
import { guardHandler } from '../../dev/guard-handler.js'
import { close } from '../../dev/listen.js'
import type { AcquiredToken } from '../../src/index.js'

/** One request that an API received. */
export interface ApiCall {
	readonly method: string
	/** Path and query. */
	readonly path: string
	readonly host: string
	readonly headers: IncomingHttpHeaders
	/** Fingerprint of the `Authorization` header; missing without one. */
	readonly authorization?: string
	readonly body: string
	/** Tells connections apart. */
	readonly port: number | undefined
}

export type ApiAnswer = (response: ServerResponse, request: IncomingMessage) => void

/** An API that takes any token and remembers whose it was. */
export interface ApiStub {
	/** `localhost:port`. */
	readonly host: string
	/** `https://localhost:port`. */
	readonly origin: string
	readonly calls: readonly ApiCall[]
	/** Connections that were opened, with or without a request on them. */
	readonly connections: number
	/** How the next requests are answered, one each; those after them with `{ "path": … }`. */
	answer(...answers: ApiAnswer[]): void
	/** Forgets calls, connections and answers. */
	clear(): void
	close(): Promise<void>
}

export async function createApiStub(tls: DevCertificates, name = 'localhost'): Promise<ApiStub> {
	const calls: ApiCall[] = []
	const answers: ApiAnswer[] = []
	let connections = 0
	const echo: ApiAnswer = (response, { url }) =>
		response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ path: url }))
	const server = createServer(
		{ key: tls.key, cert: tls.cert },
		guardHandler(async (request, response) => {
			const { method = '', url = '', headers, socket } = request
			const body = (await buffer(request)).toString()
			const authorization = fingerprint(headers.authorization ?? '')
			calls.push({
				method,
				path: url,
				host: headers.host ?? '',
				headers,
				...(authorization !== undefined && { authorization }),
				body,
				port: socket.remotePort,
			})
			const answer = answers.shift() ?? echo
			answer(response, request)
		}),
	)
	server.on('connection', () => connections++)
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
	const host = `${name}:${(server.address() as AddressInfo).port}`
	return {
		host,
		origin: `https://${host}`,
		calls,
		get connections() {
			return connections
		},
		answer: (...more) => void answers.push(...more),
		clear() {
			calls.length = answers.length = connections = 0
		},
		close: () => close(server),
	}
}

/** The fingerprint of a token as a stub logs it. */
export function fingerprintOf({ accessToken }: Pick<AcquiredToken, 'accessToken'>): string | undefined {
	return fingerprint(`Bearer ${accessToken}`)
}

/** An answer without a body. */
export const status =
	(code: number, headers: Record<string, string> = {}): ApiAnswer =>
	(response) =>
		response.writeHead(code, headers).end()

/** The 401 of an API that wants more to be in the token. */
export const challenge = (claims: string): ApiAnswer => {
	const encoded = Buffer.from(claims).toString('base64')
	return status(401, {
		'www-authenticate': `Bearer realm="", authorization_uri="https://login.example/authorize", error="insufficient_claims", claims="${encoded}"`,
	})
}
