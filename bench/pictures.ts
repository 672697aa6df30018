import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { CaseResult, Results } from './results.js'
import type { Params } from './scenario.js'
import { escapeText, number } from './text.js'

/** A plot as SVG that stands alone: on a ground of its own, so that it can be read on any page. */
export interface Picture {
	readonly name: string
	readonly title: string
	readonly svg: string
	/** Shown by the README, and kept with the sources. */
	readonly isCommitted: boolean
}

type Colours = Readonly<Record<string, string>>

/** An arm's colour is the same in all pictures (Okabe and Ito's, told apart by all eyes), and so is its place. */
const armColours: Colours = {
	broker: '#0072b2',
	map: '#009e73',
	noop: '#8a8a8a',
	plain: '#8a8a8a',
	'msal-per-request': '#d55e00',
	'msal-shared': '#b0508e',
}

const [width, innerHeight, headHeight] = [760, 360, 92]
const { document } = parseHTML('<!doctype html><html></html>')

/** Draws what a run has measured; of what it has not, nothing. */
export function drawPictures(results: Results): Picture[] {
	const of = (name: string) => results.scenarios.filter((one) => one.name === name)
	const storms = results.scenarios.filter((one) => one.arms.some((arm) => arm.fixedRate))
	const hits = of('users').filter((one) => one.params.operation === 'hit')
	const refreshes = of('users').filter((one) => one.params.operation === 'refresh')
	const shown = storms.find((one) => one.name === 'refresh-storm')
	return [
		drawThroughput(results),
		...storms.flatMap((one) => {
			const label = one === shown ? '' : `-${one.name}-${one.params.rsaBits ?? ''}-${one.params.store}`
			return [drawDelayOverTime(one, label), drawDelayDistribution(one, label)]
		}),
		drawCost('cost-by-users', 'What a hit costs the main thread, by users', hits, usersAxis),
		drawCost('cost-by-users-refresh', 'What a refresh costs the main thread, by users', refreshes, usersAxis),
		drawCost('cost-by-resources', 'What a refresh costs the main thread, by resources', of('large-blob'), {
			label: 'resources that a session has tokens of',
			read: (params) => params.resources ?? 1,
		}),
		drawPings(of('http').find((one) => one.params.http?.load === 'ping')),
		drawProcesses(of('processes')),
		drawMemory(of('memory')[0]),
	].filter((picture) => picture !== undefined)
}

const usersAxis = { label: 'users', read: (params: Params) => params.sessions }

export interface Content {
	readonly name: string
	readonly title: string
	readonly subtitle: string
	/** Names of arms. */
	readonly legend: readonly string[]
	readonly options: Plot.PlotOptions
	readonly isCommitted?: boolean
	/** By names in the legend. Default: the arms'. */
	readonly colours?: Colours
}

/** Operations per second of each scenario and arm, at a glance. */
function drawThroughput({ scenarios }: Results): Picture | undefined {
	const labels: readonly (readonly [string, (one: CaseResult) => boolean])[] = [
		['hit, 1,000 held', (one) => one.name === 'hit' && !one.params.sharedToken],
		['hit, many held', (one) => one.name === 'hit' && one.params.sharedToken === true && !one.params.hot],
		['cached in the store', (one) => one.name === 'cached'],
		['refresh, RSA 2048', (one) => one.name === 'refresh-storm' && one.params.rsaBits === 2048],
		['refresh, RSA 4096', (one) => one.name === 'refresh-storm' && one.params.rsaBits === 4096],
		['sign-in', (one) => one.name === 'login-storm'],
		['HTTP request', (one) => one.name === 'http' && one.params.http?.load === 'throughput'],
	]
	const rows = labels.flatMap(([label, matches]) =>
		(scenarios.find(matches)?.arms ?? [])
			.filter(({ name }) => name !== 'noop')
			.toSorted((one, other) => placeOf(one.name) - placeOf(other.name))
			.map(({ name, opsPerSecond, spread }, at) => ({
				label,
				at,
				arm: name,
				value: opsPerSecond,
				least: spread.opsPerSecond[0],
				most: spread.opsPerSecond[1],
			})),
	)
	if (rows.length === 0) return undefined
	const shown = labels.map(([label]) => label).filter((label) => rows.some((row) => row.label === label))
	return draw({
		name: 'throughput',
		title: 'Operations per second',
		subtitle:
			'As fast as it goes, 128 in flight; medians of the rounds, and their range. Further right is better.',
		legend: armsOf(rows),
		isCommitted: true,
		options: {
			height: 60 + 84 * shown.length,
			marginLeft: 150,
			marginRight: 90,
			fy: { domain: shown, label: null, padding: 0.15 },
			y: { axis: null, domain: [-0.7, Math.max(...rows.map(({ at }) => at)) + 0.7], reverse: true },
			x: logAxis(
				'operations per second',
				rows.flatMap(({ least, most }) => [least, most]),
			),
			facet: { data: rows, y: 'label' },
			marks: [
				Plot.axisFy({ anchor: 'left', label: null, fontSize: 13 }),
				Plot.gridX({
					ticks: logTicks(rows.map(({ value }) => value)),
					stroke: '#e6e6e6',
					strokeOpacity: 1,
				}),
				Plot.frame({ anchor: 'bottom', stroke: '#d0d7de' }),
				Plot.ruleY(rows, {
					y: 'at',
					x1: 'least',
					x2: 'most',
					stroke: 'arm',
					strokeWidth: 4,
					strokeOpacity: 0.4,
				}),
				Plot.dot(rows, { y: 'at', x: 'value', fill: 'arm', r: 5 }),
				Plot.text(rows, {
					y: 'at',
					x: 'most',
					text: (row) => number(row.value),
					dx: 10,
					textAnchor: 'start',
				}),
			],
		},
	})
}

