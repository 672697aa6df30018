import { setTimeout as sleep } from 'node:timers/promises'
import type { CreateArm } from '../scenario.js'

/** The same schedule and the same waiting for the provider, no token: what measuring itself costs. */
export const createArm: CreateArm = async ({ operation, providerLatencyMs }) => ({
	prepare: async () => {},
	start:
		operation === 'refresh' || operation === 'login' ? () => sleep(providerLatencyMs) : async () => undefined,
	check: () => {},
})
