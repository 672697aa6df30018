import type { AppCalls } from '../app-main.js'
import type { LoadCalls } from '../load-main.js'
import { type RunningProcess, startProcess } from '../process.js'
import { type ArmResult, bringTogether, type Quantiles, type Round } from '../results.js'
import type { Expectation, Params } from '../scenario.js'
import { type Bench, countingCalls, type Run, withCredential } from './run.js'

interface RunningApp {
	readonly name: string
	readonly expectation: Expectation
	readonly app: RunningProcess<AppCalls>
	readonly load: RunningProcess<LoadCalls>
	readonly rounds: Round[]
}

/** Koa applications, each with a load generator of its own. */
export const run: Run = async ({ params, arms }, bench): Promise<ArmResult[]> => {
	const world = await withCredential(bench.world, params)
	const running: RunningApp[] = Object.entries(arms).map(([name, expectation]) => ({
		name,
		expectation,
		app: startProcess<AppCalls>('./app-main.js', { NODE_EXTRA_CA_CERTS: world.caFile }),
		load: startProcess<LoadCalls>('./load-main.js'),
		rounds: [],
	}))
	try {
		await bench.provider.ask('reset', { latencyMs: params.providerLatencyMs })
		bench.progress('signing in')
		await Promise.all(
			running.map(async ({ name, app, load }) => {
				const started = await app.ask('start', { name, params, world })
				const people = params.sessions
				await load.ask('signIn', { ...started, people, connections: params.inFlight, world })
			}),
		)
		for (const one of running) {
			bench.progress(`${one.name}, warm-up`)
			await measure(one, { ...params, milliseconds: (params.milliseconds ?? 0) / 4 }, bench)
		}
		for (let round = 1; round <= params.rounds; round++)
			for (const one of running) {
				bench.progress(`${one.name}, round ${round} of ${params.rounds}`)
				one.rounds.push(await measure(one, params, bench))
			}
		return running.map(({ name, rounds }) => bringTogether(name, rounds))
	} finally {
		await Promise.all(running.flatMap(({ app, load }) => [load.stop(), app.stop()]))
	}
}

async function measure(one: RunningApp, params: Params, bench: Bench): Promise<Round> {
	const { name, app, load, expectation } = one
	const { inFlight, milliseconds = 0, http } = params
	const ping = (refreshesPerSecond: number) =>
		load.ask('ping', { pingsPerSecond: http?.pingsPerSecond ?? 0, refreshesPerSecond, milliseconds })
	let idleMs: Quantiles | undefined
	if (http?.load === 'ping') idleMs = (await ping(0)).pingMs
	await app.ask('begin', undefined)
	const counted = await countingCalls(
		bench,
		params,
		{ ...expectation, who: name },
		async () =>
			http?.load === 'ping'
				? ping(http.refreshesPerSecond ?? 0)
				: { ...(await load.ask('throughput', { inFlight, milliseconds })), joined: 0, pingMs: undefined },
		({ operations, joined }) => operations - joined,
	)
	const { reading, rssMiB, storeCalls } = await app.ask('end', undefined)
	const { operations, latencyMs, loadBusy, pingMs } = counted.result
	const { mainThreadCpuMicros } = reading
	return {
		operations,
		opsPerSecond: (operations / reading.milliseconds) * 1000,
		mainThreadMicrosPerOp: (reading.activeMs * 1000) / operations,
		...(mainThreadCpuMicros !== undefined && { mainThreadCpuMicrosPerOp: mainThreadCpuMicros / operations }),
		cpuMicrosPerOp: reading.cpuMicros / operations,
		eventLoopDelayMs: reading.delay,
		latencyMs,
		rssMiB,
		storeCallsPerOp: storeCalls / operations,
		providerCallsPerOp: counted.callsPerOp,
		providerBusy: counted.busy,
		loadBusy,
		...(idleMs && pingMs && { ping: { idleMs, busyMs: pingMs } }),
	}
}
