import type { Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'the tokens of all sessions have expired',
	cases({ quick }) {
		const operations = quick ? 1_000 : 3_000
		return [
			{
				params: {
					sessions: operations,
					tokens: 'expired',
					inFlight: 128,
					schedule: 'lanes',
					operations,
					rounds: quick ? 1 : 5,
					credential: 'certificate',
					rsaBits: 2048,
					providerLatencyMs: 50,
					store: 'memory',
				},
				arms: {
					noop: { providerCallsPerOp: 0 },
					'msal-per-request': { providerCallsPerOp: 1 },
					broker: { providerCallsPerOp: 1 },
				},
			},
		]
	},
}
