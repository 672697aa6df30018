import type { describeMachine } from './machine.js'
import type { Delay, FixedRate, Measurement, Params } from './scenario.js'

/** `bench/results/latest.json`. */
export interface Results {
	readonly machine: ReturnType<typeof describeMachine>
	readonly versions: Readonly<Record<string, string>>
	/** ISO 8601. */
	readonly startedAt: string
	readonly seconds: number
	readonly quick: boolean
	readonly method: string
	/** What the canned token endpoint is good for at least: answers per second. */
	readonly providerCapacity: { readonly refreshes: number; readonly logins: number }
	readonly scenarios: readonly CaseResult[]
}

export interface CaseResult {
	readonly name: string
	readonly summary: string
	readonly params: Params
	/** That all of it took, starting and seeding included. */
	readonly seconds: number
	readonly arms: readonly ArmResult[]
}

/** An arm's rounds, brought together: medians, and between which values they lie. */
export interface ArmResult extends Round {
	readonly name: string
	/** Where they differ from the case's. */
	readonly bounds?: Partial<Params>
	/** Of rounds of their own. */
	readonly eventLoopDelayMs: Delay
	readonly spread: Readonly<Record<'opsPerSecond' | 'mainThreadMicrosPerOp' | 'delayP99Ms', Range>>
	readonly rounds: readonly Measurement[]
	/** The pass with the median p99, and between which values the others' lie. */
	readonly fixedRate?: FixedRate & { readonly spread: { readonly delayP99Ms: Range } }
}

export type Range = readonly [least: number, most: number]

export interface Round extends Measurement {
	readonly providerCallsPerOp: number
	/** The provider's event-loop utilisation, 0 to 1: near 1 the provider was what was measured. */
	readonly providerBusy?: number
	/** The same of the process that makes the HTTP requests. */
	readonly loadBusy?: number
	/** Of the unrelated route, while nothing else is asked for, and while tokens are refreshed. */
	readonly ping?: { readonly idleMs: Quantiles; readonly busyMs: Quantiles }
	/** Milliseconds: loading the library, until a broker is ready, and then until the first token is there. */
	readonly start?: { readonly importMs: number; readonly readyMs: number; readonly firstTokenMs: number }
	readonly memory?: Memory
}

export interface Quantiles {
	readonly p50: number
	readonly p99: number
}

export interface Memory {
	/** What a held token takes of the heap, and how much of that is not the token's own text. */
	readonly bytesPerEntry: number
	readonly bytesPerEntryBesideToken: number
	/** Tokens that are held at most. */
	readonly bound: number
	/** Resident memory after so many sessions, garbage collected. */
	readonly rss: readonly { readonly sessions: number; readonly mebibytes: number }[]
}

export function bringTogether(
	name: string,
	rounds: readonly Round[],
	delays: readonly Delay[],
	{ passes = [], bounds }: { passes?: readonly FixedRate[]; bounds?: Partial<Params> | undefined } = {},
): ArmResult {
	const medianOf = (read: (round: Round) => number) => median(rounds.map(read))
	const optional = <K extends keyof Round>(key: K, value: () => Round[K]) =>
		rounds.every((round) => round[key] !== undefined) ? { [key]: value() } : {}
	const quantiles = (read: (round: Round) => Quantiles | undefined): Quantiles => ({
		p50: medianOf((round) => read(round)?.p50 ?? 0),
		p99: medianOf((round) => read(round)?.p99 ?? 0),
	})
	return {
		name,
		...(bounds && { bounds }),
		operations: medianOf((round) => round.operations),
		opsPerSecond: medianOf((round) => round.opsPerSecond),
		mainThreadMicrosPerOp: medianOf((round) => round.mainThreadMicrosPerOp),
		...optional('mainThreadCpuMicrosPerOp', () => medianOf((round) => round.mainThreadCpuMicrosPerOp ?? 0)),
		cpuMicrosPerOp: medianOf((round) => round.cpuMicrosPerOp),
		eventLoopDelayMs: {
			p50: median(delays.map((delay) => delay.p50)),
			p99: median(delays.map((delay) => delay.p99)),
			p999: median(delays.map((delay) => delay.p999)),
			max: median(delays.map((delay) => delay.max)),
		},
		latencyMs: quantiles((round) => round.latencyMs),
		rssMiB: medianOf((round) => round.rssMiB),
		providerCallsPerOp: medianOf((round) => round.providerCallsPerOp),
		storeCallsPerOp: medianOf((round) => round.storeCallsPerOp),
		...optional('providerBusy', () => medianOf((round) => round.providerBusy ?? 0)),
		...optional('loadBusy', () => medianOf((round) => round.loadBusy ?? 0)),
		...optional('ping', () => ({
			idleMs: quantiles((round) => round.ping?.idleMs),
			busyMs: quantiles((round) => round.ping?.busyMs),
		})),
		...optional('start', () => ({
			importMs: medianOf((round) => round.start?.importMs ?? 0),
			readyMs: medianOf((round) => round.start?.readyMs ?? 0),
			firstTokenMs: medianOf((round) => round.start?.firstTokenMs ?? 0),
		})),
		...optional('memory', () => rounds[0]?.memory as Memory),
		spread: {
			opsPerSecond: rangeOf(rounds.map((round) => round.opsPerSecond)),
			mainThreadMicrosPerOp: rangeOf(rounds.map((round) => round.mainThreadMicrosPerOp)),
			delayP99Ms: rangeOf(delays.map((delay) => delay.p99)),
		},
		rounds,
		...(passes.length > 0 && { fixedRate: middlePass(passes) }),
	}
}

function middlePass(passes: readonly FixedRate[]): ArmResult['fixedRate'] & object {
	const p99 = ({ eventLoopDelayMs }: FixedRate) => eventLoopDelayMs.p99
	const sorted = passes.toSorted((a, b) => p99(a) - p99(b))
	return {
		...(sorted[(sorted.length - 1) >> 1] as FixedRate),
		spread: { delayP99Ms: rangeOf(passes.map(p99)) },
	}
}

export function median(given: readonly number[]): number {
	const values = given.toSorted((a, b) => a - b)
	const middle = values.length >> 1
	const [low = 0, high = 0] = [values[values.length % 2 ? middle : middle - 1], values[middle]]
	return (low + high) / 2
}

export function rangeOf(values: readonly number[]): Range {
	return [Math.min(...values), Math.max(...values)]
}
