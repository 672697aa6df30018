import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'people sign in: an address is made, and the code of the answer redeemed',
	cases: ({ quick, available: { redis } }) => [
		{
			params: {
				operation: 'login',
				sessions: 1_000,
				inFlight: 128,
				schedule: 'lanes',
				operations: quick ? 100 : 2_000,
				rounds: quick ? 1 : 5,
				fixedRate: { arrivalsPerSecond: 150, milliseconds: quick ? 700 : 4_000 },
				credential: 'certificate',
				rsaBits: 2048,
				providerLatencyMs: 50,
				store: redis ? 'redis' : 'memory',
			},
			arms: {
				noop: { providerCallsPerOp: 0 },
				'msal-per-request': { providerCallsPerOp: 1 },
				'msal-shared': { providerCallsPerOp: 1, bounds: { sessions: 100, operations: quick ? 20 : 100 } },
				broker: { providerCallsPerOp: 1 },
			},
		},
	],
}
