// npm run fuzz [-- word …]: FUZZ_RUNS inputs (default 50,000) for every target whose name has one of the words.
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { targets } from './targets.js'
import { createFuzzWorld } from './world.js'

const largestSeed = 2 ** 31 - 1

function numberFrom(name: string, fallback: number, least: number): number {
	const text = process.env[name]
	const value = text === undefined || text === '' ? fallback : Number(text)
	if (!Number.isInteger(value) || value < least || value > largestSeed)
		fail(`${name} should be a whole number from ${least} to ${largestSeed}.`)
	return value
}

function fail(message: string): never {
	console.error(message)
	process.exit(1)
}

/** One target, in a process of its own: what one leaves behind is none of the others' business. */
async function tryTarget(name: string, runs: number, seed: number): Promise<void> {
	const target = targets.find((candidate) => candidate.name === name)
	if (!target) return fail(`There is no target ${name}.`)
	const world = createFuzzWorld()
	const began = performance.now()
	const seconds = () => `${((performance.now() - began) / 1000).toFixed(0)} s`
	try {
		const { tried, endings } = await target.run(world, {
			runs,
			seed,
			progress: (tried) => console.log(`${name}: ${tried} of ${runs}, ${seconds()}`),
		})
		const counts = Object.entries(endings).sort(([, a], [, b]) => b - a)
		const text = counts.map(([ending, count]) => `${ending} ${count}`).join(', ')
		console.log(`${name}: ${tried} inputs in ${seconds()}; ${text}`)
	} finally {
		await world.close()
	}
}

function spawnTarget(name: string, runs: number, seed: number): Promise<boolean> {
	const child = spawn(
		process.execPath,
		['--enable-source-maps', fileURLToPath(import.meta.url), '--target', name],
		{
			env: { ...process.env, NODE_ENV: 'test', FUZZ_RUNS: String(runs), FUZZ_SEED: String(seed) },
			stdio: ['ignore', 'inherit', 'inherit'],
		},
	)
	return new Promise((resolve) => {
		child.once('error', () => resolve(false))
		child.once('exit', (code) => resolve(code === 0))
	})
}

const runs = numberFrom('FUZZ_RUNS', 50_000, 1)
const seed = numberFrom('FUZZ_SEED', randomInt(largestSeed), 0)
const [first, only, ...words] = process.argv.slice(2)
if (first === '--target' && only !== undefined) {
	await tryTarget(only, runs, seed).catch((error) =>
		fail(error instanceof Error ? error.message : String(error)),
	)
	process.exit(0)
}
const wanted = [first, only, ...words].filter((word) => word !== undefined)
const names = targets.map(({ name }) => name)
const chosen = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
if (chosen.length === 0) fail(`No target is called so. There are: ${names.join(', ')}.`)
console.log(`fuzz: seed ${seed}, ${runs} inputs for each of ${chosen.join(', ')}`)
const began = performance.now()
const failed: string[] = []
const waiting = [...chosen]
const work = async () => {
	for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
		if (!(await spawnTarget(name, runs, seed))) failed.push(name)
}
await Promise.all(Array.from({ length: Math.max(1, availableParallelism()) }, work))
const took = ((performance.now() - began) / 1000).toFixed(0)
if (failed.length > 0) fail(`fuzz: ${failed.join(', ')} failed after ${took} s, with seed ${seed}.`)
console.log(`fuzz: everything holds, seed ${seed}, ${took} s`)
