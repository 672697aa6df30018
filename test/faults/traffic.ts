import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerProcess } from '../support/broker-process.js'
import { percentile, seeded } from './account.js'
import type { Danger, Stroke } from './faults.js'
import { deadlines, type Place, type Rig, type SignedIn } from './rig.js'

/**
 * What somebody does: a caller that holds its session asks the broker for a token that is valid (`held`) or for a new
 * one (`renewed`); a browser with a session wants a token (`visit`), one without a page (`page`).
 */
export type Kind = 'held' | 'renewed' | 'visit' | 'page'

/** How often each is done, of a hundred. */
const shares: Readonly<Record<Kind, number>> = { held: 40, renewed: 15, visit: 20, page: 25 }

/** Milliseconds after which a request hangs: the longest deadline that it may wait for, and two seconds. */
const patience = deadlines.task + 2000

/** A request that has ended. */
export interface Request {
	readonly kind: Kind
	readonly who: SignedIn
	readonly process: BrokerProcess
	/** When it began, of `performance.now()`. */
	readonly at: number
	readonly ms: number
	/** What the provider's log has a refresh under. */
	readonly correlationId: string
	/**
	 * How: an outcome, the code of an error, a status; `killed` when the process was, `cut off` when it was told to end and
	 * a connection to it closed, `unanswered` when it ended owing an answer, `hung` when nothing came.
	 */
	readonly word: string
}

/** Words of what went well. */
const good = new Set(['hit', 'stale', 'inflight', 'cached', 'refreshed', '200'])

/** Words of what says: try again. Nothing else may come of a fault. */
const again = new Set([
	...['ERR_STORE_UNAVAILABLE', 'ERR_IDP_UNAVAILABLE', 'ERR_OVERLOADED', 'ERR_WORKER_FAILED'],
	...['ERR_BROKER_CLOSED', '503'],
])

/** What is told to whose session is over: signed out, or lost. */
const over = new Set(['ERR_SIGNED_OUT', 'ERR_INTERACTION_REQUIRED', '401'])

export const isGood = ({ word }: Request) => good.has(word)
/** Refused, and told to try again. */
export const isRefused = ({ word }: Request) => again.has(word)

/** All but what people were told whose session was over, rightly. */
export function withoutOver(requests: readonly Request[], gone: Iterable<SignedIn>): Request[] {
	const whose = new Set(gone)
	return requests.filter(({ who, word }) => !whose.has(who) || !over.has(word))
}

/** Requests at a rate, whatever becomes of those before: as the people of an application make them. */
export class Traffic {
	readonly requests: Request[] = []
	/** Tokens that were somebody else's. */
	wrong = 0
	readonly #rig: Rig
	readonly #rate: number
	readonly #random: () => number
	readonly #underWay = new Set<Promise<void>>()
	#timer: NodeJS.Timeout | undefined
	/** Requests that were due while no process was there. */
	#unsent = 0
	#began = 0

	/** @param rate requests per second */
	constructor(rig: Rig, rate = 200) {
		this.#rig = rig
		this.#rate = rate
		// Of its own: how many requests there are depends on the time, and what else is drawn is not to.
		this.#random = seeded(rig.random() * 2 ** 32)
	}

