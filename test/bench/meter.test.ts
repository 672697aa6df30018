import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { watchDelay } from '../../bench/meter.js'

function block(milliseconds: number): void {
	const end = performance.now() + milliseconds
	while (performance.now() < end);
}

describe('the event-loop delay', () => {
	it('counts a turn that is blocked at once', async () => {
		const stop = await watchDelay()
		block(60)
		const { delay, delaySeries } = await stop()
		assert.ok(delay.max >= 60, `${delay.max} ms`)
		assert.ok(Math.max(...delaySeries.map(([, ms]) => ms)) >= 60)
	})

	it('shows over time a turn that is blocked as a window begins', async () => {
		const stop = await watchDelay()
		// This timer is due in the same turn as the end of the first window, and after it.
		await sleep(100)
		block(60)
		await sleep(150)
		const { delaySeries } = await stop()
		assert.ok(Math.max(...delaySeries.map(([, ms]) => ms)) >= 60, JSON.stringify(delaySeries))
	})
})
