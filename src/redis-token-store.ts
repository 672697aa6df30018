import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { BrokerError } from './errors.js'
import { copyRedisOptions, type RedisConnection } from './redis-client.js'

/** What {@link redisTokenStore} takes. */
export type RedisSource =
	/** `redis://` or `rediss://` */
	| string
	/** ioredis options for one server, or with `sentinels` and `name` for a Sentinel group. */
	| RedisOptions
	/** A cluster's start-up nodes, and ioredis options for each of them. */
	| ({ readonly nodes: readonly ClusterNode[] } & ClusterOptions)
	/** An ioredis instance, of whatever version: its options are copied, the instance is not used. */
	| Redis
	| Cluster

/** Tokens and sessions in Redis, shared by all processes of the application. */
export interface RedisTokenStore {
	readonly kind: 'redis'
	readonly connection: RedisConnection
}

/**
 * Keeps sealed token blobs and sessions in Redis 7 or later (or Valkey): one server, Sentinel, or Cluster.
 * Each worker opens a connection of its own, and so
 * does the session middleware, with a deadline on every command.
 * @throws ERR_CONFIG when an option can't be copied to a thread
 */
export function redisTokenStore(source: RedisSource): RedisTokenStore {
	if (isCluster(source))
		return {
			kind: 'redis',
			connection: {
				kind: 'cluster',
				nodes: startupNodes(source),
				options: copyRedisOptions(source.options.redisOptions ?? {}),
			},
		}
	if (isServer(source))
		return { kind: 'redis', connection: { kind: 'server', options: copyRedisOptions(source.options) } }
	if (typeof source === 'string')
		return { kind: 'redis', connection: { kind: 'server', options: parseUrl(source) } }
	if ('nodes' in source) {
		const { nodes, redisOptions } = source
		return {
			kind: 'redis',
			connection: { kind: 'cluster', nodes: [...nodes], options: copyRedisOptions(redisOptions ?? {}) },
		}
	}
	return { kind: 'redis', connection: { kind: 'server', options: copyRedisOptions(source) } }
}

function parseUrl(url: string) {
	if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol))
		throw new BrokerError('ERR_CONFIG', 'The Redis URL should look like redis://host:6379/0 or rediss://….')
	const { protocol, hostname, port, username, password, pathname } = new URL(url)
	return copyRedisOptions({
		host: hostname.replace(/^\[|\]$/g, ''),
		port: Number(port || 6379),
		...(username && { username: decodeURIComponent(username) }),
		...(password && { password: decodeURIComponent(password) }),
		...(pathname.length > 1 && { db: Number(pathname.slice(1)) }),
		...(protocol === 'rediss:' && { tls: {} }),
	})
}

/** ioredis keeps the nodes it was given to itself; those it knows now do as well. */
function startupNodes(cluster: Cluster): ClusterNode[] {
	const given = (cluster as unknown as { startupNodes?: readonly ClusterNode[] }).startupNodes
	if (given && given.length > 0) return [...given]
	return cluster
		.nodes()
		.map(({ options: { host, port } }) => ({ host: host ?? '127.0.0.1', port: port ?? 6379 }))
}

/** By shape: the application's ioredis may be another version than ours. */
function isCluster(source: object | string): source is Cluster {
	return typeof source === 'object' && 'isCluster' in source && source.isCluster === true
}

function isServer(source: object | string): source is Redis {
	return typeof source === 'object' && 'duplicate' in source && typeof source.duplicate === 'function'
}