	start(): void {
		this.#began = performance.now()
		let sent = 0
		this.#timer = setInterval(() => {
			const due = ((performance.now() - this.#began) * this.#rate) / 1000
			for (; sent < due; sent++) if (!this.#send()) this.#unsent++
		}, 5)
	}

	/** Sends no more, and waits for what is under way. @throws when fewer requests were made than were due */
	async stop(): Promise<void> {
		clearInterval(this.#timer)
		const due = ((performance.now() - this.#began) * this.#rate) / 1000 - this.#unsent
		await Promise.all(this.#underWay)
		const { length } = this.requests
		if (length < 0.9 * due) throw new Error(`Of ${Math.round(due)} requests ${length} were made.`)
	}

	/** Those that began in that time, of `performance.now()`. */
	between(from: number, to = Number.POSITIVE_INFINITY): Request[] {
		return this.requests.filter(({ at }) => at >= from && at < to)
	}

	/** @returns false while there is nobody to ask */
	#send(): boolean {
		const { signedIn, places } = this.#rig
		const random = this.#random
		const up = places.filter(({ running }) => running !== undefined)
		const place = up[Math.floor(random() * up.length)]
		const kind = draw(random)
		// Whose token is renewed never holds one for as long as a fault lasts, so these are others.
		const half = Math.floor(signedIn.length / 2)
		const who = signedIn[Math.floor(random() * half) + (kind === 'renewed' ? half : 0)]
		if (!place?.running || !who) return false
		const sent = this.#ask(kind, who, place, place.running).finally(() => this.#underWay.delete(sent))
		this.#underWay.add(sent)
		return true
	}

	/** Why nothing came. */
	#fate(process: BrokerProcess, kind: Kind): string {
		const { ends } = this.#rig
		if (!ends.has(process)) return 'no answer'
		if (process.child.signalCode === 'SIGKILL') return 'killed'
		return kind === 'visit' || kind === 'page' ? 'cut off' : 'unanswered'
	}

	async #ask(kind: Kind, who: SignedIn, place: Place, process: BrokerProcess): Promise<void> {
		const at = performance.now()
		const correlationId = randomUUID()
		let took: number | undefined
		let stop = () => {}
		const ended = new Promise<string>((resolve) => {
			const killed = () => resolve(this.#fate(process, kind))
			const timer = setTimeout(() => resolve('hung'), patience)
			process.atEnd.add(killed)
			stop = () => {
				process.atEnd.delete(killed)
				clearTimeout(timer)
			}
		})
		const answered =
			kind === 'held' || kind === 'renewed'
				? this.#acquire(process, who, kind === 'renewed', correlationId).then(({ word, ms }) => {
						took = ms
						return word
					})
				: this.#visit(place, kind, who, correlationId).catch(async () => {
						// A connection breaks before the end of its process is known.
						const { exitCode, signalCode } = process.child
						if (place.running !== process && exitCode === null && signalCode === null)
							await once(process.child, 'exit')
						return this.#fate(process, kind)
					})
		const word = await Promise.race([answered, ended])
		stop()
		this.requests.push({ kind, who, process, at, ms: took ?? performance.now() - at, correlationId, word })
	}

	/** `ms` as measured in the process: what a call takes its caller. */
	async #acquire(process: BrokerProcess, who: SignedIn, forceRefresh: boolean, correlationId: string) {
		const [reply] = await process.acquire([who.session], { forceRefresh, correlationId })
		if (!reply) throw new Error('no reply')
		if ('error' in reply) {
			const { error, ms } = reply
			const mute = again.has(error) && error !== 'ERR_BROKER_CLOSED' && reply.retryAfter === undefined
			return { word: mute ? `${error} without retryAfter` : error, ms }
		}
		this.#check(reply, who)
		return { word: reply.outcome, ms: reply.ms }
	}

	async #visit({ origin }: Place, kind: Kind, who: SignedIn, correlationId: string): Promise<string> {
		const response = await fetch(`${origin}/${kind === 'visit' ? 'token' : ''}`, {
			redirect: 'manual',
			headers: kind === 'visit' ? { cookie: who.cookie, 'correlation-id': correlationId } : {},
			signal: AbortSignal.timeout(patience),
		})
		const text = await response.text()
		if (response.status === 200 && kind === 'visit') this.#check(JSON.parse(text), who)
		if (response.status === 503 && !response.headers.has('retry-after')) return '503 without Retry-After'
		return String(response.status)
	}

	#check(reply: { readonly holder: string; readonly objectId: string }, { person }: SignedIn): void {
		if (reply.holder !== person.oid || reply.objectId !== person.oid) this.wrong++
	}
}

function draw(random: () => number): Kind {
	let left = random() * 100
	for (const [kind, share] of Object.entries(shares) as [Kind, number][]) {
		left -= share
		if (left < 0) return kind
	}
	return 'held'
}

/** Has every process hold a token of everybody. */
export async function holdTokens({ places, signedIn }: Rig): Promise<void> {
	const sessions = signedIn.map(({ session }) => session)
	for (const { running } of places)
		for (const reply of (await running?.acquire(sessions)) ?? [])
			if ('error' in reply) throw new Error(`A token could not be had: ${reply.error}`)
}

/** How many requests of each kind ended how. */
export function tally(requests: readonly Request[]): Record<string, Record<string, number>> {
	const counts: Record<string, Record<string, number>> = {}
	for (const { kind, word } of requests) {
		counts[kind] ??= {}
		counts[kind][word] = (counts[kind][word] ?? 0) + 1
	}
	return counts
}

/** What a run came to. */
export interface Account {
	/** Requests of each kind by how they ended. */
	readonly requests: Record<string, Record<string, number>>
	/** Sessions that were lost, by why. */
	readonly lost: Record<string, number>
	/** Refreshes that the provider was asked for. */
	refreshPosts: number
	/** Tokens that reached somebody else's session. */
	tokensOfOthers: number
}

export const openAccount = (): Account => ({ requests: {}, lost: {}, refreshPosts: 0, tokensOfOthers: 0 })

