import type { ArmResult, CaseResult, Range, Results } from './results.js'
import type { Delay } from './scenario.js'
import { judge, type Verdict } from './targets.js'
import { align, describe, markdownTable, number } from './text.js'

/** A case's arms, as rows below a row of heads. Columns in which nothing stands are left out. */
export function rowsOf({ arms }: CaseResult): string[][] {
	const base = arms.find((arm) => arm.name === 'msal-per-request')
	const delayOf = ({ p50, p99, p999, max }: Delay) => [p50, p99, p999, max].map(number).join(' / ')
	const columns: readonly (readonly [head: string, cell: (arm: ArmResult) => string])[] = [
		['arm', (arm) => (arm.bounds?.sessions ? `${arm.name} (${arm.bounds.sessions} users)` : arm.name)],
		['op/s', (arm) => (arm.start ? '' : number(arm.opsPerSecond))],
		[
			'spread',
			(arm) => (arm.rounds.length > 1 ? `±${percentOf(arm.spread.opsPerSecond, arm.opsPerSecond)}` : ''),
		],
		['to MSAL', (arm) => (base && !arm.bounds ? `${number(arm.opsPerSecond / base.opsPerSecond)}×` : '')],
		['main µs/op', (arm) => number(arm.mainThreadMicrosPerOp)],
		['its CPU', (arm) => number(arm.mainThreadCpuMicrosPerOp ?? 0)],
		['all CPU', (arm) => number(arm.cpuMicrosPerOp)],
		['loop delay ms p50 / p99 / p99.9 / max', (arm) => delayOf(arm.eventLoopDelayMs)],
		[
			'the same at a fixed rate',
			({ fixedRate: fixed }) =>
				fixed ? `${delayOf(fixed.eventLoopDelayMs)} at ${fixed.arrivalsPerSecond}/s` : '',
		],
		['latency ms p50 / p99', (arm) => `${number(arm.latencyMs.p50)} / ${number(arm.latencyMs.p99)}`],
		[
			'ping p99 ms idle / beside',
			({ ping }) => (ping ? `${number(ping.idleMs.p99)} / ${number(ping.busyMs.p99)}` : ''),
		],
		['ready ms', ({ start }) => (start ? number(start.readyMs) : '')],
		['first token ms', ({ start }) => (start ? number(start.firstTokenMs) : '')],
		['bytes beside token', ({ memory }) => (memory ? number(memory.bytesPerEntryBesideToken) : '')],
		['RSS MiB', (arm) => number(arm.rssMiB)],
		['provider/op', (arm) => number(arm.providerCallsPerOp)],
		['store/op', (arm) => number(arm.storeCallsPerOp)],
		['provider busy', ({ providerBusy }) => (providerBusy ? percent(providerBusy) : '')],
		['load busy', ({ loadBusy }) => (loadBusy ? percent(loadBusy) : '')],
	]
	const table = [columns.map(([head]) => head), ...arms.map((arm) => columns.map(([, cell]) => cell(arm)))]
	const filled = columns.map((_, at) => table.slice(1).some((row) => row[at] !== ''))
	return table.map((row) => row.filter((_, at) => filled[at]))
}

/** A case as lines of text. */
export function tableOf(result: CaseResult): string {
	const head = [`${result.name}: ${result.summary}`, `  ${describe(result.params)}`, '']
	return [...head, ...align(rowsOf(result)), ''].join('\n')
}

/** What is aimed at, what was measured, and whether that is it. */
export function targetRows(verdicts: readonly Verdict[]): string[][] {
	return [
		['scenario', 'target', 'measured', 'met'],
		...verdicts.map(({ scenario, target, measured, met }) => [scenario, target, measured, met]),
	]
}

/** The whole of a run, to be pasted. */
export function markdownOf(results: Results): string {
	const { machine, versions, quick } = results
	const head = [
		`${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${machine.system}; Node ${versions.node}; ${results.startedAt.slice(0, 10)}${quick ? '; quick run' : ''}.`,
		`The canned token endpoint answers ${number(results.providerCapacity.refreshes)} refreshes/s or ${number(results.providerCapacity.logins)} sign-ins/s, or more.`,
	]
	const targets = ['## Targets', '', ...markdownTable(targetRows(judge(results)))]
	const cases = results.scenarios.flatMap((one) => [
		'',
		`## ${one.name}: ${one.summary}`,
		'',
		`${describe(one.params)}.`,
		'',
		...markdownTable(rowsOf(one)),
	])
	return [...head, '', ...targets, ...cases, ''].join('\n')
}

function percent(share: number): string {
	return `${Math.round(share * 100)} %`
}

function percentOf([low, high]: Range, middle: number): string {
	return percent((high - low) / 2 / middle)
}
