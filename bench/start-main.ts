import { performance } from 'node:perf_hooks'
import { toMeasurement } from './measure.js'
import { startMeter, watchDelay } from './meter.js'
import { answerCalls } from './process.js'
import type { Round } from './results.js'
import type { Arm, CreateArm, Delay, Params, World } from './scenario.js'

/** The start of one arm, until its first token: the session is in the store, expired. */
let arm: Arm<unknown> | undefined

const calls = {
	async start(given: {
		name: string
		params: Params
		world: World
	}): Promise<{ round: Omit<Round, 'providerCallsPerOp'>; delay: Delay }> {
		const started = performance.now()
		const { createArm } = (await import(`./arms/${given.name}.js`)) as { createArm: CreateArm }
		const importMs = performance.now() - started
		const stopWatching = await watchDelay()
		const stop = await startMeter()
		const created = performance.now()
		arm = await createArm(given.params, given.world)
		const readyMs = performance.now() - created
		await arm.prepare()
		const asked = performance.now()
		const token = await arm.start(0)
		const firstTokenMs = performance.now() - asked
		arm.check(0, token)
		const round = {
			...toMeasurement(stop(), {
				operations: 1,
				latencyMs: { p50: firstTokenMs, p99: firstTokenMs },
				storeCalls: 0,
			}),
			start: { importMs, readyMs, firstTokenMs },
		}
		return { round, delay: (await stopWatching()).delay }
	},
}

export type StartCalls = typeof calls

answerCalls(calls, () => arm?.close?.())
