import type { TestEvent } from 'node:test/reporters'
import { casesOf, idsIn } from './cases.js'

/**
 * Ends the run of a suite with a table of its cases and how many tests have shown each; a test counts for every id in its own
 * title and in those of the groups that it is in. A case that no test has shown fails the run.
 */
export default async function* caseReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
	const cases = casesOf(process.env.TEST_SUITE ?? '')
	const passed = new Map<string, number>()
	const titles: string[] = []
	for await (const event of events) {
		if (event.type === 'test:start') titles.splice(event.data.nesting, titles.length, event.data.name)
		if (event.type !== 'test:pass' || event.data.details.type === 'suite') continue
		if (event.data.skip !== undefined || event.data.todo !== undefined) continue
		const above = titles.slice(0, event.data.nesting)
		for (const id of new Set([...above, event.data.name].flatMap((title) => idsIn(title, cases))))
			passed.set(id, (passed.get(id) ?? 0) + 1)
	}
	yield '\ncase  tests  what\n'
	for (const [id, { title, waits }] of Object.entries(cases)) {
		const count = passed.get(id) ?? 0
		if (count === 0 && waits === undefined) process.exitCode = 1
		const shown = count > 0 ? String(count) : waits === undefined ? 'NONE' : '-'
		yield `${id.padEnd(4)}  ${shown.padStart(5)}  ${title}${count === 0 && waits !== undefined ? `: ${waits}` : ''}\n`
	}
	const total = [...passed.values()].reduce((sum, count) => sum + count, 0)
	yield `${passed.size} cases, shown ${total} times.\n`
}
