import { connect } from 'node:net'

/** What came back for one request that was written byte by byte. */
export interface RawAnswer {
	/** 0 when the connection ended without an answer. */
	readonly status: number
	/** Lines of the head, as they came. */
	readonly lines: readonly string[]
	/** All values of a header. */
	all(name: string): string[]
	/** The first value of a header; empty when there is none. */
	get(name: string): string
	readonly body: string
}

/**
 * Writes a request as it is, byte for byte (a text as latin1), and reads until the other side ends, or has said all
 * that its Content-Length promises.
 * @param patience milliseconds after which what has come has to do
 */
export function sendRaw(origin: string, request: string | Buffer, patience = 15_000): Promise<RawAnswer> {
	const { hostname, port } = new URL(origin)
	const bytes = typeof request === 'string' ? Buffer.from(request, 'latin1') : request
	return new Promise((resolve) => {
		let received = ''
		const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(bytes))
		const end = () => {
			clearTimeout(timer)
			socket.destroy()
			resolve(read(received))
		}
		const timer = setTimeout(end, patience)
		socket.setEncoding('latin1')
		socket.on('data', (chunk: string) => {
			received += chunk
			const { lines, body, get } = read(received)
			if (lines.length > 0 && get('content-length') !== '' && body.length >= Number(get('content-length')))
				end()
		})
		// An answer that comes before the whole request was read may end in a reset.
		socket.once('end', end).once('error', end)
	})
}

function read(text: string): RawAnswer {
	const at = text.indexOf('\r\n\r\n')
	const lines = at < 0 ? [] : text.slice(0, at).split('\r\n')
	const all = (name: string) =>
		lines
			.filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
			.map((line) => line.slice(name.length + 1).trim())
	return {
		status: Number(lines[0]?.split(' ')[1] ?? 0),
		lines,
		all,
		get: (name) => all(name)[0] ?? '',
		body: at < 0 ? '' : text.slice(at + 4),
	}
}
