import assert from 'node:assert/strict'

/**
 * `npm test` runs three files at a time and looks at what happens, so a moment may take it five times as long as a
 * quiet machine. How long something takes is asserted by the suites that run one file at a time, some of them with
 * these same files.
 */
const slack = process.env.TEST_SUITE === 'test' ? 5 : 1

/** That something took less than so many milliseconds, on a machine that has nothing else to do. */
export function assertTook(ms: number, limitMs: number, what = 'it'): void {
	assert.ok(ms < limitMs * slack, `${what} took ${ms} ms of ${limitMs * slack}`)
}
