/** What a command reads and writes to: `process`, or its double in a test. */
export interface Terminal {
	readonly env: Readonly<Record<string, string | undefined>>
	readonly stdout: { write(text: string): unknown }
	readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number }
}

/** What a command says, to people or, with `--json`, to programs. Errors and progress go to stderr. */
export interface Output {
	/** A line for people. */
	line(text: string): void
	/** A JSON document on a line of its own, for programs. */
	data(value: unknown): void
	/** A failure, for whoever reads. */
	fail(code: string, message: string): void
	/** A bar for people at a terminal, which the next line replaces. */
	progress(done: number, total: number): void
}

const barWidth = 30

export function createOutput({ stdout, stderr }: Omit<Terminal, 'env'>, json: boolean): Output {
	const shows = !json && stderr.isTTY === true
	let shown = ''
	const clear = () => {
		if (shown !== '') stderr.write(`\r${' '.repeat(shown.length)}\r`)
		shown = ''
	}
	return {
		line(text) {
			if (json) return
			clear()
			stdout.write(`${printable(text)}\n`)
		},
		data(value) {
			if (json) stdout.write(`${JSON.stringify(value)}\n`)
		},
		fail(code, message) {
			clear()
			stderr.write(json ? `${JSON.stringify({ error: { code, message } })}\n` : `${printable(message)}\n`)
		},
		progress(done, total) {
			if (!shows || total === 0) return
			const full = Math.floor((done / total) * barWidth)
			const bar = `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}] ${done} of ${total}`
			if (bar === shown) return
			shown = bar
			stderr.write(`\r${bar}`)
			if (done === total) clear()
		},
	}
}

/** Names come from people, and may hold what moves a terminal's cursor. */
function printable(text: string): string {
	return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) => (character === '\n' ? '\n' : '\u{fffd}'))
}

/** Rows as aligned columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
	const widths: number[] = []
	for (const row of rows)
		for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
	return rows.map((row) =>
		row
			.map((cell, at) => cell.padEnd(widths[at] ?? 0))
			.join('  ')
			.trimEnd(),
	)
}
