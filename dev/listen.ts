import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Where a server listens, and which setting a person changes when that place is taken. */
export interface Place {
	readonly host: string
	/** 0 lets the system choose. */
	readonly port: number
	/** The environment variable named in the message when the port is taken. */
	readonly variable: string
}

/**
 * Starts `server` and answers with `host:port` as it is written in a URL.
 * `localhost` is bound to 127.0.0.1 alone: bound by name, Node would take every interface or only ::1.
 * @throws {Error} code `EADDRINUSE`, naming the port and the variable that changes it
 */
export async function listen(server: Server, { host, port, variable }: Place): Promise<string> {
	const address = host === 'localhost' ? '127.0.0.1' : host.replace(/^\[|\]$/g, '')
	await new Promise<void>((resolve, reject) => {
		server.once('error', (cause: NodeJS.ErrnoException) => {
			reject(cause.code === 'EADDRINUSE' ? portTaken(address, port, variable, cause) : cause)
		})
		server.listen(port, address, resolve)
	})
	const name = address.includes(':') ? `[${address}]` : host
	return `${name}:${(server.address() as AddressInfo).port}`
}

/** Stops `server` at once, open connections included. */
export async function close(server: Server): Promise<void> {
	const closed = new Promise((resolve) => server.close(resolve))
	server.closeAllConnections()
	await closed
}

function portTaken(address: string, port: number, variable: string, cause: Error): Error {
	const message = `Port ${port} on ${address} is already in use. Stop what uses it, or choose another port with ${variable}.`
	return Object.assign(new Error(message, { cause }), { code: 'EADDRINUSE' })
}
