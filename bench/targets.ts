import type { ArmResult, CaseResult, Results } from './results.js'
import type { Params } from './scenario.js'
import { number } from './text.js'

/** What the project aims at, as ratios within one run where it can be. Reported; a run does not fail by it. */
interface Target {
	readonly scenario: string
	readonly target: string
	/** @returns `undefined` when the run does not tell */
	measure(find: Find): Measured | undefined
}

interface Measured {
	readonly value: number
	readonly unit: string
	readonly limit: number
	/** Beyond the limit. */
	readonly stretch?: number
	readonly better: 'less' | 'more'
}

export interface Verdict {
	readonly scenario: string
	readonly target: string
	readonly measured: string
	readonly met: 'yes' | 'yes, and the stretch' | 'no' | 'not measured'
}

/** The arms of the first case of a scenario whose parameters are so. */
type Find = (scenario: string, matches: (params: Params) => boolean) => Arms | undefined
type Arms = Readonly<Record<string, ArmResult | undefined>>

const any = () => true
const heldThousand = ({ sessions, sharedToken }: Params) => sessions === 1_000 && !sharedToken
const hot = (params: Params) => params.hot !== undefined
const many = (params: Params) =>
	params.sharedToken === true && params.sessions > 1_000 && params.hot === undefined
const rsa = (bits: number) => (params: Params) => params.rsaBits === bits
const resources = (count: number) => (params: Params) => params.resources === count
const load = (kind: 'throughput' | 'ping') => (params: Params) => params.http?.load === kind
const ratio = (a: number | undefined, b: number | undefined) =>
	a === undefined || b === undefined || b === 0 ? undefined : a / b

function atLeast(
	value: number | undefined,
	limit: number,
	unit: string,
	stretch?: number,
): Measured | undefined {
	return value === undefined
		? undefined
		: { value, limit, unit, better: 'more', ...(stretch !== undefined && { stretch }) }
}

function atMost(
	value: number | undefined,
	limit: number,
	unit: string,
	stretch?: number,
): Measured | undefined {
	return value === undefined
		? undefined
		: { value, limit, unit, better: 'less', ...(stretch !== undefined && { stretch }) }
}

const opsPerSecond = (arm: ArmResult | undefined) => arm?.opsPerSecond
const mainMicros = (arm: ArmResult | undefined) => arm?.mainThreadMicrosPerOp
const fixedP99 = (arm: ArmResult | undefined) => arm?.fixedRate?.eventLoopDelayMs.p99
const beyondNoop = (arms: Arms | undefined) => {
	const [own, noop] = [fixedP99(arms?.broker), fixedP99(arms?.noop)]
	return own === undefined || noop === undefined ? undefined : own - noop
}

const hits = (name: string, matches: (params: Params) => boolean): Target[] => [
	{
		scenario: `hit, ${name}`,
		target: '≥ 1,000,000 op/s on one thread',
		measure: (find) => atLeast(opsPerSecond(find('hit', matches)?.broker), 1_000_000, 'op/s'),
	},
	{
		scenario: `hit, ${name}`,
		target: '≥ 300 × msal-per-request',
		measure: (find) =>
			atLeast(
				ratio(
					opsPerSecond(find('hit', matches)?.broker),
					opsPerSecond(find('hit', any)?.['msal-per-request']),
				),
				300,
				'×',
			),
	},
	{
		scenario: `hit, ${name}`,
		target: '≥ 0.6 × map',
		measure: (find) => {
			const arms = find('hit', matches)
			return atLeast(ratio(opsPerSecond(arms?.broker), opsPerSecond(arms?.map)), 0.6, '×')
		},
	},
]

const refreshes = (bits: 2048 | 4096): Target[] => [
	{
		scenario: `refresh-storm, RSA ${bits}`,
		target: '≤ 60 µs of main thread per op, 40 stretch',
		measure: (find) => atMost(mainMicros(find('refresh-storm', rsa(bits))?.broker), 60, 'µs', 40),
	},
	{
		scenario: `refresh-storm, RSA ${bits}`,
		target: 'at 300/s delay p99 within 2 ms of noop, 1 ms stretch',
		measure: (find) => atMost(beyondNoop(find('refresh-storm', rsa(bits))), 2, 'ms', 1),
	},
	{
		scenario: `refresh-storm, RSA ${bits}`,
		target: `≥ ${bits === 2048 ? '2.5 × op/s of msal-per-request, 3 ×' : '8 × op/s of msal-per-request, 10 ×'} stretch`,
		measure: (find) => {
			const arms = find('refresh-storm', rsa(bits))
			const value = ratio(opsPerSecond(arms?.broker), opsPerSecond(arms?.['msal-per-request']))
			return bits === 2048 ? atLeast(value, 2.5, '×', 3) : atLeast(value, 8, '×', 10)
		},
	},
]

