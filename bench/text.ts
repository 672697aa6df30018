import type { Params } from './scenario.js'

/** Three figures, and separators where there are more. */
export function number(value: number): string {
	if (value === 0) return '0'
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
	const rounded = Number(value.toPrecision(3))
	return rounded.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 4) })
}

/** `1 h`, `25 min`, `40 s`. */
export function duration(seconds: number): string {
	if (seconds < 90) return `${Math.round(seconds)} s`
	return `${Math.round(seconds / 60)} min`
}

/** What a case is, as people would say it: its parameters that matter. */
export function describe(params: Params): string {
	const { sessions, hot, resources, rsaBits, store, processes, http, beyond } = params
	const parts = [
		`${sessions.toLocaleString('en-US')} sessions`,
		hot !== undefined && `of which ${hot.toLocaleString('en-US')} are asked for`,
		beyond !== undefined && `and ${beyond.toLocaleString('en-US')} beyond the bound`,
		params.sharedToken && 'one token text',
		resources !== undefined && `${resources} resource${resources === 1 ? '' : 's'} each`,
		params.credential === 'certificate' && `RSA ${rsaBits ?? 2048}`,
		`store: ${store}`,
		processes && `${processes.count} process${processes.count === 1 ? '' : 'es'}`,
		processes &&
			processes.count > 1 &&
			(processes.ask === 'all' ? 'each asks for all' : 'each asks for its part'),
		http?.load === 'throughput' && 'GET /token, as fast as it goes',
		http?.load === 'ping' && `GET /ping beside ${http.refreshesPerSecond} refreshes/s`,
		http?.load !== 'ping' && `${params.inFlight} in flight`,
	]
	return parts.filter((part) => typeof part === 'string').join(', ')
}

/** Rows as a table for a terminal: so many columns, texts, to the left, the others to the right. */
export function align(rows: readonly (readonly string[])[], texts = 1): string[] {
	const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)))
	return rows.map((row) =>
		row
			.map((cell, at) => (at < texts ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
			.join('  ')
			.trimEnd(),
	)
}

/** Rows as a table in Markdown. */
export function markdownTable([heads = [], ...rows]: readonly (readonly string[])[]): string[] {
	const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
	return [line(heads), line(heads.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)]
}

/** For HTML and SVG, in text and in quoted attributes. */
export function escapeText(text: string): string {
	return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
