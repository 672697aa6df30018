import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'
import { BrokerError } from './errors.js'
import { copyRedisNodes, copyRedisOptions, type RedisConnection } from './redis-client.js'

/** What of {@link RedisOptions} another version's options are told by. The rest of them is taken as well. */
export interface RedisServerOptions {
	readonly host?: string | undefined
	readonly port?: number | undefined
	readonly path?: string | undefined
	readonly username?: string | undefined
	readonly password?: string | undefined
	readonly db?: number | undefined
	readonly sentinels?: readonly object[] | null | undefined
	readonly name?: string | undefined
	readonly tls?: object | undefined
}

/** An ioredis instance, by its shape: of whatever version, from whatever folder. */
export interface RedisInstance {
	readonly options: object
	duplicate(...more: never[]): unknown
}

/** An ioredis cluster, by its shape. */
export interface RedisClusterInstance {
	readonly isCluster: boolean
	readonly options: object
	nodes(...role: never[]): readonly { readonly options: object }[]
}

/** What {@link redisTokenStore} takes. */
export type RedisSource =
	/** `redis://` or `rediss://` */
	| string
	/** ioredis options for one server, or with `sentinels` and `name` for a Sentinel group. */
	| RedisOptions
	| RedisServerOptions
	/** A cluster's start-up nodes, and ioredis options for each of them. */
	| ({ readonly nodes: readonly ClusterNode[] } & ClusterOptions)
	/** An ioredis instance, of whatever version: its options are copied, the instance is not used. */
	| RedisInstance
	| RedisClusterInstance

/** Tokens and sessions in Redis, shared by all processes of the application. */
export interface RedisTokenStore {
	readonly kind: 'redis'
	readonly connection: RedisConnection
}

/**
 * Keeps sealed token blobs and sessions in Redis 7 or later (or Valkey): one server, Sentinel, or Cluster.
 * Each worker opens a connection of its own, and the main thread two: for sessions and for notices of sign-outs; with a
 * deadline on every command. Each of these takes a protection away, and gives a warning when the broker starts: on
 * another host no TLS or no password; on any, `tls.rejectUnauthorized: false`.
 * @throws ERR_CONFIG when an option can't be copied to a thread, or the TLS options are wrong
 */
export function redisTokenStore(source: RedisSource): RedisTokenStore {
	return Object.freeze({ kind: 'redis', connection: toConnection(source) })
}

function toConnection(source: RedisSource): RedisConnection {
	if (typeof source === 'string') return { kind: 'server', options: parseUrl(source) }
	if (typeof source !== 'object' || source === null)
		throw new BrokerError(
			'ERR_CONFIG',
			'redisTokenStore takes a URL, ioredis options or an ioredis instance.',
		)
	if (isCluster(source)) return toCluster(startupNodes(source), source.options)
	if (isServer(source)) return toServer(source.options)
	if (!('nodes' in source)) return toServer(source as RedisOptions)
	const { nodes, ...options } = source
	if (!Array.isArray(nodes) || nodes.length === 0)
		throw new BrokerError('ERR_CONFIG', 'store.nodes should be a list of one start-up node or more.')
	return toCluster(nodes, options)
}

function toServer(options: RedisOptions): RedisConnection {
	checkTls(options, 'store')
	// ioredis would connect without TLS, and say nothing.
	if (options.sentinels && options.tls && !options.enableTLSForSentinelMode)
		throw new BrokerError(
			'ERR_CONFIG',
			'store.tls needs store.enableTLSForSentinelMode when Sentinel finds the server; store.sentinelTLS is for the sentinels themselves.',
		)
	return { kind: 'server', options: copyRedisOptions(options) }
}

