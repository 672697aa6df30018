import type { Case, Params, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'the tokens of all sessions have expired',
	cases({ quick, available: { redis } }) {
		const best = redis ? 'redis' : 'memory'
		const one = (
			rsaBits: number,
			store: Params['store'],
			operations: number,
			rounds = quick ? 1 : 5,
		): Case => {
			const fixedRate = { arrivalsPerSecond: 300, milliseconds: quick ? 500 : 4_000 }
			return {
				params: {
					operation: 'refresh',
					sessions: Math.max(operations, (fixedRate.arrivalsPerSecond * fixedRate.milliseconds) / 1000),
					inFlight: 128,
					schedule: 'lanes',
					operations,
					rounds,
					fixedRate,
					credential: 'certificate',
					rsaBits,
					providerLatencyMs: 50,
					store,
				},
				arms: {
					noop: { providerCallsPerOp: 0 },
					'msal-per-request': { providerCallsPerOp: 1 },
					// Each call looks at everybody's entries, whatever the key.
					...((rsaBits === 2048 || !quick) && {
						'msal-shared': { providerCallsPerOp: 1, bounds: { sessions: 100, operations: quick ? 20 : 100 } },
					}),
					broker: { providerCallsPerOp: 1 },
				},
			}
		}
		const cases = [one(2048, best, quick ? 250 : 3_000), one(4096, best, quick ? 80 : 1_000)]
		return quick || !redis ? cases : [...cases, one(2048, 'memory', 2_000, 3)]
	},
}
