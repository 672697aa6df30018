import { readFileSync } from 'node:fs'
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Delay, FixedRate } from './scenario.js'

/** What a process spent between a start and its end. */
export interface Reading {
	readonly milliseconds: number
	/** Milliseconds in which the main thread's event loop was not idle. */
	readonly activeMs: number
	readonly mainThreadCpuMicros?: number
	readonly cpuMicros: number
}

/** How long its event loop was held up. */
export interface DelayReading {
	readonly delay: Delay
	readonly delayPercentiles: FixedRate['delayPercentiles']
	readonly delaySeries: FixedRate['delaySeries']
}

/** Milliseconds between two values of the event-loop delay over time. */
const windowMs = 100

/** Percentiles that a distribution is drawn from. */
const percents = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 100]

/** Begins to measure what this process uses; what came before, garbage included, is not counted. @returns how to end it */
export async function startMeter(): Promise<() => Reading> {
	globalThis.gc?.()
	await sleep(50)
	const cpu = process.cpuUsage()
	const mainThread = mainThreadCpu()
	const loop = performance.eventLoopUtilization()
	const started = performance.now()
	return () => {
		const milliseconds = performance.now() - started
		const { active } = performance.eventLoopUtilization(loop)
		const { user, system } = process.cpuUsage(cpu)
		const mainThreadEnd = mainThreadCpu()
		return {
			milliseconds,
			activeMs: active,
			...(mainThread !== undefined &&
				mainThreadEnd !== undefined && { mainThreadCpuMicros: mainThreadEnd - mainThread }),
			cpuMicros: user + system,
		}
	}
}

/**
 * Begins to watch the event loop. It is woken for that each millisecond, which where there are a hundred operations in a
 * second costs more than they do: what is watched is not what is metered. @returns how to end it
 */
export async function watchDelay(): Promise<() => Promise<DelayReading>> {
	const delay = monitorEventLoopDelay({ resolution: 1 })
	const recent = monitorEventLoopDelay({ resolution: 1 })
	const series: [number, number][] = []
	let longest = 0
	const takeWindow = () => {
		// Right after a blocked turn there is nothing yet to look at.
		if (recent.count === 0) return
		// What follows a reset is in no window: here it counts when nothing before was longer.
		const unseen = delay.max > longest && longest > 0 ? delay.max : 0
		longest = delay.max
		series.push([performance.now() - started, Math.max(recent.max, unseen) / 1e6])
		recent.reset()
	}
	delay.enable()
	recent.enable()
	await sleep(50)
	delay.reset()
	recent.reset()
	// A histogram that was reset counts from its second wake-up on, and the first turn may be the one that is blocked.
	await sleep(5)
	const windows = setInterval(takeWindow, windowMs)
	const started = performance.now()
	return async () => {
		// The histogram learns of a blocked turn when the next timer fires.
		await sleep(5)
		delay.disable()
		recent.disable()
		clearInterval(windows)
		takeWindow()
		return {
			delay: delayOf(delay),
			delayPercentiles: percents.map((percent) => [
				percent,
				(percent === 0 ? delay.min : percent === 100 ? delay.max : delay.percentile(percent)) / 1e6,
			]),
			delaySeries: series,
		}
	}
}

function delayOf(histogram: IntervalHistogram): Delay {
	return {
		p50: histogram.percentile(50) / 1e6,
		p99: histogram.percentile(99) / 1e6,
		p999: histogram.percentile(99.9) / 1e6,
		max: histogram.max / 1e6,
	}
}

/** @param values are sorted */
export function quantiles(values: number[]): { readonly p50: number; readonly p99: number } {
	values.sort((a, b) => a - b)
	const at = (percent: number) =>
		values[Math.min(values.length - 1, Math.floor((values.length * percent) / 100))] ?? 0
	return { p50: at(50), p99: at(99) }
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
