import { createSecretKey, KeyObject } from 'node:crypto'
import { lookup, resolveSrv } from 'node:dns'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, type ClusterNode, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { BrokerError } from './errors.js'
import { hideArgumentsOfRedis } from './quiet-redis.js'

export type RedisClient = Redis | Cluster

/**
 * Where Redis is, in a form that can cross a thread: no functions, and every secret replaced by a `KeyObject`,
 * which arrives as an opaque handle and never shows in a dump of the message.
 */
export type RedisConnection =
	| { readonly kind: 'server'; readonly options: Copyable }
	| { readonly kind: 'cluster'; readonly nodes: readonly unknown[]; readonly options: Copyable }

type Copyable = { readonly [name: string]: unknown }

/**
 * Milliseconds until a command has failed, waiting for a connection and further tries included: a caller hears within a
 * second that the store is down, and a Redis that is half a second away can be used.
 */
const commandTimeout = 750

/** Of which at most this is spent on waiting for a connection. */
const readyTimeout = 500

/** Milliseconds between two tries to connect at most: who waits for Redis to be back is to know soon. */
const longestRetry = 500

/** Milliseconds before a command is tried again whose connection broke. */
const pause = 50

/** Names whose values are secrets, wherever they stand in the options. */
const secretNames = new Set(['password', 'sentinelPassword', 'key', 'pem', 'pfx', 'buf', 'passphrase'])

/** Those of them that are bytes, or may be. TLS takes keys as bytes too. */
const byteNames = new Set(['key', 'pem', 'pfx', 'buf'])

/** Options that are replaced by this library's own, so an instance's defaults need no copying. */
const replacedNames = new Set([
	'retryStrategy',
	'sentinelRetryStrategy',
	'sentinelReconnectStrategy',
	'clusterRetryStrategy',
	'clusterNodeRetryStrategy',
	'reconnectOnError',
	'Connector',
	'lazyConnect',
	'enableOfflineQueue',
	'maxRetriesPerRequest',
	'commandTimeout',
	'connectTimeout',
	'socketTimeout',
	'autoResubscribe',
	'sentinelCommandTimeout',
	'failoverDetector',
	'retryDelayOnFailover',
	'maxRedirections',
	// Answers of scripts would be read as nonsense.
	'stringNumbers',
	'replyMapping',
	// A replica that lags, or has lost its primary, says that a session is there that was signed out, and the reverse.
	'scaleReads',
])

/** What ioredis puts into the options of a cluster when nothing else is given. */
const defaults = new Set<unknown>([lookup, resolveSrv])

/**
 * Takes the options apart for the way to a thread.
 * @throws ERR_CONFIG naming an option that can't be copied.
 */
export function copyRedisOptions(options: object, path = 'store'): Copyable {
	const copy: Record<string, unknown> = {}
	for (const [name, value] of Object.entries(options)) {
		if (replacedNames.has(name) || value === undefined || value === null || defaults.has(value)) continue
		copy[name] = copyValue(name, value, `${path}.${name}`)
	}
	return copy
}

/** The start-up nodes of a cluster: ports, or hosts and ports, with a password perhaps. */
export function copyRedisNodes(nodes: readonly ClusterNode[]): unknown[] {
	return nodes.map((node, i) => copyValue('nodes', node, `store.nodes.${i}`))
}

function copyValue(name: string, value: unknown, path: string): unknown {
	if (typeof value === 'function' || typeof value === 'symbol') throw notCopyable(path)
	const isText = typeof value === 'string' || value instanceof Uint8Array
	if (isText && value.length > 0 && secretNames.has(name))
		return createSecretKey(Buffer.from(value as string))
	if (isText || typeof value !== 'object' || value === null) return value
	if (Array.isArray(value)) return value.map((item, i) => copyValue(name, item, `${path}.${i}`))
	const prototype = Object.getPrototypeOf(value)
	if (prototype !== Object.prototype && prototype !== null) throw notCopyable(path)
	return copyRedisOptions(value, path)
}

function notCopyable(path: string): BrokerError {
	return new BrokerError(
		'ERR_CONFIG',
		`${path} can't be copied to the worker threads, which open connections of their own. ` +
			'Leave it out, or pass redisTokenStore a URL or plain options.',
	)
}

/** Puts the secrets back. Only where a connection is opened. */
function restore(value: unknown, name = ''): unknown {
	if (value instanceof KeyObject) return byteNames.has(name) ? value.export() : value.export().toString()
	if (Array.isArray(value)) return value.map((item) => restore(item, name))
	if (!value || Object.getPrototypeOf(value) !== Object.prototype) return value
	return Object.fromEntries(Object.entries(value).map(([inner, held]) => [inner, restore(held, inner)]))
}

