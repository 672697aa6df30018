import { performance } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Arm, Params } from './scenario.js'

/** Runs operations until the round is over. @returns how many, and milliseconds that some of them took */
export type Schedule = (
	arm: Arm<unknown>,
	params: Params,
	/** For the warm-up: a part of the round. */
	share: number,
) => Promise<{ readonly operations: number; readonly latencies: number[] }>

/** One ends, the next begins: for operations that wait for something. Every latency is taken. */
const lanes: Schedule = async (arm, params, share) => {
	const { inFlight, sessions } = params
	const total = Math.ceil((params.operations ?? Number.POSITIVE_INFINITY) * share)
	const end = performance.now() + (params.milliseconds ?? Number.POSITIVE_INFINITY) * share
	const latencies: number[] = []
	let begun = 0
	const lane = async () => {
		while (begun < total && performance.now() < end) {
			const session = begun++ % sessions
			const started = performance.now()
			const result = await arm.start(session)
			latencies.push(performance.now() - started)
			arm.check(session, result)
		}
	}
	await Promise.all(Array.from({ length: inFlight }, lane))
	return { operations: begun, latencies }
}

/**
 * So many begin together, as requests that arrived in one turn of the event loop do, and the loop turns when all
 * are done: for operations that wait for nothing, and would otherwise never let the loop turn. One latency a
 * turn is taken, because two readings of the clock cost as much as the fastest operation.
 */
const turns: Schedule = async (arm, params, share) => {
	const { inFlight, sessions } = params
	const total = (params.operations ?? Number.POSITIVE_INFINITY) * share
	const end = performance.now() + (params.milliseconds ?? Number.POSITIVE_INFINITY) * share
	const order = shuffled(sessions)
	const pending: Promise<unknown>[] = new Array(inFlight)
	const latencies: number[] = []
	let done = 0
	for (let turn = 0; done < total && performance.now() < end; turn++) {
		const timed = turn % inFlight
		for (let k = 0; k < inFlight; k++) {
			const session = order[(done + k) % sessions] as number
			if (k === timed) {
				const started = performance.now()
				pending[k] = arm.start(session).then((result) => {
					latencies.push(performance.now() - started)
					return result
				})
			} else pending[k] = arm.start(session)
		}
		for (let k = 0; k < inFlight; k++) arm.check(order[(done + k) % sessions] as number, await pending[k])
		done += inFlight
		await nextTurn()
	}
	return { operations: done, latencies }
}

export const schedules: Readonly<Record<Params['schedule'], Schedule>> = { lanes, turns }

/** The same order in every arm, so that no arm is helped by its processor's prefetching. */
function shuffled(length: number): Uint32Array {
	const order = Uint32Array.from({ length }, (_, index) => index)
	let state = 0x9e3779b9
	for (let last = length - 1; last > 0; last--) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0
		const other = state % (last + 1)
		const kept = order[last] as number
		order[last] = order[other] as number
		order[other] = kept
	}
	return order
}