/** The longest delay in each window of the pass at a fixed rate. */
function drawDelayOverTime(one: CaseResult, label: string): Picture | undefined {
	const rows = one.arms.flatMap(({ name, fixedRate }) =>
		(fixedRate?.delaySeries ?? []).map(([endMs, delay]) => ({
			arm: name,
			seconds: endMs / 1000,
			delay: Math.max(1, delay),
		})),
	)
	if (rows.length === 0) return undefined
	return draw({
		name: `event-loop-delay${label}`,
		title: `Event-loop delay, over time: ${one.name}${bitsOf(one)}, ${rateOf(one)}/s`,
		subtitle:
			'The longest delay in each tenth of a second: for so long, everything else in the process waits.',
		legend: armsOf(rows),
		isCommitted: label === '',
		options: {
			x: { label: 'seconds →' },
			y: {
				...logAxis('', [1, ...rows.map(({ delay }) => delay)]),
				label: '↑ delay, milliseconds (log)',
				domain: [1, Math.max(2, ...rows.map(({ delay }) => delay))],
				insetBottom: 8,
				grid: true,
			},
			marks: [Plot.lineY(rows, { x: 'seconds', y: 'delay', stroke: 'arm', strokeWidth: 1.6 })],
		},
	})
}

/** The same as percentiles, spread out towards the rare ones. */
function drawDelayDistribution(one: CaseResult, label: string): Picture | undefined {
	const nines = (percent: number) => -Math.log10(1 - percent / 100)
	const rows = one.arms.flatMap(({ name, fixedRate }) =>
		(fixedRate?.delayPercentiles ?? [])
			.filter(([percent]) => percent < 100)
			.map(([percent, delay]) => ({ arm: name, nines: nines(percent), delay: Math.max(1, delay) })),
	)
	if (rows.length === 0) return undefined
	const ticks = [0, 50, 90, 99, 99.9]
	return draw({
		name: `event-loop-delay-distribution${label}`,
		title: `Event-loop delay, distribution: ${one.name}${bitsOf(one)}, ${rateOf(one)}/s`,
		subtitle: 'So many per cent of the delays were this long or shorter. Lower is better.',
		legend: armsOf(rows),
		isCommitted: label === '',
		options: {
			x: {
				label: 'percentile →',
				ticks: ticks.map(nines),
				tickFormat: (value: number) => `${ticks.find((tick) => nines(tick) === value)} %`,
			},
			y: {
				...logAxis('', [1, ...rows.map(({ delay }) => delay)]),
				label: '↑ delay, milliseconds (log)',
				domain: [1, Math.max(2, ...rows.map(({ delay }) => delay))],
				insetBottom: 8,
				grid: true,
			},
			marks: [
				Plot.lineY(rows, { x: 'nines', y: 'delay', stroke: 'arm', strokeWidth: 2, curve: 'monotone-x' }),
				Plot.dot(rows, { x: 'nines', y: 'delay', fill: 'arm', r: 2.5 }),
			],
		},
	})
}

