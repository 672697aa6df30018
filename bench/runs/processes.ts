import type { ArmCalls } from '../arm-main.js'
import { startProcess } from '../process.js'
import { type ArmResult, bringTogether, median, type Round } from '../results.js'
import type { Delay, Measurement } from '../scenario.js'
import { countingCalls, type Run, watchedRounds, withCredential } from './run.js'

/** Several processes of one arm on one store, all at work at once. */
export const run: Run = async ({ params, arms }, bench): Promise<ArmResult[]> => {
	const world = await withCredential(bench.world, params)
	const count = params.processes?.count ?? 1
	const results: ArmResult[] = []
	for (const [name, expectation] of Object.entries(arms)) {
		const members = Array.from({ length: count }, () =>
			startProcess<ArmCalls>('./arm-main.js', { NODE_EXTRA_CA_CERTS: world.caFile }),
		)
		/** The first fills the store, before the others look into it. */
		const all = async <T>(work: (child: (typeof members)[number], member: number) => Promise<T>) => {
			const first = await work(members[0] as (typeof members)[number], 0)
			return [first, ...(await Promise.all(members.slice(1).map((child, at) => work(child, at + 1))))]
		}
		try {
			await bench.provider.ask('reset', { latencyMs: params.providerLatencyMs })
			bench.progress(`${name}, ${count} processes, warm-up`)
			await all((child, member) => child.ask('start', { name, params: { ...params, member }, world }))
			await Promise.all(members.map((child) => child.ask('warmUp', undefined)))
			const rounds: Round[] = []
			for (let round = 1; round <= params.rounds; round++) {
				bench.progress(`${name}, ${count} processes, round ${round} of ${params.rounds}`)
				await all((child) => child.ask('prepare', undefined))
				const counted = await countingCalls(
					bench,
					params,
					{ ...expectation, who: name },
					() => Promise.all(members.map((child) => child.ask('round', undefined))),
					(done) => sum(done, ({ operations }) => operations),
				)
				const together = addUp(counted.result)
				rounds.push({
					...together,
					providerCallsPerOp: counted.callsPerOp,
					providerBusy: counted.busy,
				})
			}
			const delays: Delay[] = []
			for (let round = 1; round <= watchedRounds(params); round++) {
				bench.progress(`${name}, ${count} processes, the event loops watched`)
				await all((child) => child.ask('prepare', undefined))
				const { result } = await countingCalls(
					bench,
					params,
					{ ...expectation, who: name },
					() => Promise.all(members.map((child) => child.ask('watchedRound', undefined))),
					(done) => sum(done, ({ operations }) => operations),
				)
				delays.push(worstOf(result.map(({ eventLoopDelayMs }) => eventLoopDelayMs)))
			}
			results.push(bringTogether(name, rounds, delays))
		} finally {
			await Promise.all(members.map((child) => child.stop()))
		}
	}
	return results
}

function sum<T>(list: readonly T[], read: (one: T) => number): number {
	return list.reduce((total, one) => total + read(one), 0)
}

function worstOf(delays: readonly Delay[]): Delay {
	const worst = (read: (delay: Delay) => number) => Math.max(...delays.map(read))
	return {
		p50: median(delays.map(({ p50 }) => p50)),
		p99: worst(({ p99 }) => p99),
		p999: worst(({ p999 }) => p999),
		max: worst(({ max }) => max),
	}
}

/** All processes as one: costs are means, long latencies those of the worst, memory is the sum. */
function addUp(done: readonly Measurement[]): Measurement {
	const operations = sum(done, (one) => one.operations)
	const mean = (read: (one: Measurement) => number) =>
		sum(done, (one) => read(one) * one.operations) / operations
	const worst = (read: (one: Measurement) => number) => Math.max(...done.map(read))
	const seconds = worst((one) => one.operations / one.opsPerSecond)
	return {
		operations,
		opsPerSecond: operations / seconds,
		mainThreadMicrosPerOp: mean((one) => one.mainThreadMicrosPerOp),
		...(done.every((one) => one.mainThreadCpuMicrosPerOp !== undefined) && {
			mainThreadCpuMicrosPerOp: mean((one) => one.mainThreadCpuMicrosPerOp ?? 0),
		}),
		cpuMicrosPerOp: mean((one) => one.cpuMicrosPerOp),
		latencyMs: {
			p50: median(done.map((one) => one.latencyMs.p50)),
			p99: worst((one) => one.latencyMs.p99),
		},
		rssMiB: sum(done, (one) => one.rssMiB),
		// The server counts for everybody, so each of them saw about all commands.
		storeCallsPerOp: worst((one) => one.storeCallsPerOp * one.operations) / operations,
	}
}
