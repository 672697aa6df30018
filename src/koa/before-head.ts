import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

type WriteHead = (status: number, ...rest: readonly unknown[]) => ServerResponse

/**
 * Does something about the headers of a response before they are written, whoever writes them: Koa, or a handler that
 * streams past it (`write`, `end`, `pipe`, `flushHeaders` all come to `writeHead`).
 * @param concerned whether there is something to do: else what the handler says is left as it says it
 */
export function beforeHead(response: ServerResponse, concerned: () => boolean, work: () => void): void {
	const writeHead = response.writeHead as WriteHead
	const withWork: WriteHead = (status, ...rest) => {
		response.writeHead = writeHead as ServerResponse['writeHead']
		if (!concerned()) return writeHead.call(response, status, ...rest)
		for (const one of rest)
			if (typeof one === 'object' && one !== null) setAll(response, one as OutgoingHttpHeaders)
		work()
		return writeHead.call(response, status, ...rest.filter((one) => typeof one === 'string'))
	}
	response.writeHead = withWork as ServerResponse['writeHead']
}

/** Node takes an object, or a list of names and values, or of pairs of them. */
function setAll(response: ServerResponse, headers: OutgoingHttpHeaders | readonly unknown[]): void {
	if (!Array.isArray(headers)) {
		for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string)
		return
	}
	const pairs: readonly [string, string][] = Array.isArray(headers[0])
		? headers
		: headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]]] : []))
	for (const [name] of pairs) response.removeHeader(name)
	for (const [name, value] of pairs) response.appendHeader(name, value)
}
