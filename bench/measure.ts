import { quantiles, type Reading, startMeter, watchDelay } from './meter.js'
import type { Arm, FixedRate, Measurement, Params, WatchedRound } from './scenario.js'
import { atFixedRate, order, schedules } from './schedule.js'

/** One round: as fast as it goes. */
export async function measureRound(arm: Arm<unknown>, params: Params): Promise<Measurement> {
	const storeCalls = await arm.storeCalls?.()
	const stop = await startMeter()
	const ran = await schedules[params.schedule](arm, params, 1)
	const reading = stop()
	const storeCallsEnd = await arm.storeCalls?.()
	return toMeasurement(reading, {
		operations: ran.operations,
		latencyMs: quantiles(ran.latencies),
		storeCalls: (storeCallsEnd ?? 0) - (storeCalls ?? 0),
	})
}

/** The same, to see how long the event loop was held up by it. */
export async function watchRound(arm: Arm<unknown>, params: Params): Promise<WatchedRound> {
	const stop = await watchDelay()
	const { operations } = await schedules[params.schedule](arm, params, 1)
	return { operations, eventLoopDelayMs: (await stop()).delay }
}

interface Done {
	readonly operations: number
	readonly latencyMs: Measurement['latencyMs']
	readonly storeCalls: number
	/** Default: of this process. */
	readonly rssMiB?: number
}

export function toMeasurement(reading: Reading, done: Done): Measurement {
	const { operations, latencyMs, storeCalls, rssMiB = process.memoryUsage.rss() / 1_048_576 } = done
	const { mainThreadCpuMicros } = reading
	return {
		operations,
		opsPerSecond: (operations / reading.milliseconds) * 1000,
		mainThreadMicrosPerOp: (reading.activeMs * 1000) / operations,
		...(mainThreadCpuMicros !== undefined && { mainThreadCpuMicrosPerOp: mainThreadCpuMicros / operations }),
		cpuMicrosPerOp: reading.cpuMicros / operations,
		latencyMs,
		rssMiB,
		storeCallsPerOp: storeCalls / operations,
	}
}

/** The pass at a fixed rate: what an arm does to everything else in its process while it is not in a hurry. */
export async function measureFixedRate(arm: Arm<unknown>, params: Params): Promise<FixedRate> {
	if (!params.fixedRate) throw new Error('the case has no fixed rate')
	const { arrivalsPerSecond, milliseconds } = params.fixedRate
	const sessionAt = order(params)
	const stop = await watchDelay()
	const started = performance.now()
	const { operations, latencies } = await atFixedRate(arrivalsPerSecond, milliseconds, async (arrival) => {
		const session = sessionAt(arrival)
		arm.check(session, await arm.start(session))
	})
	const taken = performance.now() - started
	const reading = await stop()
	return {
		arrivalsPerSecond,
		operations,
		milliseconds: taken,
		eventLoopDelayMs: reading.delay,
		latencyMs: quantiles(latencies),
		delayPercentiles: reading.delayPercentiles,
		delaySeries: reading.delaySeries,
	}
}
