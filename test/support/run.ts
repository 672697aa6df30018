// node dist/test/support/run.js <suite> [word | !word] … [--flag-of-node=value] …
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { casesOf } from './cases.js'
import { requirePrograms } from './programs.js'
import { compiled, grouped, parseArguments, selectTests, sourcesOfCases, testSources } from './suites.js'

function fail(message: string): never {
	console.error(message)
	process.exit(1)
}

/** Groups of files that one after the other run beside each other: so many that they end together. */
const groupsOfEach = 4

/** @returns the paths of the groups */
function writeGroups(files: readonly string[], count: number): string[] {
	const folder = 'dist/test/groups'
	rmSync(join(root, folder), { recursive: true, force: true })
	mkdirSync(join(root, folder))
	return grouped(files, count).map((text, at) => {
		const path = `${folder}/${at + 1}.js`
		writeFileSync(join(root, path), text)
		return path
	})
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const request = parseArguments(process.argv.slice(2))
const { suite, words, flags, nodeMajor } = request

// npx falls back to the machine's own Node when the package's install script did not run.
if (nodeMajor !== undefined && !process.version.startsWith(`v${nodeMajor}.`)) {
	fail(`This is Node ${process.version}, and ${nodeMajor} was asked for.`)
}

// The sources decide what there is: a compiled test whose source is gone does not run.
const everything = testSources(root)
const cases = casesOf(suite)
const byCase = Object.keys(cases).length > 0
const sources = selectTests(everything, request, sourcesOfCases(root, everything, cases))
if (sources.length === 0) {
	fail(`The suite "${suite}" has no test file${words.length > 0 ? ` that matches ${words.join(' ')}` : ''}.`)
}
const unbuilt = sources.filter((source) => !existsSync(join(root, compiled(source))))
if (unbuilt.length > 0) fail(`Not compiled, so run "npm run build" first: ${unbuilt.join(', ')}`)

requirePrograms()

// The other suites start several processes in each test, and measure time.
const shared = suite === 'test'
const concurrency = shared ? Math.max(2, Math.min(4, availableParallelism() + 1)) : 1
const files = sources.map(compiled)
const inGroups = shared && words.length === 0 ? writeGroups(files, groupsOfEach * concurrency) : files
// Of each argument: a group's files share it.
const timeoutMs = shared ? 180_000 * Math.ceil(files.length / inGroups.length) : 900_000
const args = [
	'--test',
	'--enable-source-maps',
	'--test-reporter=spec',
	'--test-reporter-destination=stdout',
	// A run of some files cannot show every case.
	...(byCase && words.length === 0
		? ['--test-reporter=./dist/test/support/case-reporter.js', '--test-reporter-destination=stdout']
		: []),
	`--test-concurrency=${concurrency}`,
	`--test-timeout=${timeoutMs}`,
	...flags,
	...inGroups,
]
console.log(
	`${suite}: ${sources.length} file${sources.length === 1 ? '' : 's'}, ${concurrency} at a time, Node ${process.version}`,
)
const { NODE_TEST_CONTEXT: _, ...env } = process.env // set when a test starts this file
const runner = spawn(process.execPath, args, {
	cwd: root,
	env: { ...env, NODE_ENV: 'test', TEST_SUITE: suite },
	stdio: ['ignore', 'inherit', 'inherit'],
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => runner.kill(signal))
runner.once('error', (error) => fail(error.message))
runner.once('exit', (code) => process.exit(code ?? 1))
