import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { compiled, grouped, parseArguments, selectTests } from './suites.js'

const sources = [
	'test/broker.test.ts',
	'test/cluster/refresh.test.ts',
	'test/dev/browser.test.ts',
	'test/faults/redis.test.ts',
	'test/koa/session.test.ts',
	'test/security/redis.test.ts',
	'test/support/redis.test.ts',
]
const first = "import '../support/whole-group.js'\n"
const select = (suite: string, ...words: string[]) => selectTests(sources, { suite, words })

describe('the selection of tests', () => {
	it('leaves the suites with a folder of their own out of "test"', () => {
		assert.deepEqual(select('test'), [
			'test/broker.test.ts',
			'test/dev/browser.test.ts',
			'test/koa/session.test.ts',
			'test/support/redis.test.ts',
		])
	})

	it('takes the folder of any other suite', () => {
		assert.deepEqual(select('cluster'), ['test/cluster/refresh.test.ts'])
		assert.deepEqual(select('koa'), ['test/koa/session.test.ts'])
		assert.deepEqual(select('absent'), [])
	})

	it('filters by words, and by words that must not appear', () => {
		assert.deepEqual(select('test', 'redis'), ['test/support/redis.test.ts'])
		assert.deepEqual(select('test', 'broker', 'session'), ['test/broker.test.ts', 'test/koa/session.test.ts'])
		assert.deepEqual(select('test', '!dev', '!support', '!koa'), ['test/broker.test.ts'])
		assert.deepEqual(select('test', 'nothing'), [])
	})

	it('understands the path of a source and of a compiled file', () => {
		const expected = ['test/support/redis.test.ts']
		assert.deepEqual(select('test', './test/support/redis.test.ts'), expected)
		assert.deepEqual(select('test', 'dist/test/support/redis.test.js'), expected)
		assert.equal(compiled('test/support/redis.test.ts'), 'dist/test/support/redis.test.js')
	})
})

describe('groups of tests', () => {
	it('hold every file once, neighbours apart', () => {
		const files = ['dist/test/a.test.js', 'dist/test/b.test.js', 'dist/test/dev/c.test.js']
		assert.deepEqual(grouped(files, 2), [
			`${first}import '../a.test.js'\nimport '../dev/c.test.js'\n`,
			`${first}import '../b.test.js'\n`,
		])
		assert.deepEqual(grouped(files.slice(0, 1), 2), [`${first}import '../a.test.js'\n`, first])
	})

	for (const [what, code, status] of [
		['is red when a test ends the process', 'process.exit(0)', 1],
		['is green when its tests are', '', 0],
	] as const)
		it(`a group ${what}`, () => {
			const guard = new URL('./whole-group.js', import.meta.url)
			const module = `import '${guard}'; import { test } from 'node:test'; test('one', () => { ${code} }); test('two', () => {})`
			const { NODE_TEST_CONTEXT: _, ...env } = process.env
			const run = spawnSync(process.execPath, ['--input-type=module', '-e', module], { env })
			assert.equal(run.status, status, String(run.stderr))
		})
})

describe('the arguments', () => {
	it('separate words from the flags of node and from the version that is asked for', () => {
		assert.deepEqual(parseArguments(['test', 'redis', '--test-only', '--node=22', '!dev']), {
			suite: 'test',
			words: ['redis', '!dev'],
			flags: ['--test-only'],
			nodeMajor: '22',
		})
	})

	it('need a suite', () => {
		assert.throws(() => parseArguments([]), /usage/)
		assert.throws(() => parseArguments(['../x']), /usage/)
	})
})