/** Adds what a stretch of traffic came to, and what was lost in it. */
export function enter(account: Account, rig: Rig, traffic: Traffic, losses: readonly Loss[]): void {
	for (const [kind, words] of Object.entries(tally(traffic.requests)))
		for (const [word, count] of Object.entries(words)) {
			account.requests[kind] ??= {}
			account.requests[kind][word] = (account.requests[kind][word] ?? 0) + count
		}
	for (const { excuse = 'nobody knows why' } of losses) account.lost[excuse] = (account.lost[excuse] ?? 0) + 1
	account.refreshPosts += rig.standIn.count('token', 'refresh_token')
	account.tokensOfOthers += traffic.wrong
	// It keeps the newest ten thousand.
	rig.standIn.clearLog()
}

/** Milliseconds that 99 of 100 were refused within; NaN when none was. */
export function refusalTime(requests: readonly Request[]): number {
	return percentile(
		requests.filter(isRefused).map(({ ms }) => ms),
		0.99,
	)
}

/** Milliseconds that a request may take when all is well, with another process's refresh before it. */
const slow = 1000

/** Milliseconds from a time until the last request began that failed, or waited for something. */
export function recoveryTime(requests: readonly Request[], from: number): number {
	const late = requests.filter((one) => one.at >= from && (!isGood(one) || one.ms > slow))
	return Math.max(0, ...late.map(({ at }) => at - from))
}

/** A session that is lost, and what excuses it; nothing does when that is `undefined`. */
export interface Loss {
	readonly who: SignedIn
	readonly excuse: string | undefined
}

/**
 * Who can get no new token any more, when every part is well again; what fails for now is tried for ten seconds. The
 * provider takes each refresh token once: what excuses a loss is that the last one which it gave to somebody went astray
 * in a way that one of the faults brings about, and README.md names.
 * @param strokes the faults that there were
 */
export async function findLosses(
	rig: Rig,
	{ requests }: Traffic,
	strokes: readonly Stroke[] = [],
): Promise<Loss[]> {
	const { places, standIn, signedIn } = rig
	const process = places.find(({ running }) => running)?.running
	if (!process) throw new Error('There is no process to ask.')
	const taken = standIn.log
		// The answer of one that was refused has said so.
		.filter(({ passed, status }) => passed && (status === undefined || status === 200))
		.map(({ correlationId }) => correlationId)
	const lastTaken = (who: SignedIn) => {
		const theirs = new Map(
			requests.filter((one) => one.who === who).map((one) => [one.correlationId, one] as const),
		)
		return taken.flatMap((id) => theirs.get(id ?? '') ?? []).at(-1)
	}
	const losses: Loss[] = []
	const look = async (who: SignedIn) => {
		for (const end = performance.now() + 10_000; ; await sleep(200)) {
			const [reply] = await process.acquire([who.session], { forceRefresh: true })
			if (!reply || !('error' in reply)) return
			if (again.has(reply.error) && performance.now() < end) continue
			const last = lastTaken(who)
			return void losses.push({ who, excuse: last && excuseOf(last, rig, strokes) })
		}
	}
	await Promise.all(signedIn.map(look))
	return losses
}

/** How a refresh that the provider has done may have been lost, seeing what came of it and what was broken. */
function excuseOf(refresh: Request, { ends, struck }: Rig, strokes: readonly Stroke[]): string | undefined {
	const { kind, word, at, ms, process } = refresh
	const wasDrawn = (danger: Danger) => strokes.some(({ fault }) => fault.danger === danger)
	// What a browser is told has no code.
	const says = (code: string) => word === code || (kind === 'visit' && word === '503')
	const isLate = ms >= deadlines.provider
	const inThread = struck.some(
		(one) =>
			one.process === process &&
			strokes.some(({ fault, from, to }) => fault.danger === 'thread' && from <= one.at && one.at <= to),
	)
	if (says('ERR_IDP_UNAVAILABLE')) {
		if (wasDrawn('answer')) return 'the answer was lost on its way'
		// A thread that is ill reads no answer.
		if (isLate && (wasDrawn('late answer') || inThread)) return 'the answer came too late'
	}
	if (inThread) {
		if (says('ERR_WORKER_FAILED')) return 'the thread ended in mid-refresh'
		// One that is ill keeps its tasks beyond their deadline before it ends.
		if (says('ERR_OVERLOADED') && ms >= deadlines.task * 0.9) return 'the thread ended in mid-refresh'
	}
	if (word === 'killed' && wasDrawn('process')) return 'the process was killed in mid-refresh'
	const end = ends.get(process)
	const owed = strokes.some(
		({ fault, from, to }) =>
			fault.danger === 'write' && end && from < end.at && end.at < to && at + ms >= from,
	)
	return owed ? 'its process ended while the store took no write' : undefined
}
