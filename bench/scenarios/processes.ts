import type { Case, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'several processes on one Redis refresh expired sessions',
	run: 'processes',
	cases({ quick, available: { redis } }) {
		if (!redis) return []
		const one = (count: number, ask: 'all' | 'part'): Case => {
			const sessions = quick ? 240 : 1_200
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
					'msal-per-request': { providerCallsPerOp: 1 },
					// However many ask for a session, it is refreshed once.
					broker: { providerCallsPerOp: ask === 'all' ? 1 / count : 1 },
				},
			}
		}
		const counts = quick ? [2, 4] : [2, 3, 4]
		return [one(1, 'part'), ...counts.flatMap((count) => [one(count, 'part'), one(count, 'all')])]
	},
}
