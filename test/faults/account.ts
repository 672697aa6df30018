import { mkdirSync, writeFileSync } from 'node:fs'
import { BrokerError } from '../../src/index.js'

const accounts = new URL('../accounts/', import.meta.url)

/** Keeps what a test has measured in `dist/test/accounts`, for the README. */
export function keepAccount(title: string, account: object): void {
	mkdirSync(accounts, { recursive: true })
	// What fails, without the ids before it and the promise behind it.
	const [, what = title] = title.split(': ')
	writeFileSync(
		new URL(`${what.replaceAll(/\W+/g, '-')}.json`, accounts),
		`${JSON.stringify(account, null, 2)}\n`,
	)
}

/** Numbers between 0 and 1 that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
	let state = seed >>> 0
	return () => {
		state = (state + 0x6d2b79f5) >>> 0
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
	}
}

export function times<T>(count: number, make: (at: number) => T): T[] {
	return Array.from({ length: count }, (_, at) => make(at))
}

/** @param part from 0 to 1 */
export function percentile(values: readonly number[], part: number): number {
	const sorted = [...values].sort((a, b) => a - b)
	return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

/** The code of an error of the library's; any other has no place anywhere. */
export function codeOf(error: unknown): string {
	if (!(error instanceof BrokerError)) throw error
	return error.code
}
