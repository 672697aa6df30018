import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { type Case, idsIn } from './cases.js'

/** Folders of test/ that are a suite of their own; `test` is everything else. */
const OWN_SUITES = ['cluster', 'faults', 'security', 'soak'] as const

export interface SuiteRequest {
	readonly suite: string
	/** Bare words: a file runs when its path has one of the words and none of the `!words`. */
	readonly words: readonly string[]
	/** Flags for node, as they were given. */
	readonly flags: readonly string[]
	/** The major version of Node that must be running, from `--node=22`. */
	readonly nodeMajor: string | undefined
}

export function parseArguments([suite, ...rest]: readonly string[]): SuiteRequest {
	if (suite === undefined || !/^[a-z][a-z-]*$/.test(suite)) {
		throw new Error('usage: run.js <suite> [word | !word] … [--flag-of-node=value] …')
	}
	const nodeFlag = /^--node=(\d+)$/
	const isFlag = (argument: string): boolean => argument.startsWith('-')
	return {
		suite,
		words: rest.filter((argument) => !isFlag(argument)),
		flags: rest.filter((argument) => isFlag(argument) && !nodeFlag.test(argument)),
		nodeMajor: rest.map((argument) => nodeFlag.exec(argument)?.[1]).findLast((major) => major !== undefined),
	}
}

/** The sources of every test, as `test/…/name.test.ts` with forward slashes. */
export function testSources(root: string): string[] {
	return readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
		.filter((path) => path.endsWith('.test.ts'))
		.map((path) => `test/${path.split(sep).join('/')}`)
		.sort()
}

/** The sources whose titles name one of these cases, in whatever folder: the table of cases counts them all. */
export function sourcesOfCases(
	root: string,
	sources: readonly string[],
	cases: Readonly<Record<string, Case>>,
): string[] {
	const titles = /\b(?:it|describe)\((?:'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)/g
	return sources.filter((source) => {
		const text = readFileSync(join(root, source), 'utf8')
		return (text.match(titles) ?? []).some((title) => idsIn(title, cases).length > 0)
	})
}

/** A word as it would appear in a source path, so that a path pasted from a stack trace works too. */
function asSourceWord(word: string): string {
	return word.replace(/^(?:\.\/)?(?:dist\/)?/, '').replace(/\.(?:ts|js)$/, '')
}

export function selectTests(
	sources: readonly string[],
	{ suite, words }: Pick<SuiteRequest, 'suite' | 'words'>,
	alsoIn: readonly string[] = [],
): string[] {
	const without = words.filter((word) => word.startsWith('!')).map((word) => asSourceWord(word.slice(1)))
	const wanted = words.filter((word) => !word.startsWith('!')).map(asSourceWord)
	return sources.filter((source) => {
		const folder = source.split('/')[1] ?? ''
		const inSuite = suite === 'test' ? !(OWN_SUITES as readonly string[]).includes(folder) : folder === suite
		return (
			(inSuite || alsoIn.includes(source)) &&
			(wanted.length === 0 || wanted.some((word) => source.includes(word))) &&
			!without.some((word) => source.includes(word))
		)
	})
}

/** Where tsc puts a source. */
export function compiled(source: string): string {
	return `dist/${source.replace(/\.ts$/, '.js')}`
}

/**
 * Compiled tests in so many groups, each to run in one process: what every file loads first takes longer than what most
 * of them do. Neighbours, which test the same part, take as long as each other: they go to different groups.
 * @returns for each group a module that loads its files, from a folder beside those of the tests
 */
export function grouped(files: readonly string[], count: number): string[] {
	const groups = Array.from({ length: count }, (_, group) => files.filter((_, at) => at % count === group))
	return groups.map((group) =>
		['../support/whole-group.js', ...group.map((file) => file.replace(/^dist\/test\//, '../'))]
			.map((file) => `import '${file}'\n`)
			.join(''),
	)
}
