import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { refreshTime } from '../src/refresh-time.js'

const now = 1_800_000_000_000
const minute = 60_000
const hour = {
	now,
	refreshOn: undefined,
	expiresOn: now + 60 * minute,
	usableUntil: now + 55 * minute,
	after: 0.5,
}

describe('the time of a refresh', () => {
	it('is the provider’s, else a part of the token’s life, spread by a quarter to either side', () => {
		const minutes = (given: Partial<Parameters<typeof refreshTime>[0]>, random: number) =>
			(refreshTime({ ...hour, ...given }, () => random) - now) / minute
		assert.deepEqual(
			[0, 0.5, 1].map((random) => minutes({}, random)),
			[22.5, 30, 37.5],
		)
		assert.equal(minutes({ after: 0.2 }, 0.5), 12)
		assert.equal(minutes({ refreshOn: now + 20 * minute }, 0.5), 20)
		assert.equal(minutes({ refreshOn: now - minute }, 1), 0, 'the provider’s time is over')
	})

	it('is never past, nor when the token is not handed out any more', () => {
		const time = fc.integer({ min: -90 * minute, max: 90 * minute }).map((offset) => now + offset)
		fc.assert(
			fc.property(
				fc.option(time, { nil: undefined }),
				fc.integer({ min: 1, max: 90 * minute }),
				fc.integer({ min: 0, max: 90 * minute }),
				fc.double({ min: 0.1, max: 0.9, noNaN: true }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				(refreshOn, life, margin, after, random) => {
					const expiresOn = now + life
					const usableUntil = expiresOn - margin
					const at = refreshTime({ now, refreshOn, expiresOn, usableUntil, after }, () => random)
					assert.ok(at >= now && at <= Math.max(now, usableUntil), `${at - now}`)
				},
			),
		)
	})

	it('G6: spreads 5,000 sessions that began together over the rounds to come', () => {
		for (const refreshOn of [undefined, now + 50 * minute]) {
			const perMinute = new Map<number, number>()
			const begin = now + 60 * minute
			const end = begin + 240 * minute
			for (let session = 0; session < 5000; session++)
				for (let at = now; at < end; ) {
					const life = { now: at, expiresOn: at + 60 * minute, usableUntil: at + 55 * minute, after: 0.5 }
					at = refreshTime({ ...life, refreshOn: refreshOn && at + (refreshOn - now) })
					const slot = Math.floor((at - begin) / minute)
					if (at >= begin && at < end) perMinute.set(slot, (perMinute.get(slot) ?? 0) + 1)
				}
			const counts = [...perMinute.values()]
			const mean = counts.reduce((sum, count) => sum + count, 0) / 240
			assert.ok(mean > 100 && Math.max(...counts) < 2.5 * mean, `${Math.max(...counts)} of ${mean}`)
		}
	})
})
