import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, type Redis, type Result } from 'ioredis'
import type { WireError } from '../src/errors.js'
import { isWrongType, onRedis, type RedisClient, wasSent } from '../src/redis-client.js'
import { partitionKey, writeBeside } from '../src/redis-partition.js'
import type { ScanPosition, StoredBlob } from '../src/wire.js'
import type { CommitAnswer, Opening, PartitionStore } from './partition-store.js'

/** The one-time mark of a transaction. `value` is sealed; `lifetime` in milliseconds. */
export interface Claim {
	readonly transaction: string
	readonly value: string
	readonly lifetime: number
}

type OpenAnswer =
	| [0]
	| [1, string, string | null, number, string | null]
	| [2, string, string | null]
	| [3, string]
	| [4]
type CommitReply = [0] | [1] | [2, string, string | null] | [3]

declare module 'ioredis' {
	interface RedisCommander<Context> {
		koaMsalOpen(
			tokens: string,
			lease: string,
			failure: string,
			holder: string,
			milliseconds: number,
			unlessBeyond: string,
			known: number | '',
			readIfBusy: 0 | 1,
			mostBytes: number,
			latePatience: number,
		): Result<OpenAnswer, Context>
		koaMsalCommit(
			tokens: string,
			lease: string,
			version: number,
			sealed: string,
			expiresOn: number,
			holder: string,
			mostBytes: number,
			late: 0 | 1,
		): Result<CommitReply, Context>
		koaMsalEnd(tokens: string, lease: string, failure: string): Result<string | null, Context>
		koaMsalRenew(tokens: string, lease: string, holder: string, milliseconds: number): Result<number, Context>
		koaMsalRelease(
			tokens: string,
			lease: string,
			failure: string,
			holder: string,
			error: string,
			milliseconds: number,
		): Result<number, Context>
	}
}

/**
 * Milliseconds that whoever let a lease run out has to come back with what was refreshed: the store was away for longer
 * than the lease, and is told within one round of the outbox and one connection.
 */
const latePatience = 2000

/** Milliseconds between two tries to give back what nobody wants any more. */
const giveBackInterval = 250

/**
 * Scripts, because each of these has to be one step. All keys of a partition share a hash slot.
 * KEYS: the blob's hash (see `partitionKey`), the lease, the failure. The hash's `r` names the holder of a lease till
 * that is given back: a lease that is gone while it is there ran out, and a provider that rotates refresh tokens strictly
 * may have given its holder the only one that is good.
 */
