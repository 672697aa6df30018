import { once } from 'node:events'
import type { Server } from 'node:http'

/**
 * A port number from the environment. 0, where it is the default, lets the system choose.
 * @throws {Error} naming the variable
 */
export function readPort(variable: string, fallback: number): number {
	const text = process.env[variable]?.trim() || String(fallback)
	const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
	const lowest = Math.min(fallback, 1)
	if (!(port >= lowest && port <= 65_535))
		throw new Error(`${variable} should be a port number from ${lowest} to 65535.`)
	return port
}

/**
 * Listens on this machine only, on both addresses of `localhost` where there are two: browsers try either first.
 * @throws {Error} naming the variable that chooses another port
 */
export async function listenOnLoopback(
	servers: readonly Server[],
	port: number,
	variable: string,
): Promise<void> {
	const hosts = ['127.0.0.1', '::1']
	for (const [i, server] of servers.entries()) {
		try {
			server.listen(port, hosts[i])
			await once(server, 'listening')
		} catch (cause) {
			const { code } = cause as NodeJS.ErrnoException
			if (code === 'EADDRINUSE' || code === 'EACCES')
				throw new Error(
					`Port ${port} on ${hosts[i]} ${code === 'EACCES' ? 'may not be opened' : 'is already in use'}. Stop what uses it, or choose another port with ${variable}.`,
					{ cause },
				)
			// A machine without IPv6.
			if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') throw cause
		}
	}
}