/**
 * Opens a connection on which a command fails within its deadline, whatever the server does, and is never
 * sent late: nothing waits in an offline queue to overwrite newer work after an outage.
 * @param ofCluster further options, for a cluster
 */
export function openRedis(connection: RedisConnection, ofCluster: ClusterOptions = {}): RedisClient {
	const retry = (times: number) => Math.min(50 * times, longestRetry)
	const own = {
		connectTimeout: 1000,
		// A server that is gone without a word (its machine lost, a firewall that forgot the connection) would else be
		// waited for as long as TCP does: a quarter of an hour.
		socketTimeout: 2000,
		// ioredis would send again whatever it had sent, also what nobody waits for any more.
		maxRetriesPerRequest: 0,
		// It would subscribe again by itself, and end the process if that is refused: nobody handles the rejection.
		autoResubscribe: false,
		// A server that became a replica keeps its connections; a new one leads to its successor.
		reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
		// A sentinel that hangs would be waited for for ever, with two more to ask.
		sentinelCommandTimeout: 500,
		// The former primary of a planned failover takes writes for ten seconds more, and they are lost.
		failoverDetector: true,
		// Else it subscribes again by itself, as above. The next connection begins with new ones in any case.
		sentinelReconnectStrategy: () => null,
		// Its name and version, for which the user would need a right more.
		disableClientInfo: true,
		// ioredis would keep the process alive for two seconds after a connection that is dead anyway.
		disconnectTimeout: 50,
		enableOfflineQueue: false,
		retryStrategy: retry,
	}
	hideArgumentsOfRedis()
	const given = withCheckedTls(restore(connection.options) as Record<string, unknown>)
	const client =
		connection.kind === 'server'
			? new Redis({ ...given, ...own } as Omit<RedisOptions, 'replyMapping'>)
			: new Cluster(nodesOf(connection), {
					...(given as ClusterOptions),
					...ofCluster,
					enableOfflineQueue: false,
					clusterRetryStrategy: retry,
					// As above: these go on trying after the deadline.
					retryDelayOnFailover: 0,
					maxRedirections: 5,
					redisOptions: { ...(given.redisOptions as object), ...own } as Omit<RedisOptions, 'replyMapping'>,
				})
	// Without a listener ioredis prints every failed attempt. Each failed command is answered to its caller.
	client.on('error', (error: Error) => refusals.set(client, error))
	client.on('ready', () => refusals.delete(client))
	// ioredis gives up for good when it hears of a failover just as it asks Sentinel where to connect to.
	client.on('end', () => {
		setTimeout(() => closed.has(client) || client.connect().catch(() => {}), retry(1)).unref()
	})
	return client
}

function nodesOf({ nodes }: Extract<RedisConnection, { kind: 'cluster' }>): ClusterNode[] {
	return (restore(nodes) as ClusterNode[]).map((node) =>
		typeof node === 'object' ? withCheckedTls({ ...node }) : node,
	)
}

/** Whoever says nothing about certificates has them checked, whatever NODE_TLS_REJECT_UNAUTHORIZED says. */
function withCheckedTls(options: Record<string, unknown>): Record<string, unknown> {
	const checked = { ...options }
	for (const name of ['tls', 'sentinelTLS'])
		if (options[name]) checked[name] = { rejectUnauthorized: true, ...tlsOf(options[name]) }
	if (options.redisOptions) checked.redisOptions = withCheckedTls(options.redisOptions as typeof options)
	return checked
}

/** ioredis takes `true`, and the name of a set of options, as well. */
function tlsOf(value: unknown): object {
	return typeof value === 'string' ? { profile: value } : (value as object)
}

const closed = new WeakSet<RedisClient>()

/** Closes a connection for good. */
export function closeRedis(client: RedisClient): void {
	closed.add(client)
	client.disconnect()
}

/** Refusals that are over soon, by a server that is being replaced. Nothing was done. */
const passing = /^(?:READONLY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|LOADING)\b/

/**
 * Runs commands on a client as soon as it is ready. When the connection breaks under them, or the server is being
 * replaced, they run again. All of it within one deadline; they have to be such that twice is as good as once.
 * @throws ERR_STORE_UNAVAILABLE
 */
export async function onRedis<T>(client: RedisClient, work: (client: RedisClient) => Promise<T>): Promise<T> {
	const sent = { unanswered: 0 }
	try {
		return await inTime(untilDone(client, work, performance.now() + commandTimeout, sent))
	} catch (cause) {
		const error = new BrokerError('ERR_STORE_UNAVAILABLE', whyNot(client, cause), {
			cause: withoutArguments(cause),
			retryAfter: 1,
		})
		if (sent.unanswered === 0) undone.add(error)
		throw error
	}
}

/** Errors of commands that were never sent, or that Redis has refused: nothing came of them, and nothing will. */
const undone = new WeakSet<object>()

/** Whether a command that failed may have been done all the same, or may be yet. */
export function wasSent(error: unknown): boolean {
	return !undone.has(error as object)
}

