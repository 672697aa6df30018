import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way over TCP to a Redis, which can be lost without a word, as when a firewall forgets a connection. */
export interface RedisLink {
	readonly port: number
	/** Every connection that there is now leads nowhere any more; new ones pass. */
	lose(): void
	/** New connections lead to another server, as when a name gets another address. */
	lead(path: string): void
	close(): Promise<void>
}

/** @param path the unix socket of the server */
export async function createLink(path: string): Promise<RedisLink> {
	let target = path
	const pairs = new Set<readonly [Socket, Socket]>()
	const server = createServer((near) => {
		const far = connect(target)
		const pair = [near, far] as const
		pairs.add(pair)
		near.pipe(far).pipe(near)
		for (const socket of pair)
			socket
				.on('error', () => {})
				.on('close', () => {
					pairs.delete(pair)
					for (const other of pair) other.destroy()
				})
	})
	server.listen(0, '127.0.0.1')
	await once(server, 'listening')
	return {
		port: (server.address() as AddressInfo).port,
		lose() {
			for (const [near, far] of pairs) {
				near.unpipe().resume()
				far.unpipe().resume()
			}
		},
		lead(other) {
			target = other
		},
		async close() {
			for (const pair of pairs) for (const socket of pair) socket.destroy()
			server.close()
			await once(server, 'close')
		},
	}
}
