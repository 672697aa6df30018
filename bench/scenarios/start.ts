import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'a process starts, and refreshes its first token at a provider that answers at once',
	run: 'start',
	cases: ({ quick, available: { redis } }) => [
		{
			params: {
				operation: 'refresh',
				sessions: 1,
				inFlight: 1,
				schedule: 'lanes',
				operations: 1,
				rounds: quick ? 1 : 10,
				credential: 'certificate',
				rsaBits: 2048,
				providerLatencyMs: 0,
				store: redis ? 'redis' : 'memory',
			},
			arms: { broker: { providerCallsPerOp: 1 } },
		},
	],
}
