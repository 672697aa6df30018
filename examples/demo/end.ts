/** Milliseconds that an orderly end may take. */
const patience = 3_000

/** How often it is looked whether the parent is still there. */
const parentCheck = 1_000

/** Ends this process, once: whoever asks first has the last word. */
export function createEnd(cleanUp: () => Promise<unknown>): (exitCode: number, lastWord?: string) => void {
	let ending = false
	return (exitCode, lastWord) => {
		if (ending) return
		ending = true
		if (lastWord !== undefined) console.error(lastWord)
		setTimeout(() => process.exit(exitCode), patience)
		cleanUp()
			.catch(() => {})
			.finally(() => process.exit(exitCode))
	}
}

/** Calls `end` on Ctrl-C, on a signal, and when whoever started this process is gone: no port is left behind. */
export function endWithParent(end: () => void): void {
	for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
	process.on('disconnect', end)
	const parent = process.ppid
	setInterval(() => process.ppid !== parent && end(), parentCheck).unref()
}
