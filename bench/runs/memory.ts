import type { MemoryCalls } from '../memory-main.js'
import { startProcess } from '../process.js'
import { type ArmResult, bringTogether } from '../results.js'
import { countingCalls, type Run } from './run.js'

/** What is held in memory, and whether it ends at its bound. */
export const run: Run = async ({ params }, bench): Promise<ArmResult[]> => {
	bench.progress('broker')
	const child = startProcess<MemoryCalls>('./memory-main.js')
	try {
		const { result, callsPerOp } = await countingCalls(
			bench,
			params,
			{ who: 'broker', providerCallsPerOp: 0 },
			() => child.ask('fill', { params, world: bench.world }),
			({ operations }) => operations,
		)
		return [bringTogether('broker', [{ ...result.round, providerCallsPerOp: callsPerOp }], [result.delay])]
	} finally {
		await child.stop()
	}
}
