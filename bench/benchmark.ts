import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDevCertificates } from '../dev/certificates.js'
import { findProgram } from '../test/support/programs.js'
import { startRedis } from '../test/support/redis.js'
import { measureCapacity } from './capacity.js'
import { describeMachine, describeVersions } from './machine.js'
import { type RunningProcess, startProcess } from './process.js'
import { createProgress } from './progress.js'
import type { ProviderCalls } from './provider-main.js'
import type { CaseResult, Results } from './results.js'
import type { Run } from './runs/run.js'
import type { Case, Params, Scenario, World } from './scenario.js'
import { describe } from './text.js'

/** The project's folder, from dist/bench. */
const root = new URL('../../', import.meta.url)

const method =
	'Each arm runs in a process of its own; after a warm-up the arms take their rounds in turn. Values are medians ' +
	'of the rounds. Main-thread time is the active part of performance.eventLoopUtilization(). Event-loop delay is ' +
	'monitorEventLoopDelay with a resolution of 1 ms, which that millisecond is part of; it wakes the loop a thousand ' +
	'times a second, so it has rounds of its own. In a last pass operations begin at the same fixed rate in every ' +
	'arm, and latencies count from when they were due. Tokens are checked and the calls that reach the token endpoint ' +
	'counted; a mismatch ends the run. The provider is a canned https server in a process of its own, and so are ' +
	'Redis and whatever makes HTTP requests.'

interface Options {
	readonly quick: boolean
	/** Is told of each case when it is done. */
	readonly report?: (result: CaseResult) => void
}

/** Runs scenarios. @throws Error when an arm has not done its work */
export async function runBenchmark(
	scenarios: Readonly<Record<string, Scenario>>,
	{ quick, report }: Options,
): Promise<Results> {
	const startedAt = new Date()
	const machine = describeMachine()
	const folder = await mkdtemp(join(tmpdir(), 'koa-msal-bench-'))
	const redis =
		process.env.REDIS_URL || findProgram('redis-server') === undefined
			? undefined
			: await startRedis({ tcp: true })
	const redisUrl = process.env.REDIS_URL || redis?.url
	const provider = startProcess<ProviderCalls>('./provider-main.js')
	try {
		const world = await createWorld(provider, folder, startedAt, redisUrl)
		const cases = Object.entries(scenarios).flatMap(([name, scenario]) =>
			scenario
				.cases({ quick, available: { redis: redisUrl !== undefined } })
				.map((one) => ({ name, scenario, one })),
		)
		const progress = createProgress(cases.map(({ one }) => weightOf(one)))
		const results: CaseResult[] = []
		for (const { name, scenario, one } of cases) {
			progress.begin(`${name}, ${describe(one.params)}`)
			const begun = performance.now()
			const { run } = (await import(`./runs/${scenario.run ?? 'arms'}.js`)) as { run: Run }
			const arms = await run(one, { world, provider, progress: progress.step }).catch((error: unknown) => {
				progress.clear()
				throw new Error(`${name}, ${describe(one.params)}`, { cause: error })
			})
			const seconds = Math.round((performance.now() - begun) / 100) / 10
			const result = { name, summary: scenario.summary, params: one.params, seconds, arms }
			results.push(result)
			progress.clear()
			report?.(result)
		}
		// At the end: the provider is then as warm as it was for the arms.
		const capacityMs = quick ? 300 : 2_000
		const providerCapacity = {
			refreshes: await measureCapacity(provider, world, 'refresh', capacityMs),
			logins: await measureCapacity(provider, world, 'login', capacityMs),
		}
		return {
			machine,
			versions: describeVersions(root),
			startedAt: startedAt.toISOString(),
			seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
			quick,
			method,
			providerCapacity,
			scenarios: results,
		}
	} finally {
		await Promise.all([provider.stop(), redis?.stop()])
		await rm(folder, { recursive: true })
	}
}

async function createWorld(
	provider: RunningProcess<ProviderCalls>,
	folder: string,
	startedAt: Date,
	redisUrl: string | undefined,
): Promise<World> {
	const { ca, key, cert } = await createDevCertificates()
	const caFile = join(folder, 'ca.pem')
	await writeFile(caFile, ca)
	const seconds = Math.floor(startedAt.getTime() / 1000)
	return {
		...(await provider.ask('start', { key, cert, startedAt: seconds })),
		caFile,
		startedAt: seconds,
		...(redisUrl !== undefined && { redisUrl }),
	}
}

/** About how many seconds a case takes: for a guess at what is left. */
function weightOf({ params, arms }: Case): number {
	const { milliseconds, operations = 0, rounds, fixedRate, sessions, beyond = 0 }: Params = params
	const round = milliseconds === undefined ? operations / 600 : milliseconds / 1000
	const passes = fixedRate ? (Math.min(rounds, 3) * fixedRate.milliseconds) / 1000 : 0
	return (
		Object.keys(arms).length * ((rounds + Math.min(rounds, 2) + 0.25) * round + passes) +
		1 +
		sessions / 20_000 +
		beyond / 5_000
	)
}
