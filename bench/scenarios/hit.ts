import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'a valid token is held',
	cases: ({ quick }) => [
		{
			params: {
				sessions: 1_000,
				tokens: 'valid',
				inFlight: 128,
				schedule: 'turns',
				milliseconds: quick ? 1_000 : 2_000,
				rounds: quick ? 1 : 5,
				// A certificate would make a client per request sign an assertion for every hit.
				credential: 'secret',
				providerLatencyMs: 50,
				store: 'memory',
			},
			arms: {
				noop: { providerCallsPerOp: 0 },
				map: { providerCallsPerOp: 0 },
				'msal-per-request': { providerCallsPerOp: 0 },
				broker: { providerCallsPerOp: 0 },
			},
		},
	],
}
