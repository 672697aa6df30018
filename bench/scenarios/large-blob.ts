import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'a session has tokens of many resources, and one of them has expired',
	cases: ({ quick, available: { redis } }) =>
		(quick ? [1, 100] : [1, 20, 100]).map((resources) => {
			const operations = quick ? (resources === 100 ? 50 : 120) : 1_000
			return {
				params: {
					operation: 'refresh',
					sessions: operations,
					resources,
					inFlight: 32,
					schedule: 'lanes',
					operations,
					rounds: quick ? 1 : 3,
					credential: 'certificate',
					rsaBits: 2048,
					providerLatencyMs: 50,
					store: redis ? 'redis' : 'memory',
				},
				arms: {
					noop: { providerCallsPerOp: 0 },
					'msal-per-request': { providerCallsPerOp: 1 },
					broker: { providerCallsPerOp: 1 },
				},
			}
		}),
}
