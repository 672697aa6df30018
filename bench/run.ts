import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createClientCertificate, createDevCertificates } from '../dev/certificates.js'
import { findProgram } from '../test/support/programs.js'
import { startRedis } from '../test/support/redis.js'
import type { ArmCalls } from './arm-main.js'
import { measureCapacity } from './capacity.js'
import { describeMachine, describeVersions } from './machine.js'
import { type RunningProcess, startProcess } from './process.js'
import type { ProviderCalls } from './provider-main.js'
import { bringTogether, type CaseResult, type Round, tableOf } from './report.js'
import type { Case, Scenario, World } from './scenario.js'

/** The project's folder, from dist/bench. */
const root = new URL('../../', import.meta.url)

const method =
	'Each arm runs in a process of its own; after a warm-up the arms take their rounds in turn. Values are medians ' +
	'of the rounds. Main-thread time is the active part of performance.eventLoopUtilization(); event-loop delay is ' +
	'monitorEventLoopDelay with a resolution of 1 ms, which that millisecond is part of. Tokens are checked and ' +
	'the calls that reach the token endpoint counted. The provider is a canned https server in a process of its own.'

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
})

const scenarios = await loadScenarios(positionals)
const startedAt = new Date()
const machine = describeMachine()
const versions = describeVersions(root)
const folder = await mkdtemp(join(tmpdir(), 'koa-msal-bench-'))
const caFile = join(folder, 'ca.pem')
const redis =
	process.env.REDIS_URL || findProgram('redis-server') === undefined
		? undefined
		: await startRedis({ tcp: true })
const redisUrl = process.env.REDIS_URL || redis?.url
const provider = startProcess<ProviderCalls>('./provider-main.js')
try {
	const world = await createWorld()
	const capacity = await measureCapacity(provider, world, options.quick ? 500 : 2_000)
	console.log(
		`${machine.processor}, ${machine.cores} cores, load ${machine.loadAverage.toFixed(1)}; Node ${versions.node}`,
	)
	console.log(`canned token endpoint: ${Math.round(capacity)} answers/s or more\n`)
	const results: CaseResult[] = []
	for (const [name, scenario] of scenarios)
		for (const one of scenario.cases({
			quick: options.quick,
			available: { redis: redisUrl !== undefined },
		})) {
			const result = await runCase(name, scenario, one, world)
			results.push(result)
			console.log(tableOf(result))
			for (const arm of result.arms)
				if (arm.providerBusy > 0.8)
					console.log(`! ${arm.name}: the provider was busy, and part of what limits`)
		}
	const file = options.json
		? resolve(options.json)
		: fileURLToPath(new URL('bench/results/latest.json', root))
	await mkdir(dirname(file), { recursive: true })
	const report = {
		machine,
		versions,
		startedAt: startedAt.toISOString(),
		quick: options.quick,
		method,
		providerCapacity: capacity,
		scenarios: results,
	}
	await writeFile(file, `${JSON.stringify(report, undefined, '\t')}\n`)
} finally {
	await Promise.all([provider.stop(), redis?.stop()])
	await rm(folder, { recursive: true })
}

async function loadScenarios(names: readonly string[]): Promise<[string, Scenario][]> {
	const files = await readdir(new URL('scenarios/', import.meta.url))
	const known = files.filter((file) => file.endsWith('.js')).map((file) => file.slice(0, -3))
	const unknown = names.filter((name) => !known.includes(name))
	if (unknown.length > 0) {
		console.error(`There is no scenario ${unknown.join(', ')}. There are: ${known.join(', ')}.`)
		process.exit(2)
	}
	return Promise.all(
		(names.length > 0 ? names : known).map(async (name): Promise<[string, Scenario]> => {
			const { scenario } = (await import(`./scenarios/${name}.js`)) as { scenario: Scenario }
			return [name, scenario]
		}),
	)
}

async function createWorld(): Promise<World> {
	const { ca, key, cert } = await createDevCertificates()
	await writeFile(caFile, ca)
	const seconds = Math.floor(startedAt.getTime() / 1000)
	return {
		...(await provider.ask('start', { key, cert, startedAt: seconds })),
		caFile,
		startedAt: seconds,
		...(redisUrl !== undefined && { redisUrl }),
	}
}

/** The arms of one case: all are started and warmed up, then each has its round in turn. */
async function runCase(name: string, scenario: Scenario, one: Case, base: World): Promise<CaseResult> {
	const { params, arms } = one
	const world =
		params.credential === 'certificate'
			? { ...base, clientCertificate: await clientCertificate(params.rsaBits) }
			: base
	const running = new Map<string, RunningProcess<ArmCalls>>()
	try {
		await provider.ask('reset', { latencyMs: params.providerLatencyMs })
		for (const arm of Object.keys(arms)) {
			progress(`${name} · ${arm} · warm-up`)
			const child = startProcess<ArmCalls>('./arm-main.js', { NODE_EXTRA_CA_CERTS: caFile })
			running.set(arm, child)
			await child.ask('start', { name: arm, params, world })
		}
		const rounds = new Map<string, Round[]>()
		for (let round = 1; round <= params.rounds; round++)
			for (const [arm, child] of running) {
				progress(`${name} · ${arm} · round ${round} of ${params.rounds}`)
				await child.ask('prepare', undefined)
				await provider.ask('reset', { latencyMs: params.providerLatencyMs })
				const measured = await child.ask('round', undefined)
				const counted = await provider.ask('count', undefined)
				const expected = measured.operations * (arms[arm]?.providerCallsPerOp ?? 0)
				if (counted.posts !== expected || counted.refused > 0)
					throw new Error(
						`${name}, ${arm}: the provider had ${counted.posts} calls and refused ${counted.refused}; ${expected} were due`,
					)
				const providerCallsPerOp = counted.posts / measured.operations
				rounds.set(arm, [
					...(rounds.get(arm) ?? []),
					{ ...measured, providerCallsPerOp, providerBusy: counted.busy },
				])
			}
		progress('')
		const results = [...rounds].map(([arm, list]) => bringTogether(arm, list))
		return { name, summary: scenario.summary, params, arms: results }
	} finally {
		await Promise.all([...running.values()].map((child) => child.stop()))
	}
}

async function clientCertificate(rsaBits: number | undefined) {
	const { privateKey, thumbprintSha256 } = await createClientCertificate(rsaBits)
	return { privateKey, thumbprintSha256 }
}

/** One line that is written over, on a terminal; else a line each. */
function progress(text: string): void {
	if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
	else if (text !== '') process.stderr.write(`${text}\n`)
}
