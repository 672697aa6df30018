import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Arm, Measurement, Params } from './scenario.js'
import { schedules } from './schedule.js'

/** One round. What came before, garbage included, is not its. */
export async function measureRound(arm: Arm<unknown>, params: Params): Promise<Measurement> {
	const run = schedules[params.schedule]
	const storeCalls = await arm.storeCalls?.()
	globalThis.gc?.()
	const delay = monitorEventLoopDelay({ resolution: 1 })
	delay.enable()
	await sleep(50)
	delay.reset()
	const cpu = process.cpuUsage()
	const mainThread = mainThreadCpu()
	const loop = performance.eventLoopUtilization()
	const started = performance.now()
	const { operations, latencies } = await run(arm, params, 1)
	const milliseconds = performance.now() - started
	const { active } = performance.eventLoopUtilization(loop)
	const { user, system } = process.cpuUsage(cpu)
	const mainThreadEnd = mainThreadCpu()
	// The histogram learns of a blocked turn when the next timer fires.
	await sleep(5)
	delay.disable()
	const storeCallsEnd = await arm.storeCalls?.()
	latencies.sort((a, b) => a - b)
	return {
		operations,
		opsPerSecond: (operations / milliseconds) * 1000,
		mainThreadMicrosPerOp: (active * 1000) / operations,
		...(mainThread !== undefined &&
			mainThreadEnd !== undefined && {
				mainThreadCpuMicrosPerOp: (mainThreadEnd - mainThread) / operations,
			}),
		cpuMicrosPerOp: (user + system) / operations,
		eventLoopDelayMs: {
			p50: delay.percentile(50) / 1e6,
			p99: delay.percentile(99) / 1e6,
			p999: delay.percentile(99.9) / 1e6,
			max: delay.max / 1e6,
		},
		latencyMs: { p50: percentile(latencies, 50), p99: percentile(latencies, 99) },
		rssMiB: process.memoryUsage.rss() / 1_048_576,
		storeCallsPerOp: ((storeCallsEnd ?? 0) - (storeCalls ?? 0)) / operations,
	}
}

function percentile(sorted: readonly number[], percent: number): number {
	return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0
}

/** Microseconds that this process's main thread was on a processor, where Linux tells: its id is the process's. */
function mainThreadCpu(): number | undefined {
	try {
		const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
		return Number(nanoseconds) / 1000
	} catch {
		return undefined
	}
}
