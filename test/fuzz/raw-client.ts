import { connect, type Socket } from 'node:net'

export interface RawAnswer {
	readonly status: number
	/** Names in lower case; a name that comes twice has its lines in a list. */
	readonly headers: ReadonlyMap<string, readonly string[]>
	readonly body: string
}

/** Sends bytes as they are, one request at a time, on a connection that is kept for as long as the server keeps it. */
export interface RawClient {
	/** @returns `undefined` when the server ends the connection without an answer */
	send(request: string | Buffer): Promise<RawAnswer | undefined>
	close(): void
}

export function createRawClient(port: number): RawClient {
	let socket: Socket | undefined
	const open = (): Socket => {
		if (socket && !socket.destroyed && socket.writable) return socket
		socket = connect({ port, host: '127.0.0.1', noDelay: true })
		// What goes wrong is told by the close that follows.
		socket.on('error', () => {})
		return socket
	}
	return {
		send(request) {
			const on = open()
			return new Promise((resolve, reject) => {
				let held = Buffer.alloc(0)
				const done = (end: () => void) => {
					on.off('data', read)
					on.off('close', ended)
					end()
				}
				const read = (chunk: Buffer) => {
					held = Buffer.concat([held, chunk])
					try {
						const answer = parse(held, false)
						if (!answer) return
						if (answer.headers.get('connection')?.[0] === 'close') on.destroy()
						done(() => resolve(answer))
					} catch (error) {
						done(() => reject(error))
					}
				}
				const ended = () => done(() => resolve(parse(held, true)))
				on.on('data', read)
				on.on('close', ended)
				on.write(typeof request === 'string' ? Buffer.from(request, 'latin1') : request)
			})
		},
		close: () => void socket?.destroy(),
	}
}

function parse(bytes: Buffer, ended: boolean): RawAnswer | undefined {
	const end = bytes.indexOf('\r\n\r\n')
	if (end < 0) return undefined
	const [start = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
	const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(start)?.[1])
	if (Number.isNaN(status)) throw new Error(`This is no answer: ${start}`)
	const headers = new Map<string, string[]>()
	for (const line of lines) {
		const [, name = '', value = ''] = /^([\w-]+): ?(.*)$/s.exec(line) ?? []
		if (name === '') throw new Error(`This is no header: ${line}`)
		headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value])
	}
	if (headers.has('transfer-encoding')) throw new Error('Nothing here answers in chunks.')
	const length = Number(
		headers.get('content-length')?.[0] ?? (headers.get('connection')?.[0] === 'close' ? Number.NaN : 0),
	)
	const body = bytes.subarray(end + 4)
	if (Number.isNaN(length) ? !ended : body.length < length) return undefined
	return { status, headers, body: body.toString() }
}
