import { setTimeout as sleep } from 'node:timers/promises'
import type { CreateArm } from '../scenario.js'

/** The same schedule and the same waiting, no token: what measuring itself costs. */
export const createArm: CreateArm = async ({ tokens, providerLatencyMs }) => ({
	prepare: async () => {},
	start: tokens === 'expired' ? () => sleep(providerLatencyMs) : async () => undefined,
	check: () => {},
})