const scripts = {
	/**
	 * {0} gone, {1, version, blob unless known, leased, mark}, {2, version, blob if wanted} somebody else holds the lease,
	 * {3, error} failed a moment ago, {4} larger than any blob of ours: it is not sent. Who would wait writes nothing,
	 * by a write: a store that is read-only would else be waited for until the lease is over.
	 */
	koaMsalOpen: {
		numberOfKeys: 3,
		lua: `
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return {0} end
if redis.call('HSTRLEN', KEYS[1], 'b') > tonumber(ARGV[6]) then return {4} end
local leased = 0
if ARGV[3] ~= 'never' then
  local expires = tonumber(redis.call('HGET', KEYS[1], 'x')) or 0
  if expires <= tonumber(ARGV[3]) then
    local holder = redis.call('GET', KEYS[2])
    if holder and holder ~= ARGV[1] then
      redis.call('HDEL', KEYS[1], 'nothing')
      return {2, version, ARGV[5] == '1' and redis.call('HGET', KEYS[1], 'b')}
    end
    local failure = redis.call('GET', KEYS[3])
    if failure then return {3, failure} end
    local before = redis.call('HGET', KEYS[1], 'r')
    if before and before ~= ARGV[1] and string.sub(before, 1, 5) ~= 'late ' then
      redis.call('HSET', KEYS[1], 'r', 'late ' .. before)
      redis.call('SET', KEYS[2], 'late', 'PX', ARGV[7])
      return {2, version, ARGV[5] == '1' and redis.call('HGET', KEYS[1], 'b')}
    end
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
    redis.call('HSET', KEYS[1], 'r', ARGV[1])
    leased = 1
  end
end
local blob = version ~= ARGV[4] and redis.call('HGET', KEYS[1], 'b')
return {1, version, blob, leased, redis.call('HGET', KEYS[1], 'i')}
`,
	},
	/**
	 * Writes only over the version that was read, and never makes a key: after a sign-out there is nothing to write
	 * over, so nothing comes back. {0} gone, {1} written, now or by an attempt whose answer was lost, {2, version, blob}
	 * somebody was faster, {3} fenced: the lease ran out and somebody else's work counts. What is larger than any blob of
	 * ours is as good as gone. HSET keeps the time to live. Without a holder it is no refresh.
	 */
	koaMsalCommit: {
		numberOfKeys: 2,
		lua: `
local refreshed = ARGV[4] ~= ''
local holder = redis.call('GET', KEYS[2])
local last = redis.call('HGET', KEYS[1], 'r')
local isLast = refreshed and (last == ARGV[4] or last == 'late ' .. ARGV[4])
local version = redis.call('HGET', KEYS[1], 'v')
if version and version ~= ARGV[1] and redis.call('HSTRLEN', KEYS[1], 'b') > tonumber(ARGV[5]) then version = false end
if version and version ~= ARGV[1] and redis.call('HGET', KEYS[1], 'b') == ARGV[2] then return {1} end
if holder and not (refreshed and holder == ARGV[4] or isLast and holder == 'late') then return {3} end
if version and version ~= ARGV[1] then
  if not holder and refreshed and not isLast and ARGV[6] == '0' then return {3} end
  return {2, version, redis.call('HGET', KEYS[1], 'b')}
end
if holder then redis.call('DEL', KEYS[2]) end
if not version then return {0} end
redis.call('HSET', KEYS[1], 'v', version + 1, 'b', ARGV[2], 'x', ARGV[3])
if isLast then redis.call('HDEL', KEYS[1], 'r') end
return {1}
`,
	},
	/**
	 * Signs out, and tells the key of the web session, which lives in another slot. It is kept, and nothing else is, until
	 * that is deleted: who fails in between is told it again.
	 */
	koaMsalEnd: {
		numberOfKeys: 3,
		lua: `
redis.call('DEL', KEYS[2], KEYS[3])
local session = redis.call('HGET', KEYS[1], 's')
if not session then redis.call('DEL', KEYS[1]) return false end
redis.call('HDEL', KEYS[1], 'v', 'b', 'x', 'i', 'r')
return session
`,
	},
	/** Takes a lease back that has run out, when nobody else has had one since. */
	koaMsalRenew: {
		numberOfKeys: 2,
		lua: `
local holder = redis.call('GET', KEYS[2])
if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
local last = redis.call('HGET', KEYS[1], 'r')
if (holder and holder ~= 'late') or (last ~= ARGV[1] and last ~= 'late ' .. ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'r', ARGV[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
`,
	},
	koaMsalRelease: {
		numberOfKeys: 3,
		lua: `
local given = 0
local last = redis.call('HGET', KEYS[1], 'r')
if last == ARGV[1] or last == 'late ' .. ARGV[1] then
  given = redis.call('HDEL', KEYS[1], 'r')
  if redis.call('GET', KEYS[2]) == 'late' then redis.call('DEL', KEYS[2]) end
end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return given end
if ARGV[2] ~= '' then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
return redis.call('DEL', KEYS[2])
`,
	},
} as const

/** Keys that Redis looks at in one step of a walk, other applications' among them: a fraction of a millisecond. */
const scanCount = 250

const removeUnchangedScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** Once: a user without the right to publish would be told at every sign-out. */
const warnOfNotice = once(() =>
	process.emitWarning(
		'sign-outs cannot be told to other processes: does the Redis user have the right to publish and subscribe?',
		'KoaMsalWarning',
	),
)

function once(work: () => void): () => void {
	let done = false
	return () => {
		if (!done) work()
		done = true
	}
}

/**
 * Partitions in Redis.
 * @param leaseTime milliseconds
 * @param mostBytes what is larger is no blob: it is neither read nor opened
 */