/** Main-thread time of an operation against something that grows. */
function drawCost(
	name: string,
	title: string,
	cases: readonly CaseResult[],
	axis: { readonly label: string; readonly read: (params: Params) => number },
): Picture | undefined {
	const rows = cases.flatMap(({ params, arms }) =>
		arms.map((arm) => ({
			arm: arm.name,
			size: axis.read({ ...params, ...arm.bounds }),
			micros: arm.mainThreadMicrosPerOp,
		})),
	)
	const sizes = [...new Set(rows.map(({ size }) => size))]
	if (sizes.length < 2) return undefined
	return draw({
		name,
		title,
		subtitle: 'Microseconds of the event loop’s time per operation. Lower is better.',
		legend: armsOf(rows),
		isCommitted: name !== 'cost-by-users-refresh',
		options: {
			marginLeft: 84,
			x: {
				type: 'log',
				label: `${axis.label} (log) →`,
				ticks: sizes,
				insetLeft: 24,
				insetRight: 24,
				tickFormat: (value: number) => value.toLocaleString('en-US'),
			},
			y: {
				...logAxis(
					'',
					rows.map(({ micros }) => micros),
				),
				label: '↑ main thread, µs per operation (log)',
				insetTop: 22,
				insetBottom: 22,
				grid: true,
			},
			marks: [
				Plot.lineY(rows, { x: 'size', y: 'micros', stroke: 'arm', strokeWidth: 2 }),
				Plot.dot(rows, { x: 'size', y: 'micros', fill: 'arm', r: 4 }),
				// Below, what is below: two labels at one dot could not be read.
				...[
					{ isBelow: false, dy: -11 },
					{ isBelow: true, dy: 13 },
				].map(({ isBelow, dy }) =>
					Plot.text(
						rows.filter(({ arm }) => (arm === 'map' || arm === 'noop') === isBelow),
						{ x: 'size', y: 'micros', text: (row) => number(row.micros), dy, fill: 'arm' },
					),
				),
			],
		},
	})
}

/** What a user of an unrelated route feels. */
function drawPings(one: CaseResult | undefined): Picture | undefined {
	if (!one) return undefined
	const rows = one.arms.flatMap(({ name, ping }) =>
		ping ? [{ arm: name, idle: ping.idleMs.p99, busy: ping.busyMs.p99 }] : [],
	)
	if (rows.length === 0) return undefined
	return draw({
		name: 'ping',
		title: `What others feel: /ping while ${one.params.http?.refreshesPerSecond} tokens per second are refreshed`,
		subtitle: 'Latency p99 of a route that needs no token: ring when idle, dot during the refreshes.',
		legend: armsOf(rows),
		isCommitted: true,
		options: {
			height: 70 + 56 * rows.length,
			marginLeft: 140,
			marginRight: 90,
			x: {
				...logAxis(
					'latency p99, milliseconds',
					rows.flatMap(({ idle, busy }) => [idle, busy]),
				),
				grid: true,
			},
			y: { label: null, domain: rows.map(({ arm }) => arm) },
			marks: [
				Plot.link(rows, {
					y: 'arm',
					x1: 'idle',
					x2: 'busy',
					stroke: 'arm',
					strokeWidth: 2,
					strokeOpacity: 0.5,
				}),
				Plot.dot(rows, { y: 'arm', x: 'idle', stroke: 'arm', fill: 'white', strokeWidth: 2, r: 6 }),
				Plot.dot(rows, { y: 'arm', x: 'busy', fill: 'arm', r: 6 }),
				Plot.text(rows, {
					y: 'arm',
					x: 'busy',
					text: (row) => `${number(row.busy)} ms`,
					dx: 11,
					textAnchor: 'start',
					fill: '#333',
				}),
			],
		},
	})
}

/** How far more processes bring it, and that they do not refresh twice. */
function drawProcesses(cases: readonly CaseResult[]): Picture | undefined {
	const rows = cases.flatMap(({ params, arms }) =>
		arms.map((arm) => ({
			arm: arm.name,
			label: `${params.processes?.count} × ${params.processes?.ask === 'all' ? 'all' : 'part'}`,
			calls: arm.providerCallsPerOp * (params.processes?.ask === 'all' ? (params.processes.count ?? 1) : 1),
		})),
	)
	if (rows.length === 0) return undefined
	return draw({
		name: 'processes',
		title: 'Sessions that expire once, and several processes on one Redis',
		subtitle: 'Calls to the provider per session. One is what is due.',
		legend: armsOf(rows),
		options: {
			marginBottom: 46,
			fx: {
				label: 'processes × the sessions that each asks for: all, or its part',
				domain: [...new Set(rows.map(({ label }) => label))],
			},
			x: { axis: null },
			y: { label: '↑ provider calls per session', grid: true },
			marks: [
				Plot.barY(rows, { fx: 'label', x: 'arm', y: 'calls', fill: 'arm' }),
				Plot.text(rows, {
					fx: 'label',
					x: 'arm',
					y: 'calls',
					text: (row) => number(row.calls),
					dy: -8,
					fill: '#333',
				}),
				Plot.ruleY([0]),
			],
		},
	})
}

