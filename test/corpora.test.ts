import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inputsOf, readCorpus } from './support/corpora.js'

/** How many inputs there are at least. */
const least = { redirects: 1000, markup: 200 } as const

describe('the corpora', () => {
	for (const [name, count] of Object.entries(least))
		it(`have at least ${count} distinct inputs: ${name}`, () => {
			const { about, inputs } = readCorpus(name)
			assert.match(about, /Written for this project/, 'says where they come from')
			const all = inputsOf(name)
			assert.equal(new Set(all).size, all.length, 'each once')
			assert.ok(all.length >= count, `${all.length}`)
			for (const [group, members] of Object.entries(inputs)) assert.ok(members.length >= 10, group)
		})
})
