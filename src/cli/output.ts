/** What a command reads and writes to: `process`, or its double in a test. */
export interface Terminal {
	readonly env: Readonly<Record<string, string | undefined>>
	readonly stdout: { write(text: string): unknown }
	readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean }
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
			stdout.write(`${printable(text).replaceAll('\n', replacement)}\n`)
		},
		data(value) {
			if (json) stdout.write(`${jsonOf(value)}\n`)
		},
		fail(code, message) {
			clear()
			stderr.write(json ? `${jsonOf({ error: { code, message } })}\n` : `${printable(message)}\n`)
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

const replacement = '\u{fffd}'

/** What moves a terminal's cursor, turns the direction of writing, or shows nothing. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Names come from people, and may hold anything. Lines of a message are ours. */
export function printable(text: string): string {
	return text.replace(unprintable, (character) => (character === '\n' ? '\n' : replacement))
}

/** JSON of the same value: programs' output is looked at by people too. */
function jsonOf(value: unknown): string {
	const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
	return JSON.stringify(value).replace(unprintable, (character) => character.split('').map(escaped).join(''))
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
