import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import type { TestEvent } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import caseReporter from './case-reporter.js'
import { casesOf, idsIn } from './cases.js'
import { sourcesOfCases, testSources } from './suites.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** What the runner tells of one test or group that begins and ends. */
function* told(
	name: string,
	nesting: number,
	inner: Iterable<unknown> = [],
	more: object = {},
): Generator<unknown> {
	yield { type: 'test:start', data: { name, nesting } }
	yield* inner
	const type = [...inner].length > 0 ? 'suite' : 'test'
	yield { type: 'test:pass', data: { name, nesting, details: { type }, ...more } }
}

async function report(...events: Iterable<unknown>[]): Promise<{ text: string; failed: boolean }> {
	const { exitCode, env } = process
	const { TEST_SUITE: suite = '' } = env
	process.exitCode = undefined
	env.TEST_SUITE = 'security'
	async function* all() {
		for (const some of events) yield* some as Iterable<TestEvent>
	}
	try {
		let text = ''
		for await (const part of caseReporter(all())) text += part
		return { text, failed: process.exitCode === 1 }
	} finally {
		process.exitCode = exitCode
		env.TEST_SUITE = suite
	}
}

const shown = (text: string, id: string) => new RegExp(`^${id} +(\\S+)`, 'm').exec(text)?.[1]

describe('the table of cases', () => {
	it('counts a test for the ids of its own title and of the groups that it is in, and no group', async () => {
		const inner = [
			...told('does', 1),
			...told('does too (B5, D5)', 1),
			...told('skips', 1, [], { skip: true }),
		]
		const { text, failed } = await report(told('D2: a blob', 0, inner), told('B5: alone', 0))
		assert.deepEqual(
			['D2', 'B5', 'D5', 'A1', 'B11'].map((id) => shown(text, id)),
			['2', '2', '1', 'NONE', '-'],
		)
		assert.ok(failed, 'a case that nothing has shown')
	})

	it('fails for nothing else than a case that nothing has shown', async () => {
		const due = Object.entries(casesOf('security')).filter(([, { waits }]) => waits === undefined)
		const { text, failed } = await report(...due.map(([id]) => told(`${id}: is`, 0)))
		assert.ok(!failed && !text.includes('NONE'))
	})

	it('is of the sources whose titles name a case', () => {
		const of = (suite: string) => sourcesOfCases(root, testSources(root), casesOf(suite))
		const [security, faults] = [of('security'), of('faults')]
		assert.ok(security.includes('test/callback.test.ts') && !faults.includes('test/callback.test.ts'))
		assert.ok(faults.includes('test/cluster/herd.test.ts') && !security.includes('test/cluster/herd.test.ts'))
		assert.ok(!security.includes('test/settings.test.ts'), 'TS2 in a title is no case')
		assert.deepEqual(of('cluster'), [])
		assert.deepEqual(idsIn('D2: an A4 page, B5, E8 and Z9', casesOf('security')), ['D2', 'A4', 'B5'])
		assert.deepEqual(idsIn('D2: an A4 page, B5, E8 and Z9', casesOf('faults')), ['E8'])
	})

	it('is what SECURITY.md speaks of: each case there is one, and each one is there', () => {
		const named = new Set(readFileSync(`${root}SECURITY.md`, 'utf8').match(/\b[A-J][1-9][0-9]?\b/g))
		assert.deepEqual([...named].sort(), Object.keys(casesOf('security')).sort())
	})
})
