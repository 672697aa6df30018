import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'

/** A proxy on a port of localhost that wants the password of `user`. */
export async function startPasswordProxy(password: string): Promise<Server> {
	const expected = `Basic ${Buffer.from(`user:${password}`).toString('base64')}`
	const server = createServer().on('connect', (request, socket) => {
		socket.on('error', () => {})
		if (request.headers['proxy-authorization'] !== expected)
			return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
		const [host, port] = (request.url ?? '').split(':')
		const target = connect(Number(port), host, () => {
			socket.write('HTTP/1.1 200 OK\r\n\r\n')
			target.pipe(socket).pipe(target)
		})
		return target.on('error', () => socket.destroy())
	})
	await once(server.listen(0, 'localhost'), 'listening')
	return server
}
