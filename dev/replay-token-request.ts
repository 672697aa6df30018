import { IncomingMessage } from 'node:http'

/**
 * A token request like `original`, whose body has been read, with `body` in its place. The provider can also be handed a
 * parsed body, but warns about it and then takes what the application's parser made of it.
 */
export function replayTokenRequest(original: IncomingMessage, body: string): IncomingMessage {
	const bytes = Buffer.from(body)
	const request = new IncomingMessage(original.socket)
	const { 'transfer-encoding': _chunked, ...headers } = original.headers
	// Entra's token endpoint answers JSON whatever is accepted; the provider would show a page.
	request.headers = { ...headers, accept: 'application/json', 'content-length': String(bytes.length) }
	request.method = original.method ?? 'POST'
	request.url = original.url ?? '/'
	request.httpVersion = original.httpVersion
	request.httpVersionMajor = original.httpVersionMajor
	request.httpVersionMinor = original.httpVersionMinor
	request.push(bytes)
	request.push(null)
	// Else the end of this request would be taken for an aborted connection.
	request.complete = true
	return request
}