function toCluster(nodes: readonly ClusterNode[], options: ClusterOptions): RedisConnection {
	const { redisOptions = {} } = options
	checkTls(redisOptions, 'store.redisOptions')
	const parsed = nodes.map((node, i) => {
		if (typeof node !== 'string' || /^\d+$/.test(node)) return node
		const address = parseAddress(/^\w+:\/\//.test(node) ? node : `redis://${node}`)
		if (!address) throw badNode(i)
		const { tls, db: _, ...rest } = address
		// ioredis would connect without TLS, and say nothing.
		if (tls && !redisOptions.tls)
			throw new BrokerError(
				'ERR_CONFIG',
				`store.nodes.${i} is a rediss:// URL, which needs store.redisOptions.tls.`,
			)
		return rest
	})
	return { kind: 'cluster', nodes: copyRedisNodes(parsed), options: copyRedisOptions(options) }
}

/** A certificate or key that can't be read would else be told by every request. Not how it is wrong: it is a secret. */
function checkTls(options: Pick<RedisOptions, 'tls' | 'sentinelTLS'>, path: string): void {
	for (const name of ['tls', 'sentinelTLS'] as const) {
		const given: unknown = options[name]
		if (typeof given !== 'object' || given === null) continue
		try {
			createSecureContext(given as SecureContextOptions)
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException
			throw new BrokerError('ERR_CONFIG', `${path}.${name} is not valid${code ? `: ${code}` : ''}.`)
		}
	}
}

function parseUrl(text: string) {
	const address = parseAddress(text)
	// Without the cause, which would quote the URL and the password in it.
	if (!address)
		throw new BrokerError(
			'ERR_CONFIG',
			'The Redis URL should look like redis://user:password@host:6379/0, or rediss://…, percent-encoded and without a query.',
		)
	return copyRedisOptions(address)
}

function badNode(index: number): BrokerError {
	return new BrokerError(
		'ERR_CONFIG',
		`store.nodes.${index} should look like redis://user:password@host:6379, percent-encoded and without a query.`,
	)
}

interface RedisAddress {
	readonly host: string
	readonly port: number
	readonly username?: string
	readonly password?: string
	readonly db?: number
	readonly tls?: object
}

/** The parts of a Redis URL. `undefined` where one would be passed over, or taken for another. */
function parseAddress(text: string): RedisAddress | undefined {
	const url = URL.canParse(text) ? new URL(text) : undefined
	if (!url || !/^rediss?:$/.test(url.protocol)) return undefined
	// No host has a percent sign. An empty query or fragment is none to a URL, and still where a password was cut off.
	if (url.hostname === '' || url.hostname.includes('%') || /[?#]/.test(text)) return undefined
	// `/` is no database, as is nothing.
	if (!/^\/?\d*$/.test(url.pathname)) return undefined
	const { protocol, hostname, port, pathname } = url
	const [username, password] = [decoded(url.username), decoded(url.password)]
	// ioredis would not authenticate; and it is the password, more often than not.
	if (username === undefined || password === undefined || (username && !password)) return undefined
	return {
		host: hostname.replace(/^\[|\]$/g, ''),
		port: Number(port || 6379),
		...(username && { username }),
		...(password && { password }),
		...(pathname.length > 1 && { db: Number(pathname.slice(1)) }),
		...(protocol === 'rediss:' && { tls: {} }),
	}
}

function decoded(text: string): string | undefined {
	try {
		return decodeURIComponent(text)
	} catch {
		return undefined
	}
}

/** ioredis keeps the nodes it was given to itself; those it knows now do as well. */
function startupNodes(cluster: RedisClusterInstance): ClusterNode[] {
	const given = (cluster as { startupNodes?: readonly ClusterNode[] }).startupNodes
	if (given && given.length > 0) return [...given]
	return cluster.nodes().map(({ options }) => {
		const { host = '127.0.0.1', port = 6379 } = options as Pick<RedisOptions, 'host' | 'port'>
		return { host, port }
	})
}

/** By shape: the application's ioredis may be another version than ours. */
function isCluster(source: object): source is RedisClusterInstance {
	return 'isCluster' in source && source.isCluster === true
}

function isServer(source: object): source is RedisInstance {
	return 'duplicate' in source && typeof source.duplicate === 'function'
}
