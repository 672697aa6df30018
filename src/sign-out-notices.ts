import { Cluster, type Redis } from 'ioredis'
import { closeRedis, inTime, onRedis, openRedis, type RedisConnection } from './redis-client.js'

/** Milliseconds between two signs of life of the subscription: what is missed for that long can go unnoticed. */
const interval = 1000

/** Milliseconds after which a node that has left its cluster is not listened to any more. */
const topologyInterval = 10_000

/** What other processes tell of sign-outs. */
export interface SignOutNotices {
	/**
	 * Since when, in milliseconds of `performance.now()`, every sign-out has been heard; `Infinity` while none can be.
	 */
	readonly heardSince: number
	/** Subscribes once more, now. @throws ERR_STORE_UNAVAILABLE and why when nothing can be heard */
	check(): Promise<void>
	close(): Promise<void>
}

/**
 * Listens for partitions that another process has signed out, on a connection of its own. It subscribes again and
 * again, which changes nothing on a connection that is well: a dead one is found out by that, and so is a right
 * that was taken away.
 */
export function listenForSignOuts(
	connection: RedisConnection,
	namespace: string,
	forget: (partition: string) => void,
): SignOutNotices {
	const client = openRedis(connection, { slotsRefreshInterval: topologyInterval })
	let heardSince = Number.POSITIVE_INFINITY
	let ear: Redis | undefined
	const deaf = () => {
		heardSince = Number.POSITIVE_INFINITY
	}
	const subscribe = async () => {
		const before = ear
		if (!ear || ear.status === 'end') ear = earOf(client)
		if (ear !== before) {
			ear?.on('message', (_channel: string, partition: string) => forget(partition))
			ear?.on('close', deaf).on('end', listen)
		}
		if (!ear) throw new Error('no node is known')
		await inTime(ear.subscribe(`${namespace}:signed-out`))
		heardSince = Math.min(heardSince, performance.now())
	}
	// Until it works, nothing is heard, and held tokens are confirmed with the store instead.
	const listen = () => subscribe().catch(deaf)
	client.on('ready', listen)
	const timer = setInterval(listen, interval).unref()
	return {
		get heardSince() {
			return heardSince
		},
		check: () => onRedis(client, subscribe),
		close: async () => {
			clearInterval(timer)
			closeRedis(client)
		},
	}
}

/**
 * Where to listen: on a cluster, at any one node, as each passes on what is published on another. Not through
 * `Cluster.subscribe`, which goes from node to node without an event that would tell of what is missed meanwhile.
 */
function earOf(client: Redis | Cluster): Redis | undefined {
	if (!(client instanceof Cluster)) return client
	const nodes = client.nodes('master')
	return nodes[Math.floor(Math.random() * nodes.length)]
}
