import type { Case, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'several processes on one Redis refresh expired sessions',
	run: 'processes',
	cases({ quick, available: { redis } }) {
		if (!redis) return []
		const one = (count: number, ask: 'all' | 'part'): Case => {
			// As many for each of 2, 3 or 4.
			const sessions = quick ? 156 : 804
			return {
				params: {
					operation: 'refresh',
					sessions,
					processes: { count, ask },
					inFlight: Math.floor(128 / count),
					schedule: 'lanes',
					operations: ask === 'all' ? sessions : sessions / count,
					rounds: quick ? 1 : 3,
					credential: 'certificate',
					rsaBits: 2048,
					providerLatencyMs: 50,
					store: 'redis',
				},
				arms: {
					...((!quick || count > 1) && {
						'msal-per-request': { providerCallsPerOp: 1, orFewer: ask === 'all' },
					}),
					// However many ask for a session, it is refreshed once.
					broker: { providerCallsPerOp: ask === 'all' ? 1 / count : 1 },
				},
			}
		}
		if (quick) return [one(1, 'part'), one(2, 'all')]
		return [one(1, 'part'), ...[2, 3, 4].flatMap((count) => [one(count, 'part'), one(count, 'all')])]
	},
}
