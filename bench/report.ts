import { drawPictures } from './pictures.js'
import type { Results } from './results.js'
import { rowsOf, targetRows } from './tables.js'
import { judge } from './targets.js'
import { describe, duration, escapeText, number } from './text.js'

/** A run as one page that needs nothing else: plots, tables, machine and method. */
export function reportOf(results: Results): string {
	const { machine, versions, providerCapacity, startedAt, seconds, quick, method, scenarios } = results
	const about: readonly (readonly [string, string])[] = [
		[
			'Measured',
			`${startedAt.slice(0, 16).replace('T', ' ')} UTC, in ${duration(seconds)}${quick ? ', quick: one round of less' : ''}`,
		],
		[
			'Processor',
			`${machine.processor}, ${machine.cores} cores, load ${machine.loadAverage.toFixed(1)} before the run`,
		],
		['Memory', `${machine.memoryGiB} GiB`],
		['System', machine.system],
		...Object.entries(versions),
		[
			'Canned token endpoint',
			`${number(providerCapacity.refreshes)} refreshes/s or ${number(providerCapacity.logins)} sign-ins/s, or more`,
		],
	]
	const targets = targetRows(judge(results)).filter(([, , , met]) => met !== 'not measured')
	const figures = drawPictures(results).map(({ svg }) => `<figure>${svg}</figure>`)
	const cases = scenarios.map((one) => {
		const caption = `${one.name}: ${one.summary}`
		return `${table(rowsOf(one), caption, describe(one.params))}`
	})
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>koa-msal benchmark</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>koa-msal benchmark</h1>
<p>${escapeText(`${machine.processor}, ${machine.cores} cores, Node ${versions.node}, ${startedAt.slice(0, 10)}${quick ? '. A quick run: it shows that everything works, and little of how fast.' : ''}`)}</p>
<h2 id="targets">Targets</h2>
${table(targets, 'What is aimed at, and what was measured', 'Ratios are within this run.', 2)}
<h2 id="plots">Plots</h2>
${figures.join('\n')}
<h2 id="figures">Figures</h2>
${cases.join('\n')}
<h2 id="method">Method</h2>
<p>${escapeText(method)}</p>
<h2 id="machine">Machine and versions</h2>
<dl>
${about.map(([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd>`).join('\n')}
</dl>
</main>
</body>
</html>
`
}

const style = `
:root { color-scheme: light dark; --text: #1f2328; --faint: #57606a; --ground: #ffffff; --line: #d0d7de; --row: #f6f8fa }
@media (prefers-color-scheme: dark) {
	:root { --text: #e6edf3; --faint: #9da7b3; --ground: #0d1117; --line: #3d444d; --row: #161b22 }
}
body { margin: 0; font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; color: var(--text); background: var(--ground) }
main { max-width: 70rem; margin: 0 auto; padding: 1rem }
h1 { margin-bottom: 0 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
figure { margin: 1rem 0 }
figure > svg { display: block; max-width: 100%; height: auto }
.scroll { overflow-x: auto; margin: 1.25rem 0 }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding-bottom: 0.25rem; font-weight: 600 }
caption small { display: block; font-weight: 400; color: var(--faint) }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom }
td { white-space: nowrap }
th.text, td.text { text-align: left }
td.text, .prose tbody th { white-space: normal }
tbody th { font-weight: 600; white-space: nowrap }
@media (max-width: 40rem) { table { font-size: 0.75rem } th, td { padding: 0.2rem 0.3rem } }
thead { background: var(--row) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem }
dt { color: var(--faint) }
dd { margin: 0; overflow-wrap: anywhere }
`

/** @param texts so many columns are texts */
function table(rows: readonly (readonly string[])[], caption: string, detail: string, texts = 1): string {
	const [heads = [], ...body] = rows
	const kind = (at: number) => (at < texts ? ' class="text"' : '')
	const head = heads.map((cell, at) => `<th scope="col"${kind(at)}>${escapeText(cell)}</th>`).join('')
	const line = (row: readonly string[]) =>
		row
			.map((cell, at) =>
				at === 0
					? `<th scope="row" class="text">${escapeText(cell)}</th>`
					: `<td${kind(at)}>${escapeText(cell)}</td>`,
			)
			.join('')
	// Wide tables scroll by themselves; who has no pointer reaches them by the keyboard.
	return `<div class="scroll" role="region" tabindex="0" aria-label="${escapeText(caption)}"><table${texts > 1 ? ' class="prose"' : ''}>
<caption>${escapeText(caption)}<small>${escapeText(detail)}</small></caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body.map((row) => `<tr>${line(row)}</tr>`).join('\n')}
</tbody>
</table></div>`
}
