import type { AppCalls } from '../app-main.js'
import type { LoadCalls } from '../load-main.js'
import { toMeasurement } from '../measure.js'
import { type RunningProcess, startProcess } from '../process.js'
import { type ArmResult, bringTogether, type Round } from '../results.js'
import type { Delay, Expectation, Params } from '../scenario.js'
import { type Bench, countingCalls, type Run, watchedRounds, withCredential } from './run.js'

interface RunningApp {
	readonly name: string
	readonly expectation: Expectation
	readonly app: RunningProcess<AppCalls>
	readonly load: RunningProcess<LoadCalls>
	readonly rounds: Round[]
	readonly delays: Delay[]
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
		delays: [],
	}))
	try {
		await bench.provider.ask('reset', { latencyMs: params.providerLatencyMs })
		bench.progress('signing in')
		await Promise.all(
			running.map(async ({ name, app, load: generator }) => {
				const started = await app.ask('start', { name, params, world })
				const people = params.sessions
				await generator.ask('signIn', { ...started, people, connections: params.inFlight, world })
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
		for (let round = 1; round <= watchedRounds(params); round++)
			for (const one of running) {
				bench.progress(`${one.name}, the event loop watched, round ${round} of ${watchedRounds(params)}`)
				await one.app.ask('watch', undefined)
				await load(one, params, bench)
				one.delays.push(await one.app.ask('endWatch', undefined))
			}
		return running.map(({ name, rounds, delays }) => bringTogether(name, rounds, delays))
	} finally {
		await Promise.all(running.flatMap(({ app, load }) => [load.stop(), app.stop()]))
	}
}

async function measure(one: RunningApp, params: Params, bench: Bench): Promise<Round> {
	const { app } = one
	const idleMs = params.http?.load === 'ping' ? (await ping(one, params, 0)).pingMs : undefined
	await app.ask('begin', undefined)
	const { result, callsPerOp, busy } = await load(one, params, bench)
	const { reading, rssMiB, storeCalls } = await app.ask('end', undefined)
	const { operations, latencyMs, loadBusy, pingMs } = result
	return {
		...toMeasurement(reading, { operations, latencyMs, storeCalls, rssMiB }),
		providerCallsPerOp: callsPerOp,
		providerBusy: busy,
		loadBusy,
		...(idleMs && pingMs && { ping: { idleMs, busyMs: pingMs } }),
	}
}

function load(one: RunningApp, params: Params, bench: Bench) {
	const { inFlight, milliseconds = 0, http } = params
	return countingCalls(
		bench,
		params,
		{ ...one.expectation, who: one.name },
		async () =>
			http?.load === 'ping'
				? ping(one, params, http.refreshesPerSecond ?? 0)
				: {
						...(await one.load.ask('throughput', { inFlight, milliseconds })),
						joined: 0,
						pingMs: undefined,
					},
		({ operations, joined }) => operations - joined,
	)
}

function ping({ load }: RunningApp, { http, milliseconds = 0 }: Params, refreshesPerSecond: number) {
	return load.ask('ping', { pingsPerSecond: http?.pingsPerSecond ?? 0, refreshesPerSecond, milliseconds })
}
