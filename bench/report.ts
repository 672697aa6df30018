import type { Measurement, Params } from './scenario.js'

/** An arm's rounds, brought together: medians, and between which values they lie. */
export interface ArmResult extends Measurement {
	readonly name: string
	readonly providerCallsPerOp: number
	/** The provider's event-loop utilisation, 0 to 1: near 1 the provider was what was measured. */
	readonly providerBusy: number
	readonly spread: Readonly<Record<'opsPerSecond' | 'mainThreadMicrosPerOp' | 'delayP99Ms', [number, number]>>
	readonly rounds: readonly Round[]
}

export interface Round extends Measurement {
	readonly providerCallsPerOp: number
	readonly providerBusy: number
}

export interface CaseResult {
	readonly name: string
	readonly summary: string
	readonly params: Params
	readonly arms: readonly ArmResult[]
}

export function bringTogether(name: string, rounds: readonly Round[]): ArmResult {
	const median = (read: (round: Round) => number) => {
		const values = rounds.map(read).sort((a, b) => a - b)
		const middle = values.length >> 1
		const [low = 0, high = 0] = [values[values.length % 2 ? middle : middle - 1], values[middle]]
		return (low + high) / 2
	}
	const spread = (read: (round: Round) => number): [number, number] => {
		const values = rounds.map(read)
		return [Math.min(...values), Math.max(...values)]
	}
	return {
		name,
		operations: median((round) => round.operations),
		opsPerSecond: median((round) => round.opsPerSecond),
		mainThreadMicrosPerOp: median((round) => round.mainThreadMicrosPerOp),
		...(rounds.every((round) => round.mainThreadCpuMicrosPerOp !== undefined) && {
			mainThreadCpuMicrosPerOp: median((round) => round.mainThreadCpuMicrosPerOp ?? 0),
		}),
		cpuMicrosPerOp: median((round) => round.cpuMicrosPerOp),
		eventLoopDelayMs: {
			p50: median((round) => round.eventLoopDelayMs.p50),
			p99: median((round) => round.eventLoopDelayMs.p99),
			p999: median((round) => round.eventLoopDelayMs.p999),
			max: median((round) => round.eventLoopDelayMs.max),
		},
		latencyMs: {
			p50: median((round) => round.latencyMs.p50),
			p99: median((round) => round.latencyMs.p99),
		},
		rssMiB: median((round) => round.rssMiB),
		providerCallsPerOp: median((round) => round.providerCallsPerOp),
		storeCallsPerOp: median((round) => round.storeCallsPerOp),
		providerBusy: median((round) => round.providerBusy),
		spread: {
			opsPerSecond: spread((round) => round.opsPerSecond),
			mainThreadMicrosPerOp: spread((round) => round.mainThreadMicrosPerOp),
			delayP99Ms: spread((round) => round.eventLoopDelayMs.p99),
		},
		rounds,
	}
}

/** A case as lines of text. */
export function tableOf({ name, summary, params, arms }: CaseResult): string {
	const base = arms.find((arm) => arm.name === 'msal-per-request')
	const rows = arms.map((arm) => {
		const { eventLoopDelayMs: delay, latencyMs: latency, spread } = arm
		return [
			arm.name,
			number(arm.opsPerSecond),
			`±${percentOf(spread.opsPerSecond, arm.opsPerSecond)}`,
			base ? `${number(arm.opsPerSecond / base.opsPerSecond)}×` : '',
			number(arm.mainThreadMicrosPerOp),
			number(arm.mainThreadCpuMicrosPerOp ?? 0),
			number(arm.cpuMicrosPerOp),
			[delay.p50, delay.p99, delay.p999, delay.max].map(number).join(' / '),
			`${number(latency.p50)} / ${number(latency.p99)}`,
			number(arm.rssMiB),
			number(arm.providerCallsPerOp),
			number(arm.storeCallsPerOp),
			`${Math.round(arm.providerBusy * 100)} %`,
		]
	})
	const heads = [
		'arm',
		'op/s',
		'spread',
		'to MSAL',
		'main µs/op',
		'its CPU',
		'all CPU',
		'loop delay ms p50 / p99 / p99.9 / max',
		'latency ms p50 / p99',
		'RSS MiB',
		'provider/op',
		'store/op',
		'provider busy',
	]
	const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => (row[at] ?? '').length)))
	const line = (cells: readonly string[]) =>
		cells
			.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
			.join('  ')
	const details = Object.entries(params).map(([key, value]) => `${key} ${value}`)
	return [`${name}: ${summary}`, `  ${details.join(', ')}`, '', ...[heads, ...rows].map(line), ''].join('\n')
}

function percentOf([low, high]: readonly [number, number], middle: number): string {
	return `${Math.round(((high - low) / 2 / middle) * 100)} %`
}

/** Three figures, and separators where there are more. */
function number(value: number): string {
	if (value === 0) return '0'
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
	const rounded = Number(value.toPrecision(3))
	return rounded.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 4) })
}
