import { openRedis, type RedisConnection } from './redis-client.js'

/** Milliseconds until a subscription that failed is tried again. */
const retryInterval = 1000

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
	let retry: NodeJS.Timeout | undefined
	let heardSince = Number.POSITIVE_INFINITY
	const listen = () => {
		client.subscribe(`${namespace}:signed-out`).then(
			() => {
				heardSince = Date.now()
			},
			// Until it works, nothing is heard, and held tokens are confirmed with the store instead.
			() => {
				retry = setTimeout(() => client.status === 'ready' && listen(), retryInterval).unref()
			},
		)
	}
	client.on('ready', listen)
	client.on('close', () => {
		heardSince = Number.POSITIVE_INFINITY
	})
	client.on('message', (_channel: string, partition: string) => forget(partition))
	return {
		get heardSince() {
			return heardSince
		},
		close: async () => {
			clearTimeout(retry)
			client.disconnect()
		},
	}
}
