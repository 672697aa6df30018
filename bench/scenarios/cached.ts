import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'a valid token is in the store, and none is held in memory',
	cases: ({ quick, available: { redis } }) => [
		{
			params: {
				operation: 'cached',
				sessions: quick ? 700 : 10_000,
				inFlight: 128,
				schedule: 'lanes',
				operations: quick ? 700 : 10_000,
				rounds: quick ? 1 : 5,
				fixedRate: { arrivalsPerSecond: 1_000, milliseconds: quick ? 500 : 4_000 },
				// A certificate would make a client per request sign an assertion for every one of them.
				credential: 'secret',
				providerLatencyMs: 50,
				store: redis ? 'redis' : 'memory',
			},
			arms: {
				noop: { providerCallsPerOp: 0 },
				'msal-per-request': { providerCallsPerOp: 0 },
				broker: { providerCallsPerOp: 0 },
			},
		},
	],
}
