import { Cluster, type Redis } from 'ioredis'
import { TokenBroker } from '../broker.js'
import { closeRedis, onRedis, openRedis, type RedisClient, type RedisConnection } from '../redis-client.js'
import type { ImportRecordResult } from '../wire.js'
import { type Output, table } from './output.js'

export interface ImportOptions {
	/** Where the original's records are. Default: the store's Redis. */
	readonly from?: RedisConnection
	/** Default: the setting `legacyCookie`'s name. */
	readonly cookieName?: string
	/** Milliseconds after its last change for which the original takes a record: its `max_age`. */
	readonly maxAge: number
	readonly dryRun: boolean
	readonly delete: boolean
}

/** Records that are worked on together, each within the deadlines of a command and of a task. */
const together = 8

/** A record of one person is a few kilobytes to a few dozen. */
const longestRecord = 1_048_576

type Outcome = (ImportRecordResult | { readonly state: 'gone' }) & { readonly deleted?: true }

/** What a run has done. */
interface Report {
	readonly dryRun: boolean
	records: number
	imported: number
	/** By an earlier run. */
	known: number
	deleted: number
	/** By the reason why. */
	readonly skipped: Record<string, number>
	/** The keys of those that can't be read. */
	readonly damaged: string[]
}

/**
 * Brings the sessions of aiohttp_msal over. Each record is turned into a sealed session that waits for its cookie; see
 * the setting `legacyCookie`. A record that is not usable is told and left.
 * @throws ERR_STORE_UNAVAILABLE: another run goes on from there
 */
export async function importSessions(
	broker: TokenBroker,
	output: Output,
	options: ImportOptions,
): Promise<void> {
	const { store, legacyCookie } = TokenBroker.settingsOf(broker)
	const prefix = `${options.cookieName ?? legacyCookie?.name ?? 'AIOHTTP_SESSION'}_`
	const from = options.from ?? (store.kind === 'redis' ? store.connection : undefined)
	if (!from) return
	// The original knows no prefix of ours.
	const client = openRedis({ ...from, options: { ...from.options, keyPrefix: '' } })
	const report: Report = {
		dryRun: options.dryRun,
		records: 0,
		imported: 0,
		known: 0,
		deleted: 0,
		skipped: {},
		damaged: [],
	}
	try {
		const keys = await keysOf(client, prefix)
		const left = keys[Symbol.iterator]()
		const ends = await Promise.allSettled(
			Array.from({ length: together }, async () => {
				for (const key of left) {
					count(report, key, await importOne(broker, client, key, key.slice(prefix.length), options))
					output.progress(report.records, keys.length)
				}
			}),
		)
		// What was under way is done, and counted, before it is said.
		for (const end of ends) if (end.status === 'rejected') throw end.reason
	} finally {
		closeRedis(client)
		tell(report, output)
	}
}

async function importOne(
	broker: TokenBroker,
	client: RedisClient,
	key: string,
	id: string,
	{ maxAge, dryRun, delete: deletes }: ImportOptions,
): Promise<Outcome> {
	if (!/^[0-9a-f]{32}$/.test(id)) return { state: 'damaged' }
	const found = await readRecord(client, key)
	if (typeof found === 'string') return { state: found }
	const { session } = TokenBroker.settingsOf(broker)
	const result = await TokenBroker.poolOf(broker).run('importRecord', {
		id,
		...found,
		maxAge,
		absoluteTimeout: session.absoluteTimeout,
		dryRun,
	})
	const isKept = result.state === 'imported' || result.state === 'known'
	if (!deletes || dryRun || !isKept) return result
	await onRedis(client, () => client.del(key))
	return { ...result, deleted: true }
}

/** All of them, before the work begins: names are short, and then it is known how many there are. */
async function keysOf(client: RedisClient, prefix: string): Promise<readonly string[]> {
	const keys = new Set<string>()
	const nodes = await onRedis(
		client,
		async (ready): Promise<(Redis | Cluster)[]> =>
			ready instanceof Cluster ? ready.nodes('master') : [ready],
	)
	for (const node of nodes) {
		let cursor = '0'
		do {
			const [next, found] = await onRedis(client, () =>
				node.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 500),
			)
			for (const key of found) keys.add(key)
			cursor = next
		} while (cursor !== '0')
	}
	return [...keys]
}

/** Of a size that may be read, and a text: whatever is there was written by others. */
async function readRecord(
	client: RedisClient,
	key: string,
): Promise<{ readonly record: string; readonly timeToLive?: number } | 'gone' | 'damaged'> {
	return onRedis(client, async () => {
		const length = await client.strlen(key).catch((error: Error) => {
			if (error.message.startsWith('WRONGTYPE')) return Number.POSITIVE_INFINITY
			throw error
		})
		if (length > longestRecord) return 'damaged'
		const [record, timeToLive] = await Promise.all([client.get(key), client.pttl(key)])
		if (record === null) return 'gone'
		return { record, ...(timeToLive >= 0 && { timeToLive }) }
	})
}

function count(report: Report, key: string, outcome: Outcome): void {
	report.records++
	if (outcome.deleted) report.deleted++
	if (outcome.state === 'imported') report.imported++
	else if (outcome.state === 'known') report.known++
	else if (outcome.state === 'damaged') report.damaged.push(key)
	else {
		const reason = outcome.state === 'gone' ? 'ended meanwhile' : outcome.reason
		report.skipped[reason] = (report.skipped[reason] ?? 0) + 1
	}
}

/** Keys of damaged records are told, for whoever looks into it; those of others open sessions, and are not. */
function tell(report: Report, output: Output): void {
	output.data(report)
	const { dryRun, records, imported, known, deleted, skipped, damaged } = report
	const rows = [
		[String(records), records === 1 ? 'record' : 'records'],
		[String(imported), dryRun ? 'would be imported' : 'imported'],
		[String(known), 'imported before'],
		...Object.entries(skipped).map(([reason, number]) => [String(number), `skipped: ${reason}`]),
		[String(damaged.length), 'damaged'],
		...damaged.map((key) => ['', key]),
		...(deleted > 0 ? [[String(deleted), 'deleted']] : []),
	]
	for (const line of table(rows)) output.line(line)
	if (dryRun) output.line('Nothing was changed.')
}
