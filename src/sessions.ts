import { BrokerError } from './errors.js'
import type { SessionTicket } from './session.js'
import { createSessionIds, type SessionIds } from './session-id.js'
import type { Settings } from './settings.js'
import { checkUserReference, comparable } from './user-reference.js'
import type {
	CleanCounts,
	FoundPartition,
	ListedPartition,
	ScanPosition,
	SignedInAccount,
	UserReference,
} from './wire.js'
import type { WorkerPool } from './worker-pool.js'

/** A session in which somebody is signed in, as it may be shown. */
export interface ListedSession {
	/**
	 * Names the session to {@link Sessions.revoke}, and opens nothing: it may stand on a screen or in a log. 55
	 * characters, the same each time until the first of `secrets` changes.
	 */
	readonly id: string
	/** Who is signed in; absent when only another process has the secret that it is sealed under. */
	readonly account?: SignedInAccount
	/** When it ends at the latest. */
	readonly expiresOn: Date
}

/** A session that was found by its user: a ticket too, for `acquireSilent({ msal: session })`. Not to be shown. */
export interface FoundSession extends SessionTicket {
	/** As in {@link ListedSession}. */
	readonly id: string
	readonly expiresOn: Date
}

/** Which sessions are listed: of one tenant, of one object id, or both. Default: all. */
export interface SessionFilter {
	readonly tenantId?: string
	readonly objectId?: string
}

/** What a clean-up goes by. */
export interface CleanOptions {
	/**
	 * Ends sessions that began more than this many milliseconds ago, as counted back from their ends by today's
	 * `session.absoluteTimeout`. Default: none.
	 */
	readonly olderThan?: number
	/**
	 * Removes what is sealed under a secret that this process has not, too. Only when no other process has it either:
	 * its people are signed out. Default `false`.
	 */
	readonly unknownSecrets?: boolean
}

/** Sessions of one user that are ended at a time. */
const revokedTogether = 16

/** Milliseconds in which a sign-in is done that has entered its session in the user index. */
const signInPatience = 5 * 60_000

/** What the broker does for the sessions of everybody. */
interface Parts {
	readonly settings: Settings
	readonly pool: WorkerPool
	/** @throws ERR_BROKER_CLOSED */
	requireOpen(): void
	/** Ends a session, everywhere. */
	end(partition: string, account: SignedInAccount | undefined): Promise<void>
}

/** Administration of the sessions of everybody: `broker.sessions`. Never for a thread or a page of somebody else. */
export class Sessions {
	readonly #parts: Parts
	readonly #ids: SessionIds

	constructor(parts: Parts) {
		const { secrets, auth } = parts.settings
		this.#parts = parts
		this.#ids = createSessionIds(secrets, auth.clientId)
	}

	/**
	 * All sessions in which somebody is signed in now, in no order. Redis is asked in small steps (SCAN, on each master
	 * of a Cluster), and what it holds is opened in the worker threads; the next step is taken when its turn comes. A
	 * session that is there all the time is listed; one may be listed twice while Redis grows or shrinks its table.
	 * @throws ERR_BAD_REQUEST, ERR_OVERLOADED, ERR_WORKER_FAILED, ERR_BROKER_CLOSED; ERR_STORE_UNAVAILABLE, also when a
	 * master of a Cluster is replaced meanwhile: begin again
	 */
	async *list(filter: SessionFilter = {}): AsyncGenerator<ListedSession, void, undefined> {
		checkFilter(filter)
		const { settings, pool, requireOpen } = this.#parts
		requireOpen()
		const { store } = settings
		if (store.kind === 'memory') {
			for (const one of store.list()) if (passes(one, filter)) yield this.#listed(one)
			return
		}
		let from: ScanPosition | undefined
		do {
			const step = await pool.run('listSessions', from ? { from } : {})
			for (const { expiresOn, ...one } of step.sessions)
				if (passes(one, filter)) yield Object.freeze({ ...one, expiresOn: new Date(expiresOn) })
			from = step.next
		} while (from)
	}