async function untilDone<T>(
	client: RedisClient,
	work: (client: RedisClient) => Promise<T>,
	deadline: number,
	sent: { unanswered: number },
): Promise<T> {
	for (;;) {
		if (client.status !== 'ready') await becomesReady(client)
		try {
			// Nobody waits for it any more, and what is sent late may overwrite newer work.
			if (performance.now() >= deadline) throw new Error('not connected in time')
			sent.unanswered++
			const answer = await work(client)
			sent.unanswered--
			return answer
		} catch (cause) {
			const reply = replyOf(cause)
			if (reply) sent.unanswered--
			if (reply && !passing.test(reply.message)) throw cause
			await sleep(pause)
			if (performance.now() >= deadline) throw cause
		}
	}
}

/**
 * A deadline that a busy thread does not miss for the server: before it counts, the event loop goes round once more,
 * and what has arrived meanwhile is read. ioredis's own `commandTimeout` rejects first.
 */
function atDeadline(expire: () => void, milliseconds = commandTimeout): NodeJS.Timeout {
	return setTimeout(() => setImmediate(() => setImmediate(expire)), milliseconds)
}

/** Waits for an answer of Redis, but not for longer than a command may take. */
export async function inTime<T>(work: Promise<T>): Promise<T> {
	let timer: NodeJS.Timeout | undefined
	const late = new Promise<never>((_, reject) => {
		timer = atDeadline(() => reject(new Error('the command took too long')))
	})
	try {
		return await Promise.race([work, late])
	} finally {
		clearTimeout(timer)
	}
}

/** Why the last attempt to connect failed, while there is no connection. */
const refusals = new WeakMap<RedisClient, Error>()

/** Whether what stands under a key is of another type, so nothing of ours, whoever has put it there. */
export function isWrongType({ cause }: { readonly cause?: unknown }): boolean {
	return replyOf(cause)?.message.startsWith('WRONGTYPE') === true
}

/** For whoever runs the application. What follows the first word of an error of Redis may quote a key. */
function whyNot(client: RedisClient, cause: unknown): string {
	const reply = replyOf(cause)
	if (reply) return `Redis refuses a command: ${wordOf(reply)}.`
	const refusal = refusals.get(client)
	const refused = replyOf(refusal)
	if (refused) return `Redis refuses the connection: ${wordOf(refused)}.`
	const { code } = (refusal ?? {}) as NodeJS.ErrnoException
	if (code === undefined) return 'Redis does not answer.'
	return `Redis can't be connected to: ${code}.${tlsAdvice.find(([codes]) => codes.test(code))?.[1] ?? ''}`
}

/** ioredis's errors carry their command, which may be the one with the password; a transaction's carry all of them. */
function withoutArguments(cause: unknown): unknown {
	if (!(cause instanceof Error)) return cause
	const { command, previousErrors, lastNodeError } = cause as {
		command?: object
		previousErrors?: readonly unknown[]
		lastNodeError?: unknown
	}
	if (command) Object.assign(command, { args: [] })
	for (const inner of [...(previousErrors ?? []), lastNodeError]) withoutArguments(inner)
	return cause
}

function wordOf(reply: Error): string {
	return /^[A-Z]+\b/.exec(reply.message)?.[0] ?? 'ERR'
}

/** What Redis said: of a transaction, to the command that spoilt it. */
function replyOf(cause: unknown): Error | undefined {
	if (!(cause instanceof Error) || cause.name !== 'ReplyError') return undefined
	const { previousErrors: [first] = [] } = cause as { previousErrors?: readonly Error[] }
	return first ?? cause
}

/** https://nodejs.org/docs/latest-v20.x/api/tls.html#x509-certificate-error-codes */
const tlsAdvice: readonly (readonly [codes: RegExp, advice: string])[] = [
	[/ALTNAME/, ' Its certificate is for another name: see tls.servername.'],
	[
		/SELF_SIGNED|UNABLE_TO_/,
		' The authority of its certificate is not known: it belongs into tls.ca, or a file that NODE_EXTRA_CA_CERTS names.',
	],
]

const waiting = new WeakMap<RedisClient, Promise<void>>()

/** One wait for all callers, so that an outage adds one listener and one timer, not one per request. */
function becomesReady(client: RedisClient): Promise<void> {
	const known = waiting.get(client)
	if (known) return known
	const wait = new Promise<void>((resolve, reject) => {
		const ready = () => finish(resolve)
		const timer = atDeadline(() => finish(() => reject(new Error('not connected'))), readyTimeout)
		const finish = (settle: () => void) => {
			clearTimeout(timer)
			client.off('ready', ready)
			waiting.delete(client)
			settle()
		}
		client.once('ready', ready)
	})
	waiting.set(client, wait)
	return wait
}
