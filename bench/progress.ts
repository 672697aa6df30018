import { duration } from './text.js'

/** Says on stderr what is done now, and about how long it will take: on a terminal in one line that is written over. */
export interface Progress {
	/** The next case begins. */
	begin(title: string): void
	/** Something of it. */
	step(what: string): void
	/** Takes the line away. */
	clear(): void
}

/** @param weights of the cases in turn: about how long each takes, in any unit */
export function createProgress(weights: readonly number[]): Progress {
	const started = performance.now()
	const total = weights.reduce((sum, weight) => sum + weight, 0)
	let at = -1
	let title = ''
	const write = (text: string) => {
		// A line that wraps could not be written over.
		if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text.slice(0, process.stderr.columns - 1)}`)
		else if (text !== '') process.stderr.write(`${text}\n`)
	}
	const left = () => {
		const done = weights.slice(0, at).reduce((sum, weight) => sum + weight, 0)
		if (done === 0) return ''
		const seconds = (performance.now() - started) / 1000
		return `, about ${duration((seconds / done) * (total - done))} left`
	}
	const where = () => `[${at + 1}/${weights.length}${left()}] ${title}`
	return {
		begin(next) {
			at++
			title = next
			if (!process.stderr.isTTY) write(where())
		},
		step: (what) => {
			if (process.stderr.isTTY) write(`${where()}: ${what}`)
		},
		clear: () => {
			if (process.stderr.isTTY) write('')
		},
	}
}
