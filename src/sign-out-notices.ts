import { openRedis, type RedisConnection } from './redis-client.js'

/** What other processes tell of sign-outs. */
export interface SignOutNotices {
	/**
	 * Since when, in milliseconds since the epoch, every sign-out has been heard; `Infinity` while none can be.
	 */
	readonly heardSince: number
	close(): Promise<void>
}

/** Listens for partitions that another process has signed out, on a connection of its own. */
export function listenForSignOuts(
	connection: RedisConnection,
	namespace: string,
	forget: (partition: string) => void,
): SignOutNotices {
	const client = openRedis(connection)
	let heardSince = Number.POSITIVE_INFINITY
	client.on('ready', () => {
		client.subscribe(`${namespace}:signed-out`).then(
			() => {
				heardSince = Date.now()
			},
			// The connection is lost again; `ready` comes again.
			() => {},
		)
	})
	client.on('close', () => {
		heardSince = Number.POSITIVE_INFINITY
	})
	client.on('message', (_channel: string, partition: string) => forget(partition))
	return {
		get heardSince() {
			return heardSince
		},
		close: async () => client.disconnect(),
	}
}