/** Resident memory, as sessions come and go. */
function drawMemory(one: CaseResult | undefined): Picture | undefined {
	const memory = one?.arms[0]?.memory
	if (!memory) return undefined
	return draw({
		name: 'memory',
		title: 'Resident memory while sessions come and go',
		subtitle: `${memory.bound.toLocaleString('en-US')} tokens are held at most; garbage is collected before each look.`,
		legend: ['broker'],
		options: {
			x: { label: 'sessions so far →', tickFormat: (value: number) => value.toLocaleString('en-US') },
			y: { label: '↑ resident memory, MiB', grid: true, zero: true, nice: true },
			marks: [
				Plot.lineY(memory.rss, {
					x: 'sessions',
					y: 'mebibytes',
					stroke: armColours.broker ?? null,
					strokeWidth: 2,
				}),
				Plot.dot(memory.rss, { x: 'sessions', y: 'mebibytes', fill: armColours.broker ?? null, r: 3 }),
			],
		},
	})
}

/** 1, 2, 5, 10 and so on, or only powers of ten where they span much: what stands beside the values. */
function logTicks(values: readonly number[]): number[] {
	const [low, high] = [Math.min(...values), Math.max(...values)]
	const decades = Math.log10(high / low)
	const steps = decades > 3.5 ? [1] : decades > 2 ? [1, 3] : [1, 2, 5]
	const first = Math.floor(Math.log10(low))
	const count = Math.ceil(Math.log10(high)) - first + 1
	return Array.from({ length: count }, (_, at) => steps.map((step) => step * 10 ** (first + at)))
		.flat()
		.filter((tick) => tick >= low * 0.99 && tick <= high * 1.01)
}

function logAxis(label: string, values: readonly number[]): Plot.ScaleOptions {
	return { type: 'log', label: `${label} (log) →`, ticks: logTicks(values), tickFormat: number }
}

const placeOf = (arm: string) => Object.keys(armColours).indexOf(arm)

const bitsOf = ({ params }: CaseResult) =>
	params.credential === 'certificate' ? `, RSA ${params.rsaBits}, store: ${params.store}` : ''
const rateOf = ({ params }: CaseResult) => params.fixedRate?.arrivalsPerSecond

function armsOf(rows: readonly { readonly arm: string }[]): string[] {
	return Object.keys(armColours).filter((name) => rows.some(({ arm }) => arm === name))
}

/** Title, what the colours mean, and the plot, as one picture. */
export function draw(content: Content): Picture {
	const { name, title, subtitle, legend, options, isCommitted = false, colours = armColours } = content
	const plot = Plot.plot({
		document: document as never,
		width: width - 16,
		height: innerHeight,
		marginLeft: 64,
		marginRight: 28,
		marginBottom: 44,
		style: { fontSize: '13px', color: '#1f2328', background: 'none' } as never,
		color: { domain: Object.keys(colours), range: Object.values(colours) },
		...options,
	})
	let [x, below] = [20, 0]
	const keys = legend.map((arm) => {
		const wide = 40 + 7.4 * arm.length
		if (x + wide > width) [x, below] = [20, below + 22]
		const key = `<circle cx="${x + 6}" cy="${68 + below}" r="6" fill="${colours[arm]}"/><text x="${x + 18}" y="${72.5 + below}" font-size="13">${escapeText(arm)}</text>`
		x += wide
		return key
	})
	const height = headHeight + below + (options.height ?? innerHeight)
	plot.setAttribute('x', '4')
	plot.setAttribute('y', String(headHeight - 8 + below))
	const svg = [
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${name}-title ${name}-text" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" fill="#1f2328">`,
		`<title id="${name}-title">${escapeText(title)}</title><desc id="${name}-text">${escapeText(subtitle)}</desc>`,
		`<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="#ffffff" stroke="#d0d7de"/>`,
		`<text x="20" y="27" font-size="16" font-weight="600">${escapeText(title)}</text>`,
		`<text x="20" y="47" font-size="13" fill="#57606a">${escapeText(subtitle)}</text>`,
		...keys,
		plot.outerHTML,
		'</svg>',
	].join('\n')
	return { name, title, svg, isCommitted }
}
