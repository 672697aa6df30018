import type { Case, Params, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'a valid token is held',
	cases({ quick }) {
		const common: Params = {
			operation: 'hit',
			sessions: 1_000,
			inFlight: 128,
			schedule: 'turns',
			milliseconds: quick ? 300 : 1_500,
			rounds: quick ? 1 : 5,
			// A certificate would make a client per request sign an assertion for every hit.
			credential: 'secret',
			providerLatencyMs: 50,
			store: 'memory',
		}
		const none = { providerCallsPerOp: 0 }
		const many = quick ? 10_000 : 1_000_000
		const held = (more: Partial<Params>): Case => ({
			params: { ...common, ...more },
			arms: { noop: none, map: none, broker: none },
		})
		return [
			{
				params: { ...common, fixedRate: { arrivalsPerSecond: 1_000, milliseconds: quick ? 500 : 4_000 } },
				arms: {
					noop: none,
					map: none,
					'msal-per-request': none,
					'msal-shared': {
						...none,
						// At 1,000 users one call takes more than a second.
						bounds: quick ? { sessions: 100, inFlight: 4 } : { inFlight: 1 },
					},
					broker: none,
				},
			},
			held({ sharedToken: true, sessions: many, hot: 1_000 }),
			held({ sharedToken: true, sessions: many }),
		]
	},
}
