import { quantiles, type Reading, startMeter } from './meter.js'
import type { Arm, FixedRate, Measurement, Params } from './scenario.js'
import { atFixedRate, order, type Ran, schedules } from './schedule.js'

/** One round: as fast as it goes. */
export async function measureRound(arm: Arm<unknown>, params: Params): Promise<Measurement> {
	const storeCalls = await arm.storeCalls?.()
	const stop = await startMeter()
	const ran = await schedules[params.schedule](arm, params, 1)
	const reading = await stop()
	const storeCallsEnd = await arm.storeCalls?.()
	return toMeasurement(ran, reading, (storeCallsEnd ?? 0) - (storeCalls ?? 0))
}

export function toMeasurement(ran: Ran, reading: Reading, storeCalls: number): Measurement {
	const { operations, latencies } = ran
	const { mainThreadCpuMicros } = reading
	return {
		operations,
		opsPerSecond: (operations / reading.milliseconds) * 1000,
		mainThreadMicrosPerOp: (reading.activeMs * 1000) / operations,
		...(mainThreadCpuMicros !== undefined && { mainThreadCpuMicrosPerOp: mainThreadCpuMicros / operations }),
		cpuMicrosPerOp: reading.cpuMicros / operations,
		eventLoopDelayMs: reading.delay,
		latencyMs: quantiles(latencies),
		rssMiB: process.memoryUsage.rss() / 1_048_576,
		storeCallsPerOp: storeCalls / operations,
	}
}

/** The pass at a fixed rate: what an arm does to everything else in its process while it is not in a hurry. */
export async function measureFixedRate(arm: Arm<unknown>, params: Params): Promise<FixedRate> {
	if (!params.fixedRate) throw new Error('the case has no fixed rate')
	const { arrivalsPerSecond, milliseconds } = params.fixedRate
	const sessionAt = order(params)
	const stop = await startMeter()
	const { operations, latencies } = await atFixedRate(arrivalsPerSecond, milliseconds, async (arrival) => {
		const session = sessionAt(arrival)
		arm.check(session, await arm.start(session))
	})
	const reading = await stop()
	return {
		arrivalsPerSecond,
		operations,
		milliseconds: reading.milliseconds,
		mainThreadMicrosPerOp: (reading.activeMs * 1000) / operations,
		eventLoopDelayMs: reading.delay,
		latencyMs: quantiles(latencies),
		delayPercentiles: reading.delayPercentiles,
		delaySeries: reading.delaySeries,
	}
}
