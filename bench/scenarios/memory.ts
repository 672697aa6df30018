import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'sessions come and go, and no more tokens are held than the bound',
	run: 'memory',
	cases: ({ quick }) => [
		{
			params: {
				operation: 'cached',
				sessions: quick ? 1_000 : 10_000,
				beyond: quick ? 2_500 : 100_000,
				inFlight: 100,
				schedule: 'lanes',
				rounds: 1,
				credential: 'secret',
				providerLatencyMs: 0,
				store: 'memory',
			},
			arms: { broker: { providerCallsPerOp: 0 } },
		},
	],
}
