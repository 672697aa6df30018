import type { Params, Scenario } from '../scenario.js'

export const scenario: Scenario = {
	summary: 'Koa applications with sessions in Redis, under HTTP requests',
	run: 'http',
	cases({ quick, available: { redis } }) {
		if (!redis) return []
		const common = {
			sessions: quick ? 100 : 500,
			inFlight: 128,
			schedule: 'lanes',
			rounds: quick ? 1 : 5,
			providerLatencyMs: 50,
			store: 'redis',
		} as const
		const throughput: Params = {
			...common,
			operation: 'hit',
			milliseconds: quick ? 700 : 3_000,
			credential: 'secret',
			http: { load: 'throughput' },
		}
		const ping: Params = {
			...common,
			operation: 'refresh',
			milliseconds: quick ? 700 : 3_000,
			credential: 'certificate',
			rsaBits: 2048,
			http: { load: 'ping', pingsPerSecond: 200, refreshesPerSecond: 300 },
		}
		const [none, once] = [{ providerCallsPerOp: 0 }, { providerCallsPerOp: 1 }]
		return [
			{ params: throughput, arms: { plain: none, 'msal-per-request': none, broker: none } },
			{ params: ping, arms: { plain: none, 'msal-per-request': once, broker: once } },
		]
	},
}