export function createRedisStore(
	client: RedisClient,
	namespace: string,
	leaseTime: number,
	mostBytes: number,
) {
	for (const [name, script] of Object.entries(scripts)) client.defineCommand(name, script)
	const tokensKey = (partition: string) => partitionKey(namespace, partition)
	const leaseKey = (partition: string) => `${namespace}:l:{${partition}}`
	const failureKey = (partition: string) => `${namespace}:f:{${partition}}`
	const claimKey = (transaction: string) => `${namespace}:u:${transaction}`
	const importedKey = (name: string) => `${namespace}:o:${name}`
	const probeKey = `${namespace}:p`
	const throttleKey = (tenant: string) => `${namespace}:h:${tenant}`

	/**
	 * Other processes hold a partition's tokens in memory: they forget them now. A notice that is not sent fails the
	 * sign-out, which is then done again; one that is refused would be every time.
	 */
	const tell = (partition: string) =>
		client.publish(`${namespace}:signed-out`, partition).catch((cause: Error) => {
			if (!cause.message.startsWith('NOPERM')) throw cause
			warnOfNotice()
		})

	const release = (partition: string, holder: string, error = '', milliseconds = 0) =>
		client.koaMsalRelease(
			tokensKey(partition),
			leaseKey(partition),
			failureKey(partition),
			holder,
			error,
			milliseconds,
		)

	/**
	 * What took too long may be done yet, for nobody: what it then has taken is given back. A server that hung does what
	 * was asked on a connection that is gone when it goes on, however late, and perhaps after what is asked on the next:
	 * so it is asked twice. Nobody waits for that. What was never sent takes nothing.
	 */
	const giveBack = async (error: unknown, back: () => Promise<unknown>): Promise<void> => {
		if (!wasSent(error)) return
		for (let answers = 0; answers < 2 && client.status !== 'end'; ) {
			const given = client.status === 'ready' ? await onRedis(client, back).catch(() => undefined) : undefined
			if (given === 1) return
			if (given !== undefined) answers++
			await sleep(giveBackInterval, undefined, { ref: false })
		}
	}

	const store: PartitionStore = {
		open: (partition, { holder, leaseUnlessBeyond, known, readIfBusy }) =>
			onRedis(client, async (): Promise<Opening> => {
				const answer = await client.koaMsalOpen(
					tokensKey(partition),
					leaseKey(partition),
					failureKey(partition),
					holder,
					leaseTime,
					String(
						leaseUnlessBeyond === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : leaseUnlessBeyond,
					),
					known?.version ?? '',
					readIfBusy ? 1 : 0,
					mostBytes,
					latePatience,
				)
				switch (answer[0]) {
					case 0:
						return { state: 'gone' }
					case 1:
						return {
							state: 'open',
							stored:
								known && Number(answer[1]) === known.version
									? known
									: { version: Number(answer[1]), sealed: answer[2] ?? '' },
							leased: answer[3] === 1,
							...(answer[4] !== null && { mark: answer[4] }),
						}
					case 2:
						return {
							state: 'busy',
							...(answer[2] !== null && { stored: { version: Number(answer[1]), sealed: answer[2] } }),
						}
					case 3:
						return { state: 'held-off', error: JSON.parse(answer[1]) as WireError }
					case 4:
						return { state: 'damaged' }
					default:
						// What is damaged is removed: not for an answer that nobody understands.
						throw new Error('an answer of no script of ours')
				}
			}).catch((error): Opening => {
				if (isWrongType(error)) return { state: 'damaged' }
				if (leaseUnlessBeyond !== 'never') void giveBack(error, () => release(partition, holder))
				throw error
			}),

		commit: (partition, { holder, late, version, sealed, expiresOn }) =>
			onRedis(client, async (): Promise<CommitAnswer> => {
				const answer = await client.koaMsalCommit(
					tokensKey(partition),
					leaseKey(partition),
					version,
					sealed,
					expiresOn,
					holder ?? '',
					mostBytes,
					late ? 1 : 0,
				)
				if (answer[0] === 2)
					return { version: Number(answer[1]), sealed: answer[2] ?? '' } satisfies StoredBlob
				return answer[0] === 1 ? 'written' : answer[0] === 0 ? 'gone' : 'fenced'
			}).catch((error) => {
				if (isWrongType(error)) return 'gone'
				throw error
			}),

		create: (partition, { sealed, expiresOn, lifetime, mark }) =>
			onRedis(client, async () => {
				const key = tokensKey(partition)
				const written = await client
					.multi()
					.hset(key, { v: 1, b: sealed, x: expiresOn, i: mark })
					.pexpire(key, lifetime)
					.exec()
				throwFirst(written)
			}).catch((error) => {
				// Else tokens stay that are nobody's.
				void giveBack(error, () => client.del(tokensKey(partition)))
				throw error
			}),

		renew: (partition, holder) =>
			onRedis(
				client,
				async () =>
					(await client.koaMsalRenew(tokensKey(partition), leaseKey(partition), holder, leaseTime)) === 1,
			),

		release: (partition, holder, failure) =>
			onRedis(client, async () => {
				await (failure
					? release(partition, holder, JSON.stringify(failure.error), Math.ceil(failure.milliseconds))
					: release(partition, holder))
			}),

		remove: (partition) =>
			onRedis(client, async () => {
				await client.del(tokensKey(partition), leaseKey(partition), failureKey(partition))
				await tell(partition)
			}),
	}

	const indexKey = (name: string) => `${namespace}:i:${name}`

	/** Works on the entries of a name. Where something else stands, it goes first: a sign-out or sign-in is not to fail for it. */
	const onEntries = <T>(key: string, work: () => Promise<T>): Promise<T> =>
		onRedis(client, work).catch((error) => {
			if (!isWrongType(error)) throw error
			return onRedis(client, async () => {
				await client.del(key)
				return work()
			})
		})

	/**
	 * From the names of users to their partitions: sorted sets, by the end of their life, so that the ended can be
	 * dropped. In other slots than these, so it is a hint: what it says is looked at.
	 */
	const index = {
		add: (name: string, partition: string, expiresOn: number) => {
			const key = indexKey(name)
			return onEntries(key, async () => {
				const replies = await client
					.multi()
					.zremrangebyscore(key, 0, Date.now())
					.zadd(key, expiresOn, partition)
					// Both: GT alone does nothing to a key that has no expiry yet.
					.pexpireat(key, expiresOn, 'NX')
					.pexpireat(key, expiresOn, 'GT')
					.exec()
				throwFirst(replies)
			})
		},
		/** Takes out of one name's entries, up to a time, those whose partitions are gone. @returns how many */
		prune: (key: string, settledBefore: number) =>
			onEntries(key, async () => {
				const listed = await client.zrangebyscore(key, '-inf', settledBefore)
				const alive = await Promise.all(listed.map((partition) => client.hexists(tokensKey(partition), 'v')))
				const orphans = listed.filter((_, at) => alive[at] !== 1)
				return orphans.length === 0 ? 0 : client.zrem(key, ...orphans)
			}),
		remove: (name: string, partition: string) =>
			onEntries(indexKey(name), async () => {
				await client.zrem(indexKey(name), partition)
			}),
		list: (name: string) =>
			onEntries(indexKey(name), () => client.zrangebyscore(indexKey(name), Date.now(), '+inf')),
	}

	return {
		...store,
		index,
		/** Remembers which names the index has a partition under. */
		mark: (partition: string, mark: string) =>
			onRedis(client, () => writeBeside(client, tokensKey(partition), 'i', mark)),
		/** Milliseconds that a partition has left; not above 0 when it is gone. */
		lifetime: (partition: string) => onRedis(client, () => client.pttl(tokensKey(partition))),
		/** Removes a partition together with its web session. */
		end: (partition: string) =>
			onRedis(client, async () => {
				const key = tokensKey(partition)
				const session = await client.koaMsalEnd(key, leaseKey(partition), failureKey(partition))
				await Promise.all([tell(partition), session !== null && client.del(session)])
				if (session !== null) await client.del(key)
			}).catch((error) => {
				if (!isWrongType(error)) throw error
				return store.remove(partition)
			}),
		/**
		 * One step of a walk through all keys of this library, on all masters of a cluster: from the beginning, or from
		 * where the last step has led to. What is there all the time is met at least once, as SCAN promises.
		 */
		scan: (from?: ScanPosition) =>
			onRedis(client, async (): Promise<{ keys: readonly string[]; next?: ScanPosition }> => {
				const { nodes, cursor } = from ?? { nodes: mastersOf(client), cursor: '0' }
				const node = masterNamed(client, nodes[0])
				// ioredis puts it before keys, but not into patterns, nor does it take it from answers.
				const { keyPrefix = '' } = client.options
				const pattern = `${keyPrefix.replace(/[\\*?[\]^]/g, '\\$&')}${namespace}:*`
				const [at, found] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount)
				const rest = at === '0' ? nodes.slice(1) : nodes
				return {
					keys: found.map((key) => key.slice(keyPrefix.length)),
					...(rest.length > 0 && { next: { nodes: rest, cursor: at } }),
				}
			}),
		/** What a key is about, of those that {@link scan} meets. */
		kindOf: (key: string): { kind: string; name: string } => {
			const [, kind = '', name = ''] = /^:([a-z]):(.*)$/.exec(key.slice(namespace.length)) ?? []
			return { kind, name: name.replace(/^\{(.*)\}$/, '$1') }
		},
		/** Empty for what stands there and is no text. */
		readSealed: (key: string) =>
			onRedis(client, () => client.get(key)).catch((error) => {
				if (isWrongType(error)) return ''
				throw error
			}),
		/** Removes a value if it is still what was read. */
		removeUnchanged: (key: string, sealed: string) =>
			onRedis(client, async () => {
				await client.eval(removeUnchangedScript, 1, key, sealed)
			}).catch(async (error) => {
				if (!isWrongType(error)) throw error
				await onRedis(client, () => client.del(key))
			}),
		exists: (partition: string) =>
			onRedis(client, async () => (await client.hexists(tokensKey(partition), 'v')) === 1).catch((error) => {
				if (isWrongType(error)) return false
				throw error
			}),
		/** @returns the mark of an earlier claim, or `undefined`: the transaction is ours. No two claims have one mark. */
		claim: ({ transaction, value, lifetime }: Claim) =>
			onRedis(client, async () => {
				const earlier = await client.set(claimKey(transaction), value, 'PX', lifetime, 'NX', 'GET')
				// Our own: the answer to a first attempt was lost.
				return earlier === null || earlier === value ? undefined : earlier
			}).catch((error) => {
				void giveBack(error, () => client.eval(removeUnchangedScript, 1, claimKey(transaction), value))
				throw error
			}),
		/** Says of a claim that what it was for is done. */
		settleClaim: (transaction: string, value: string) =>
			onRedis(client, async () => {
				await client.set(claimKey(transaction), value, 'KEEPTTL', 'XX')
			}),
		/** Takes a claim from everybody, unless somebody has it. */
		endClaim: (transaction: string, lifetime: number) =>
			onRedis(client, async () => {
				await client.set(claimKey(transaction), '', 'PX', lifetime, 'NX')
			}),
		failClaim: (transaction: string) =>
			onRedis(client, async () => {
				await client.set(claimKey(transaction), '', 'KEEPTTL', 'XX')
			}),
		/** Gives a claim back: the code was not redeemed. */
		unclaim: (transaction: string) =>
			onRedis(client, async () => {
				await client.del(claimKey(transaction))
			}),
		findClaim: (transaction: string) =>
			onRedis(client, async () => (await client.get(claimKey(transaction))) ?? undefined),
		/** Sessions of the original that wait for their cookie, and the marks of those that it came for. */
		imported: {
			/** Remembers one, and that there was one, for so many milliseconds. @returns false when there was one already */
			add: (name: string, value: string, lifetime: number) =>
				onRedis(client, async () => {
					const earlier = await client.set(importedKey(name), value, 'PX', lifetime, 'NX', 'GET')
					// Our own: the answer to a first attempt was lost.
					return earlier === null || earlier === value
				}),
			find: (name: string) => onRedis(client, async () => (await client.get(importedKey(name))) ?? undefined),
			/** Puts a mark in the place of a session. @returns whether the session was there, and is ours now */
			take: (name: string, value: string, mark: string) =>
				onRedis(client, async () => {
					const earlier = await client.set(importedKey(name), mark, 'KEEPTTL', 'XX', 'GET')
					return earlier === value || earlier === mark
				}),
		},
		/** Tells all processes that the provider wants a tenant's calls to stop for a while. */
		throttle: (tenant: string, milliseconds: number) =>
			onRedis(client, async () => {
				// The longest word counts, whoever comes last with it.
				const key = throttleKey(tenant)
				const time = Math.ceil(milliseconds)
				if ((await client.set(key, '1', 'PX', time, 'NX')) === null) await client.pexpire(key, time, 'GT')
			}),
		/** Milliseconds for which the provider still wants no calls of a tenant. */
		throttled: (tenant: string) =>
			onRedis(client, async () => Math.max(0, await client.pttl(throttleKey(tenant)))),
		/** Whether it takes a write: one that is read-only or full answers everything else. Of a Cluster it asks one node. */
		probe: () =>
			onRedis(client, async () => {
				// For a millisecond: nothing of it is to be found.
				await client.set(probeKey, '', 'PX', 1)
			}),
	}
}

function mastersOf(client: RedisClient): string[] {
	return client instanceof Cluster ? client.nodes('master').map(addressOf).toSorted() : ['']
}

function masterNamed(client: RedisClient, name: string | undefined): Redis {
	if (!(client instanceof Cluster)) return client
	const node = client.nodes('master').find((one) => addressOf(one) === name)
	if (!node) throw new Error('The cluster has changed.')
	return node
}

const addressOf = ({ options: { host, port } }: Redis) => `${host}:${port}`

/** The replies of a transaction come as values, errors among them. */
function throwFirst(replies: [error: Error | null, result: unknown][] | null): void {
	for (const [error] of replies ?? [[new Error('aborted')]]) if (error) throw error
}
