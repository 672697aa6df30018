import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runBenchmark } from './benchmark.js'
import { describeMachine } from './machine.js'
import { drawPictures } from './pictures.js'
import { reportOf } from './report.js'
import type { CaseResult, Results } from './results.js'
import type { Scenario } from './scenario.js'
import { markdownOf, tableOf, targetRows } from './tables.js'
import { judge } from './targets.js'
import { align, duration } from './text.js'

/** The project's folder, from dist/bench. */
const root = new URL('../../', import.meta.url)
const folder = new URL('bench/results/', root)
const picturesFolder = new URL('bench/pictures/', root)

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		quick: { type: 'boolean', default: false },
		json: { type: 'string' },
		from: { type: 'string' },
		markdown: { type: 'boolean', default: false },
	},
})

const names = await scenarioNames(positionals)
const results = options.from === undefined ? await measure() : await read(options.from)
await mkdir(folder, { recursive: true })
const json = `${JSON.stringify(results, undefined, '\t')}\n`
if (options.from === undefined) await writeFile(new URL('latest.json', folder), json)
if (options.json !== undefined) {
	await mkdir(dirname(resolve(options.json)), { recursive: true })
	await writeFile(resolve(options.json), json)
}
const markdown = markdownOf(results)
await writeFile(new URL('latest.md', folder), markdown)
await writeFile(new URL('report.html', folder), reportOf(results))
console.log(align(targetRows(judge(results)), 2).join('\n'))
console.log(`\n${fileURLToPath(new URL('report.html', folder))}, after ${duration(results.seconds)}`)
if (options.markdown) console.log(`\n${markdown}`)
// The committed pictures show all scenarios of one run that took its time.
const isWhole = names.every((name) => results.scenarios.some((one) => one.name === name))
if (!results.quick && positionals.length === 0 && isWhole) {
	await mkdir(picturesFolder, { recursive: true })
	for (const { name, svg } of drawPictures(results).filter(({ isCommitted }) => isCommitted))
		await writeFile(new URL(`${name}.svg`, picturesFolder), `${svg}\n`)
	console.log(fileURLToPath(picturesFolder))
}

async function measure(): Promise<Results> {
	const { processor, cores, loadAverage } = describeMachine()
	console.log(`${processor}, ${cores} cores, load ${loadAverage.toFixed(1)}; Node ${process.version}\n`)
	const entries = names.map(async (name): Promise<[string, Scenario]> => {
		const { scenario } = (await import(`./scenarios/${name}.js`)) as { scenario: Scenario }
		return [name, scenario]
	})
	const done = await runBenchmark(Object.fromEntries(await Promise.all(entries)), {
		quick: options.quick,
		report,
	})
	const { refreshes, logins } = done.providerCapacity
	console.log(
		`canned token endpoint: ${Math.round(refreshes)} refreshes/s or ${Math.round(logins)} sign-ins/s, or more\n`,
	)
	return done
}

function report(result: CaseResult): void {
	console.log(tableOf(result))
	for (const { name, providerBusy = 0, loadBusy = 0 } of result.arms) {
		if (providerBusy > 0.8) console.log(`! ${name}: the provider was busy, and part of what limits\n`)
		if (loadBusy > 0.9)
			console.log(`! ${name}: whoever makes the requests was busy, and part of what limits\n`)
	}
}

async function read(file: string): Promise<Results> {
	return JSON.parse(await readFile(resolve(file), 'utf8')) as Results
}

async function scenarioNames(wanted: readonly string[]): Promise<readonly string[]> {
	const files = await readdir(new URL('scenarios/', import.meta.url))
	const known = files.filter((file) => file.endsWith('.js')).map((file) => file.slice(0, -3))
	const unknown = wanted.filter((name) => !known.includes(name))
	if (unknown.length > 0) {
		console.error(`There is no scenario ${unknown.join(', ')}. There are: ${known.join(', ')}.`)
		process.exit(2)
	}
	return wanted.length > 0 ? wanted : known
}