const targets: readonly Target[] = [
	...hits('1,000 held', heldThousand),
	...hits('a hot 1,000 of many', hot),
	{
		scenario: 'hit, random over 1,000 → many held',
		target: 'cost per op grows ≤ 1.2 × what map’s grows',
		measure(find) {
			const [few, more] = [find('hit', heldThousand), find('hit', many)]
			const growth = (arm: string) => ratio(opsPerSecond(few?.[arm]), opsPerSecond(more?.[arm]))
			return atMost(ratio(growth('broker'), growth('map')), 1.2, '×')
		},
	},
	{
		scenario: 'cached',
		target: '≥ 3 × msal-per-request op/s',
		measure(find) {
			const arms = find('cached', any)
			return atLeast(ratio(opsPerSecond(arms?.broker), opsPerSecond(arms?.['msal-per-request'])), 3, '×')
		},
	},
	{
		scenario: 'cached',
		target: '≤ 40 µs of main thread per op',
		measure: (find) => atMost(mainMicros(find('cached', any)?.broker), 40, 'µs'),
	},
	...refreshes(2048),
	...refreshes(4096),
	{
		scenario: 'login-storm',
		target: 'at a fixed rate delay p99 within 2 ms of noop',
		measure: (find) => atMost(beyondNoop(find('login-storm', any)), 2, 'ms'),
	},
	{
		scenario: 'login-storm',
		target: '≤ 150 µs of main thread per op',
		measure: (find) => atMost(mainMicros(find('login-storm', any)?.broker), 150, 'µs'),
	},
	{
		scenario: 'large-blob, 100 resources',
		target: 'main thread within 1.5 × of 1 resource',
		measure: (find) =>
			atMost(
				ratio(
					mainMicros(find('large-blob', resources(100))?.broker),
					mainMicros(find('large-blob', resources(1))?.broker),
				),
				1.5,
				'×',
			),
	},
	{
		scenario: 'http',
		target: '≥ 0.9 × requests/s of plain koa-session + koa-redis',
		measure(find) {
			const arms = find('http', load('throughput'))
			return atLeast(ratio(opsPerSecond(arms?.broker), opsPerSecond(arms?.plain)), 0.9, '×')
		},
	},
	{
		scenario: 'http',
		target: '/ping p99 at 300 refreshes/s within 3 ms of its idle p99',
		measure(find) {
			const ping = find('http', load('ping'))?.broker?.ping
			return ping && atMost(ping.busyMs.p99 - ping.idleMs.p99, 3, 'ms')
		},
	},
	{
		scenario: 'http',
		target: '/ping p99 at 300 refreshes/s ≥ 5 × below msal-per-request',
		measure(find) {
			const arms = find('http', load('ping'))
			return atLeast(
				ratio(arms?.['msal-per-request']?.ping?.busyMs.p99, arms?.broker?.ping?.busyMs.p99),
				5,
				'×',
			)
		},
	},
	{
		scenario: 'memory',
		target: '≤ 2 KiB per held token beside the token itself',
		measure(find) {
			const memory = find('memory', any)?.broker?.memory
			return memory && atMost(memory.bytesPerEntryBesideToken, 2_048, 'bytes')
		},
	},
	{
		scenario: 'memory',
		target: 'RSS flat beyond the bound: its last quarter ≤ 1.05 × its second',
		measure: (find) => atMost(rssGrowth(find('memory', any)?.broker), 1.05, '×'),
	},
	{
		scenario: 'start',
		target: 'createTokenBroker ready in < 300 ms',
		measure: (find) => atMost(find('start', any)?.broker?.start?.readyMs, 300, 'ms'),
	},
	{
		scenario: 'start',
		target: 'first token < 50 ms after',
		measure: (find) => atMost(find('start', any)?.broker?.start?.firstTokenMs, 50, 'ms'),
	},
]

/** Of the time after the bound; before its second quarter the threads' own heaps still find their size. */
function rssGrowth(arm: ArmResult | undefined): number | undefined {
	const values = arm?.memory?.rss.slice(1).map(({ mebibytes }) => mebibytes)
	if (!values || values.length < 4) return undefined
	const quarter = values.length >> 2
	const mean = (part: readonly number[]) => part.reduce((sum, value) => sum + value, 0) / part.length
	return mean(values.slice(-quarter)) / mean(values.slice(quarter, 2 * quarter))
}

export function judge({ scenarios }: Pick<Results, 'scenarios'>): Verdict[] {
	const find: Find = (name, matches) => {
		const found = scenarios.find((one: CaseResult) => one.name === name && matches(one.params))
		return found && Object.fromEntries(found.arms.map((arm) => [arm.name, arm]))
	}
	return targets.map(({ scenario, target, measure }) => {
		const measured = measure(find)
		if (!measured) return { scenario, target, measured: '', met: 'not measured' }
		const { value, unit, limit, stretch, better } = measured
		const reaches = (bound: number) => (better === 'less' ? value <= bound : value >= bound)
		return {
			scenario,
			target,
			measured: `${number(value)} ${unit}`,
			met: !reaches(limit)
				? 'no'
				: stretch !== undefined && reaches(stretch)
					? 'yes, and the stretch'
					: 'yes',
		}
	})
}
