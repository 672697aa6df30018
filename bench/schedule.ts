import { performance } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Arm, Params } from './scenario.js'

/** What was run: how many operations, and milliseconds that some of them took. */
export interface Ran {
	readonly operations: number
	readonly latencies: number[]
}

/** Runs operations until the round is over. */
export type Schedule = (
	arm: Arm<unknown>,
	params: Params,
	/** For the warm-up: a part of the round. */
	share: number,
) => Promise<Ran>

/** One ends, the next begins: for operations that wait for something. Every latency is taken. */
const lanes: Schedule = async (arm, params, share) => {
	const total = Math.ceil((params.operations ?? Number.POSITIVE_INFINITY) * share)
	const end = performance.now() + (params.milliseconds ?? Number.POSITIVE_INFINITY) * share
	const sessionAt = order(params)
	const latencies: number[] = []
	let begun = 0
	const lane = async () => {
		while (begun < total && performance.now() < end) {
			const session = sessionAt(begun++)
			const started = performance.now()
			const result = await arm.start(session)
			latencies.push(performance.now() - started)
			arm.check(session, result)
		}
	}
	await Promise.all(Array.from({ length: params.inFlight }, lane))
	return { operations: begun, latencies }
}

/**
 * So many begin together, as requests that arrived in one turn of the event loop do, and the loop turns when all
 * are done: for operations that wait for nothing, and would otherwise never let the loop turn. One latency a
 * turn is taken, because two readings of the clock cost as much as the fastest operation.
 */
const turns: Schedule = async (arm, params, share) => {
	const { inFlight } = params
	const total = (params.operations ?? Number.POSITIVE_INFINITY) * share
	const end = performance.now() + (params.milliseconds ?? Number.POSITIVE_INFINITY) * share
	const sessions = asked(params)
	const pending: Promise<unknown>[] = new Array(inFlight)
	const latencies: number[] = []
	let done = 0
	for (let turn = 0; done < total && performance.now() < end; turn++) {
		const timed = turn % inFlight
		for (let k = 0; k < inFlight; k++) {
			const session = sessions[(done + k) % sessions.length] as number
			if (k === timed) {
				const started = performance.now()
				pending[k] = arm.start(session).then((result) => {
					latencies.push(performance.now() - started)
					return result
				})
			} else pending[k] = arm.start(session)
		}
		for (let k = 0; k < inFlight; k++)
			arm.check(sessions[(done + k) % sessions.length] as number, await pending[k])
		done += inFlight
		await nextTurn()
	}
	return { operations: done, latencies }
}

export const schedules: Readonly<Record<Params['schedule'], Schedule>> = { lanes, turns }

/**
 * Operations begin when they are due, evenly spaced, however many are under way: as people do, who know nothing of
 * each other. A latency counts from the moment when its operation was due, so that one that could not begin because
 * the event loop was blocked is not forgiven that.
 */
export async function atFixedRate(
	perSecond: number,
	milliseconds: number,
	start: (arrival: number) => Promise<unknown>,
): Promise<Ran> {
	const total = Math.ceil((perSecond * milliseconds) / 1000)
	const latencies: number[] = []
	const pending: Promise<unknown>[] = []
	const started = performance.now()
	const dueAt = (arrival: number) => started + (arrival * 1000) / perSecond
	await new Promise<void>((resolve) => {
		const beginDue = () => {
			for (const now = performance.now(); pending.length < total && dueAt(pending.length) <= now; ) {
				const due = dueAt(pending.length)
				pending.push(
					start(pending.length).then(() => {
						latencies.push(performance.now() - due)
					}),
				)
			}
			if (pending.length < total) setTimeout(beginDue, dueAt(pending.length) - performance.now())
			else resolve()
		}
		beginDue()
	})
	await Promise.all(pending)
	return { operations: total, latencies }
}

/** The session of each operation, in turn. */
export function order(params: Params): (operation: number) => number {
	const { schedule, sessions, processes, member = 0 } = params
	if (schedule === 'turns') {
		const list = asked(params)
		return (operation) => list[operation % list.length] as number
	}
	if (processes?.ask === 'part') return (operation) => (operation * processes.count + member) % sessions
	return (operation) => operation % sessions
}

/** The sessions that are asked for: the same order in every arm, and one that no processor's prefetching helps. */
function asked({ sessions, hot = sessions }: Params): Uint32Array {
	const list = Uint32Array.from({ length: sessions }, (_, index) => index)
	let state = 0x9e3779b9
	for (let last = sessions - 1; last > 0; last--) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0
		const other = state % (last + 1)
		const kept = list[last] as number
		list[last] = list[other] as number
		list[other] = kept
	}
	return list.subarray(0, hot)
}
