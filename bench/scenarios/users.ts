import type { Case, Expectation, Params, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'more and more sessions, of which any may be asked for',
	cases({ quick, available: { redis } }) {
		const sizes = quick ? [100, 10_000] : [100, 1_000, 10_000, 100_000]
		const common = { inFlight: 128, providerLatencyMs: 50, rounds: quick ? 1 : 3 } as const
		const none: Expectation = { providerCallsPerOp: 0 }
		const hits = (sessions: number): Case => {
			const params: Params = {
				...common,
				operation: 'hit',
				sessions,
				sharedToken: true,
				schedule: 'turns',
				milliseconds: quick ? 250 : 1_000,
				credential: 'secret',
				store: 'memory',
			}
			// Its cost grows with the square of its users: at 1,000 one call takes more than a second.
			const shared = sessions <= (quick ? 100 : 1_000)
			return {
				params,
				arms: {
					map: none,
					...(sessions <= 100_000 && { 'msal-per-request': none }),
					...(shared && {
						'msal-shared': { ...none, bounds: { sharedToken: false, inFlight: sessions > 100 ? 1 : 4 } },
					}),
					broker: none,
				},
			}
		}
		const refreshes = (sessions: number): Case => {
			const params: Params = {
				...common,
				operation: 'refresh',
				sessions,
				schedule: 'lanes',
				operations: Math.min(sessions, 2_000),
				credential: 'certificate',
				rsaBits: 2048,
				store: redis ? 'redis' : 'memory',
			}
			const once: Expectation = { providerCallsPerOp: 1 }
			return { params, arms: { 'msal-per-request': once, broker: once } }
		}
		return quick ? sizes.map(hits) : [...sizes.map(hits), hits(1_000_000), ...sizes.map(refreshes)]
	},
}
