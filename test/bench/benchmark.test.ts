import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseHTML } from 'linkedom'
import { runBenchmark } from '../../bench/benchmark.js'
import { drawPictures } from '../../bench/pictures.js'
import { reportOf } from '../../bench/report.js'
import type { Params, Scenario } from '../../bench/scenario.js'
import { markdownOf } from '../../bench/tables.js'
import { judge } from '../../bench/targets.js'

const params: Params = {
	operation: 'refresh',
	sessions: 20,
	inFlight: 8,
	schedule: 'lanes',
	operations: 20,
	rounds: 2,
	fixedRate: { arrivalsPerSecond: 100, milliseconds: 200 },
	credential: 'secret',
	rsaBits: 2048,
	providerLatencyMs: 5,
	store: 'memory',
}

const scenarioOf = (arms: Scenario['cases']): Record<string, Scenario> => ({
	'refresh-storm': { summary: 'a few tokens have expired', cases: arms },
})

/** Arms are found by name beside the benchmark's own. */
const fixture = (name: string) => `../../test/bench/fixtures/${name}`

describe('the benchmark', { timeout: 120_000 }, () => {
	it('reports what its readers are promised', async () => {
		const results = await runBenchmark(
			scenarioOf(() => [
				{ params, arms: { noop: { providerCallsPerOp: 0 }, broker: { providerCallsPerOp: 1 } } },
			]),
			{ quick: true },
		)
		const { machine, versions, startedAt, scenarios } = JSON.parse(JSON.stringify(results))
		assert.ok(machine.cores > 0)
		assert.equal(versions.node, process.version)
		assert.ok(Math.abs(Date.parse(startedAt) - Date.now()) < 60_000)
		assert.deepEqual(
			scenarios.map((one: { name: string; params: Params }) => [one.name, one.params]),
			[['refresh-storm', params]],
		)
		const [noop, broker] = scenarios[0].arms
		assert.deepEqual([noop.name, noop.providerCallsPerOp], ['noop', 0])
		assert.deepEqual([broker.name, broker.providerCallsPerOp, broker.operations], ['broker', 1, 20])
		for (const arm of [noop, broker]) {
			for (const name of ['opsPerSecond', 'mainThreadMicrosPerOp', 'rssMiB']) assert.ok(arm[name] > 0, name)
			assert.equal(typeof arm.storeCallsPerOp, 'number')
			for (const delay of [arm.eventLoopDelayMs, arm.fixedRate.eventLoopDelayMs])
				assert.ok(delay.p50 <= delay.p99 && delay.p99 <= delay.p999 && delay.p999 <= delay.max)
			for (const latency of [arm.latencyMs, arm.fixedRate.latencyMs])
				assert.ok(latency.p50 > 4 && latency.p50 <= latency.p99)
			assert.equal(arm.fixedRate.operations, 20)
			assert.ok(arm.fixedRate.delaySeries.length >= 2)
			assert.equal(arm.rounds.length, 2)
		}

		const verdicts = judge(results)
		const measured = verdicts.filter(({ met }) => met !== 'not measured')
		assert.ok(measured.length > 0 && measured.length < verdicts.length)
		assert.match(markdownOf(results), /^\| broker \|/m)
		assert.ok(drawPictures(results).some(({ name }) => name === 'event-loop-delay'))
		const { document } = parseHTML(reportOf(results))
		assert.ok(document.querySelectorAll('figure > svg').length >= 2)
		assert.equal(
			document.querySelectorAll('script, link, img, [src]').length,
			0,
			'the page needs nothing else',
		)
	})

	it('fails when an arm answers with somebody else’s token', async () => {
		const lying = scenarioOf(() => [
			{
				params: { ...params, operation: 'hit', schedule: 'turns' },
				arms: { [fixture('lying-arm')]: { providerCallsPerOp: 0 } },
			},
		])
		await assert.rejects(runBenchmark(lying, { quick: true }), ({ cause }: Error) => {
			assert.match(String(cause), /another session’s token/)
			return true
		})
	})

	it('fails when an arm does not ask the provider as often as its work takes', async () => {
		const idle = scenarioOf(() => [{ params, arms: { [fixture('idle-arm')]: { providerCallsPerOp: 1 } } }])
		await assert.rejects(runBenchmark(idle, { quick: true }), ({ cause }: Error) => {
			assert.match(String(cause), /the provider had 0 calls and refused 0; 20 were due/)
			return true
		})
	})
})