	/**
	 * The sessions in which exactly this user is signed in now, the newest first. One look-up, whatever the number of
	 * sessions there are.
	 * @throws ERR_AMBIGUOUS_USER two users of the tenant go by that name
	 * @throws ERR_BAD_REQUEST, ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED, ERR_BROKER_CLOSED
	 */
	async find(user: UserReference): Promise<readonly FoundSession[]> {
		const { settings, pool, requireOpen } = this.#parts
		requireOpen()
		checkUserReference(user)
		const { store } = settings
		const found =
			store.kind === 'memory' ? store.sessionsOf(user) : (await pool.run('findSessions', { user })).sessions
		// All live equally long, so the last to end is the last that began.
		return found
			.toSorted((one, other) => other.expiresOn - one.expiresOn)
			.map((one) => ({ ...this.#listed(one), partition: one.partition, account: one.account }))
	}

	/**
	 * Ends one session, by its id, or all sessions of one user: tokens and web sessions, in every process at once.
	 * @returns how many were ended; 0 when there was none any more
	 * @throws ERR_BAD_REQUEST the text is no session id of this application, or of a secret that is gone
	 * @throws ERR_AMBIGUOUS_USER two users of the tenant go by that name: nobody is signed out
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED when the store could not be told. What was found, or
	 * named by its id, is ended in this process, and in the store as soon as that can be told; a user who could not be
	 * looked up is not
	 * @throws ERR_BROKER_CLOSED
	 */
	async revoke(which: string | UserReference): Promise<number> {
		const sessions = typeof which === 'string' ? await this.#byId(which) : await this.find(which)
		const failures: unknown[] = []
		for (let at = 0; at < sessions.length; ) {
			// So few that nobody else's work is refused. A store that is away is not waited for by one after the other.
			const few = sessions.slice(at, failures.length > 0 ? undefined : at + revokedTogether)
			at += few.length
			await Promise.all(
				few.map(({ partition, account }) =>
					this.#parts.end(partition, account).catch((error) => failures.push(error)),
				),
			)
		}
		if (failures.length > 0) throw failures[0]
		return sessions.length
	}

	/**
	 * Removes what serves nobody any more: damaged sessions, the remains of sign-outs that failed, entries of the user
	 * index that lead nowhere; and what is asked for. Safe at any time: what a sign-in or a refresh under way has written
	 * is not touched. In Redis in small steps, as {@link list}.
	 * @throws ERR_BAD_REQUEST, and what {@link list} throws
	 */
	async clean(options: CleanOptions = {}): Promise<CleanCounts> {
		const { olderThan, unknownSecrets } = checkCleanOptions(options)
		const { settings, pool, requireOpen, end } = this.#parts
		requireOpen()
		const now = Date.now()
		const { absoluteTimeout } = settings.session
		const endsBefore = olderThan === undefined ? undefined : now - olderThan + absoluteTimeout
		const total = { damaged: 0, orphaned: 0, older: 0, unreadable: 0, left: 0 }
		const { store } = settings
		if (store.kind === 'memory') {
			const older = store.list().filter(({ expiresOn }) => endsBefore !== undefined && expiresOn < endsBefore)
			for (const { partition, account } of older) await end(partition, account)
			return { ...total, older: older.length }
		}
		const settledBefore = now + absoluteTimeout - signInPatience
		let from: ScanPosition | undefined
		do {
			const step = await pool.run('cleanSessions', {
				...(from && { from }),
				...(endsBefore !== undefined && { endsBefore }),
				settledBefore,
				unknownSecrets,
			})
			for (const name of Object.keys(total) as (keyof CleanCounts)[]) total[name] += step.counts[name]
			from = step.next
		} while (from)
		return total
	}

	async #byId(id: string): Promise<readonly { partition: string; account?: SignedInAccount }[]> {
		const { settings, pool, requireOpen } = this.#parts
		requireOpen()
		const partition = this.#ids.partitionOf(id)
		if (partition === undefined)
			throw new BrokerError('ERR_BAD_REQUEST', 'This is no id of a session. Take it from sessions.list().')
		const { store } = settings
		if (store.kind === 'memory') {
			const found = store.find(partition)
			return found ? [found] : []
		}
		const seen = await pool.run('whose', { partition }).catch(() => undefined)
		// What can't be looked at is ended all the same, now or when the store is back.
		if (!seen) return [{ partition }]
		return seen.exists ? [{ partition, ...(seen.account && { account: seen.account }) }] : []
	}

	#listed({ partition, account, expiresOn }: FoundPartition): Required<ListedSession> {
		return Object.freeze({ id: this.#ids.idOf(partition), account, expiresOn: new Date(expiresOn) })
	}
}

/** Who can't be told is nobody's. */
function passes(
	{ account }: Pick<ListedPartition, 'account'>,
	{ tenantId, objectId }: SessionFilter,
): boolean {
	const fits = (id: string | undefined, wanted: string | undefined) =>
		wanted === undefined || (id !== undefined && comparable(id) === comparable(wanted))
	return fits(account?.tenantId, tenantId) && fits(account?.objectId, objectId)
}

/** @throws ERR_BAD_REQUEST: a filter that is misspelt must not list everybody */
function checkFilter(filter: unknown): void {
	const isFilter =
		isRecord(filter) &&
		Object.entries(filter).every(
			([name, value]) =>
				['tenantId', 'objectId'].includes(name) && (value === undefined || typeof value === 'string'),
		)
	if (!isFilter)
		throw new BrokerError('ERR_BAD_REQUEST', 'sessions.list takes { tenantId?, objectId? }, both texts.')
}

/** @throws ERR_BAD_REQUEST */
function checkCleanOptions(options: unknown): { olderThan?: number; unknownSecrets: boolean } {
	const { olderThan, unknownSecrets = false, ...rest } = isRecord(options) ? options : { not: 'a record' }
	const isAge = olderThan === undefined || (typeof olderThan === 'number' && olderThan >= 0)
	if (!isAge || typeof unknownSecrets !== 'boolean' || Object.keys(rest).length > 0)
		throw new BrokerError(
			'ERR_BAD_REQUEST',
			'sessions.clean takes { olderThan?: milliseconds, unknownSecrets?: boolean }.',
		)
	return { ...(olderThan !== undefined && { olderThan }), unknownSecrets }
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value)
}
