import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { FuzzWorld } from './world.js'

/** What one target throws at the code, and what it watches. */
export interface Fuzz<Input> {
	readonly inputs: fc.Arbitrary<Input>
	/**
	 * Tries one input, alone or again: the same comes of it.
	 * @returns how it ended, to be counted
	 * @throws when that is not as it should be
	 */
	attempt(input: Input): string | Promise<string>
	/** Endings that a long run must have seen, or it has tested nothing. */
	readonly reaches: readonly string[]
}

/** Starts a target; what several need comes from the world. */
export type Target<Input> = (world: FuzzWorld) => Fuzz<Input> | Promise<Fuzz<Input>>

export interface FuzzRequest {
	readonly runs: number
	readonly seed: number
	/** Told now and then how many inputs were tried. */
	readonly progress?: (tried: number) => void
}

export interface FuzzReport {
	readonly tried: number
	/** How often each ending was seen. */
	readonly endings: Readonly<Record<string, number>>
}

/** Milliseconds that the event loop may be kept at one go. */
const longestBlock = 20
/** Milliseconds after which an attempt hangs. */
const patience = 10_000
/** Times that a slow input is tried again, alone: the machine was slow, a collection came, code was compiled. */
const secondLooks = 8
/** Runs from which the endings of `reaches` are due: 100 may miss the rare ones. */
const longRun = 5000

/** Characters of a report at most: an input may be long. */
const longestReport = 4000

/** Tries as many inputs as asked for. @throws with the seed and the smallest input found that breaks a rule */
export async function fuzz<Input>(
	name: string,
	target: Fuzz<Input>,
	request: FuzzRequest,
): Promise<FuzzReport> {
	const { runs, seed, progress } = request
	const endings: Record<string, number> = {}
	let tried = 0
	const process = watchProcess()
	const property = fc.asyncProperty(target.inputs, async (input) => {
		const began = performance.now()
		const ending = await inTime(target.attempt(input))
		if (performance.now() - began > longestBlock) await requireQuick(() => inTime(target.attempt(input)))
		await process.check()
		endings[ending] = (endings[ending] ?? 0) + 1
		if (++tried % 5000 === 0) progress?.(tried)
	})
	try {
		const details = await fc.check(property, { numRuns: runs, seed, verbose: fc.VerbosityLevel.None })
		if (details.failed) {
			const report = await fc.asyncDefaultReportMessage(details)
			throw new Error(`${details.errorInstance}\n${report?.slice(0, longestReport)}`, {
				cause: details.errorInstance,
			})
		}
		const missed = target.reaches.filter((ending) => !(ending in endings))
		if (runs >= longRun && missed.length > 0)
			throw new Error(`None of ${runs} inputs ended with ${missed.join(', ')}: ${JSON.stringify(endings)}`)
		return { tried, endings }
	} catch (error) {
		const again = `FUZZ_SEED=${seed} FUZZ_RUNS=${runs} npm run fuzz -- ${name}`
		throw new Error(
			`${name}, seed ${seed} (again: ${again}): ${error instanceof Error ? error.message : error}`,
			{
				cause: error,
			},
		)
	} finally {
		process.stop()
	}
}

async function inTime<T>(work: T | Promise<T>): Promise<T> {
	if (!(work instanceof Promise)) return work
	let timer: NodeJS.Timeout | undefined
	const late = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(`It has not ended in ${patience} ms.`)), patience)
	})
	try {
		return await Promise.race([work, late])
	} finally {
		clearTimeout(timer)
	}
}

/**
 * An input that took long may have met a busy machine. It is slow when it keeps the thread each time that it is tried
 * alone: by the processor time of the process, and by the longest turn of its event loop, of which the lesser counts.
 */
async function requireQuick(attempt: () => Promise<unknown>): Promise<void> {
	let least = Number.POSITIVE_INFINITY
	for (let look = 0; look < secondLooks && least > longestBlock; look++) {
		const turns = monitorEventLoopDelay({ resolution: 1 })
		turns.enable()
		await sleep(5)
		turns.reset()
		const before = globalThis.process.cpuUsage()
		await attempt()
		const { user, system } = globalThis.process.cpuUsage(before)
		await sleep(5)
		turns.disable()
		least = Math.min(least, (user + system) / 1000, turns.max / 1e6)
	}
	if (least > longestBlock) throw new Error(`It keeps the event loop for ${least.toFixed(1)} ms at least.`)
}

/** What no input may do to the process: pollute prototypes, leave a rejection or an exception to nobody. */
function watchProcess() {
	const prototypes = [Object, Array, Function, String, Number, Map, Promise].map(({ prototype }) => prototype)
	const names = () => prototypes.map((prototype) => Reflect.ownKeys(prototype).length).join()
	const before = names()
	const unhandled: unknown[] = []
	const note = (error: unknown) => void unhandled.push(error)
	// Warnings are one a damaged blob, and there are thousands of those.
	const listeners = process.listeners('warning')
	process.removeAllListeners('warning')
	process.on('unhandledRejection', note)
	process.on('uncaughtException', note)
	return {
		async check() {
			// Rejections that nobody takes are told once all that is due has run.
			await new Promise(setImmediate)
			if (names() !== before) throw new Error('A prototype of the language has changed.')
			const [first] = unhandled.splice(0)
			if (first !== undefined) throw new Error(`Nobody took an error: ${first}`, { cause: first })
		},
		stop() {
			process.off('unhandledRejection', note)
			process.off('uncaughtException', note)
			for (const listener of listeners) process.on('warning', listener)
		},
	}
}
