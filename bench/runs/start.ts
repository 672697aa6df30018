import { startProcess } from '../process.js'
import { type ArmResult, bringTogether, type Round } from '../results.js'
import type { Delay } from '../scenario.js'
import type { StartCalls } from '../start-main.js'
import { countingCalls, type Run, withCredential } from './run.js'

/** A process that starts, once per round. */
export const run: Run = async ({ params, arms }, bench): Promise<ArmResult[]> => {
	const world = await withCredential(bench.world, params)
	const results: ArmResult[] = []
	for (const [name, expectation] of Object.entries(arms)) {
		const rounds: Round[] = []
		const delays: Delay[] = []
		for (let round = 1; round <= params.rounds; round++) {
			bench.progress(`${name}, round ${round} of ${params.rounds}`)
			const child = startProcess<StartCalls>('./start-main.js')
			try {
				const { result, callsPerOp, busy } = await countingCalls(
					bench,
					params,
					{ ...expectation, who: name },
					() => child.ask('start', { name, params, world }),
					() => 1,
				)
				delays.push(result.delay)
				rounds.push({ ...result.round, providerCallsPerOp: callsPerOp, providerBusy: busy })
			} finally {
				await child.stop()
			}
		}
		results.push(bringTogether(name, rounds, delays))
	}
	return results
}
