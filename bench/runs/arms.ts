import type { ArmCalls } from '../arm-main.js'
import { type RunningProcess, startProcess } from '../process.js'
import { type ArmResult, bringTogether, type Round } from '../results.js'
import type { Delay, Expectation, FixedRate } from '../scenario.js'
import { countingCalls, type Run, watchedRounds, withCredential } from './run.js'

interface RunningArm {
	readonly name: string
	readonly child: RunningProcess<ArmCalls>
	readonly expectation: Expectation
	readonly rounds: Round[]
	readonly delays: Delay[]
	readonly passes: FixedRate[]
}

/** Passes at a fixed rate: they take longer than rounds, and their tails are long enough alone. */
const mostPasses = 3

/** Arms side by side: all are started and warmed up, then each has its round in turn. */
export const run: Run = async ({ params, arms }, bench): Promise<ArmResult[]> => {
	const world = await withCredential(bench.world, params)
	const running: RunningArm[] = Object.entries(arms).map(([name, expectation]) => ({
		name,
		expectation,
		child: startProcess<ArmCalls>('./arm-main.js', { NODE_EXTRA_CA_CERTS: world.caFile }),
		rounds: [],
		delays: [],
		passes: [],
	}))
	const counting = <K extends 'round' | 'watchedRound' | 'fixedRate'>(
		{ name, child, expectation }: RunningArm,
		call: K,
	) =>
		countingCalls(
			bench,
			params,
			{ ...expectation, who: name },
			() => child.ask(call, undefined),
			({ operations }) => operations,
		)
	try {
		await bench.provider.ask('reset', { latencyMs: params.providerLatencyMs })
		bench.progress('seeding')
		await Promise.all(
			running.map(({ name, child, expectation }) =>
				child.ask('start', { name, params: { ...params, ...expectation.bounds }, world }),
			),
		)
		for (const { name, child } of running) {
			bench.progress(`${name}, warm-up`)
			await child.ask('warmUp', undefined)
		}
		for (let round = 1; round <= params.rounds; round++)
			for (const one of running) {
				const { name, child, rounds } = one
				bench.progress(`${name}, round ${round} of ${params.rounds}`)
				await child.ask('prepare', undefined)
				const { result, callsPerOp, busy } = await counting(one, 'round')
				rounds.push({ ...result, providerCallsPerOp: callsPerOp, providerBusy: busy })
			}
		for (let round = 1; round <= watchedRounds(params); round++)
			for (const one of running) {
				bench.progress(`${one.name}, the event loop watched, round ${round} of ${watchedRounds(params)}`)
				await one.child.ask('prepare', undefined)
				one.delays.push((await counting(one, 'watchedRound')).result.eventLoopDelayMs)
			}
		const passes = params.fixedRate ? Math.min(params.rounds, mostPasses) : 0
		for (let pass = 1; pass <= passes; pass++)
			for (const one of running) {
				const { name, child, expectation, passes: done } = one
				if (expectation.bounds) continue
				bench.progress(`${name}, ${params.fixedRate?.arrivalsPerSecond}/s, pass ${pass} of ${passes}`)
				await child.ask('prepare', undefined)
				done.push((await counting(one, 'fixedRate')).result)
			}
		return running.map(({ name, rounds, delays, passes: done, expectation }) =>
			bringTogether(name, rounds, delays, { passes: done, bounds: expectation.bounds }),
		)
	} finally {
		await Promise.all(running.map(({ child }) => child.stop()))
	}
}
