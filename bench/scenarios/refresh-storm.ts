import type { Params, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'the tokens of all sessions have expired',
	cases({ quick, available: { redis } }) {
		const operations = quick ? 1_000 : 3_000
		const best = redis ? 'redis' : 'memory'
		const stores: readonly Params['store'][] = quick ? [best] : redis ? ['redis', 'memory'] : ['memory']
		return stores.map((store) => ({
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
				store,
			},
			arms: {
				noop: { providerCallsPerOp: 0 },
				'msal-per-request': { providerCallsPerOp: 1 },
				broker: { providerCallsPerOp: 1 },
			},
		}))
	},
}
