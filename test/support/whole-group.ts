// Loaded first by each group of test files: one that ends the process takes all the others' tests with it, unnoticed.
import { after } from 'node:test'

let whole = false
after(() => {
	whole = true
})
process.on('exit', (code) => {
	if (whole || code !== 0) return
	console.error('A test has ended the process before the tests of all its group were done.')
	process.exitCode = 1
})
