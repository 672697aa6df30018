import { measureFixedRate, measureRound, watchRound } from './measure.js'
import { answerCalls } from './process.js'
import type { Arm, CreateArm, Params, World } from './scenario.js'
import { schedules } from './schedule.js'

/** One arm in a process of its own, so that no arm warms, fills or empties another's heap. */
let arm: Arm<unknown>
let params: Params

/** The part of a round that warms up. */
const warmUpShare = 0.25

const calls = {
	async start(given: { name: string; params: Params; world: World }) {
		const { createArm } = (await import(`./arms/${given.name}.js`)) as { createArm: CreateArm }
		params = given.params
		arm = await createArm(params, given.world)
		await arm.prepare()
	},
	warmUp: () => schedules[params.schedule](arm, params, warmUpShare).then(() => {}),
	prepare: () => arm.prepare(),
	round: () => measureRound(arm, params),
	watchedRound: () => watchRound(arm, params),
	fixedRate: () => measureFixedRate(arm, params),
}

export type ArmCalls = typeof calls

answerCalls(calls, () => arm?.close?.())
