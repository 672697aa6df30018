import { after, before, describe, it } from 'node:test'
import { targets } from '../fuzz/targets.js'
import { createFuzzWorld, type FuzzWorld } from '../fuzz/world.js'

/** A few inputs for each target, the same with each run; `npm run fuzz` tries others, and many more. */
describe('input that was made up', () => {
	let world: FuzzWorld
	before(() => {
		world = createFuzzWorld()
	})
	after(() => world.close())

	for (const { name, run } of targets)
		it(`breaks nothing: ${name}`, async () => {
			await run(world, { runs: 100, seed: 6 })
		})
})
