import { randomBytes } from 'node:crypto'
import type { ImportRecordParams, ImportRecordResult } from '../src/wire.js'
import { sealCache } from './blobs.js'
import { ownAuthority, redisStore, settings } from './context.js'
import { nameOfImported, openImported, sealImported } from './imported.js'
import { type BroughtOver, bringOver } from './python-cache.js'
import { enterSession, leaveSession, markOf } from './user-index.js'

/** A record as aiohttp_session's `RedisStorage` writes it, as far as it is of use. */
interface PythonRecord {
	/** Seconds since the epoch: of its last change, whatever the name says. */
	readonly created: number
	readonly session: Readonly<Record<string, unknown>>
}

/**
 * Turns a record of the original into a partition of ours, its place in the user index, and a sealed note under a hash
 * of its old session id, which its cookie is exchanged for. The note outlives the partition, for as long as the
 * original would have taken the record: so a second run brings back neither who was signed out nor who has come.
 */
export async function importRecord(params: ImportRecordParams): Promise<ImportRecordResult> {
	if (!redisStore) return { state: 'skipped', reason: 'nobody is signed in' }
	const record = parse(params.record)
	if (record === 'damaged') return { state: 'damaged' }
	// What the original does not call signed in: a sign-in under way, or one that has ended.
	if (!record?.session.mail || !record.session.token_cache)
		return { state: 'skipped', reason: 'nobody is signed in' }
	const rest = restOf(params, record)
	if (rest <= 0) return { state: 'skipped', reason: 'too old' }
	if (typeof record.session.token_cache !== 'string') return { state: 'damaged' }
	const brought = bringOver(record.session.token_cache, {
		clientId: settings.clientId,
		authority: settings.authority,
		accepts: ownAuthority.accepts,
	})
	if (brought === 'damaged') return { state: 'damaged' }
	if (typeof brought === 'string') return { state: 'skipped', reason: brought }
	const name = nameOfImported(params.id)
	const note = await redisStore.imported.find(name)
	if (note !== undefined)
		return isOurs(name, note) ? { state: 'known' } : { state: 'skipped', reason: 'another secret' }
	return { state: params.dryRun || (await keep(name, brought, rest, params)) ? 'imported' : 'known' }
}

/** Whether an earlier run's note serves its cookie: under a secret that the application has, and not damaged. */
function isOurs(name: string, note: string): boolean {
	const opened = openImported(name, note)
	return opened === 'used' || opened.ok
}

/** The note comes last: what fails before it is done again by the next run, and is removed. @returns false when another run was faster */
async function keep(
	name: string,
	{ cache, account }: BroughtOver,
	rest: number,
	{ absoluteTimeout }: ImportRecordParams,
): Promise<boolean> {
	if (!redisStore) return false
	const partition = randomBytes(32).toString('base64url')
	const lifetime = Math.min(rest, absoluteTimeout)
	let added = false
	try {
		await redisStore.create(partition, {
			...sealCache(partition, cache),
			lifetime,
			mark: markOf(account),
		})
		// Not before: it may end sooner than a sign-in of now, by which a clean-up tells what is still under way.
		await enterSession(account, partition, Date.now() + lifetime)
		added = await redisStore.imported.add(name, sealImported(name, { partition, account }), rest)
		return added
	} finally {
		if (!added)
			await Promise.all([redisStore.remove(partition), leaveSession(account, partition)]).catch(() => {})
	}
}

/** @returns `undefined` for a session that was emptied, which is how the original signs out */
function parse(text: string): PythonRecord | 'damaged' | undefined {
	let value: unknown
	try {
		value = JSON.parse(text)
	} catch {
		return 'damaged'
	}
	if (!isObject(value)) return 'damaged'
	if (Object.keys(value).length === 0) return undefined
	const { created, session } = value
	if (typeof created !== 'number' || !Number.isFinite(created) || !isObject(session)) return 'damaged'
	return { created, session }
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Milliseconds for which the original would take the record still. */
function restOf({ timeToLive, maxAge }: ImportRecordParams, { created }: PythonRecord): number {
	const byAge = Math.min(maxAge, created * 1000 + maxAge - Date.now())
	return Math.floor(Math.min(byAge, timeToLive ?? byAge))
}
