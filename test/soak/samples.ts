import type { Rig } from '../faults/rig.js'
import type { Resources } from '../fixtures/broker-process.js'

/** What there is, when nothing has been broken for a while. */
export interface Sample {
	/** Since the start. */
	readonly seconds: number
	/** Of all processes together. */
	readonly values: Readonly<Record<Measure, number>>
	/** Refreshed tokens that the store does not have. */
	readonly unsaved: number
	readonly heldTokens: number
}

/** What has to come back to where it was. */
export const measures = [
	'heap',
	'heap of the threads',
	'resident memory',
	'ports',
	'handles',
	'listeners',
	'keys in Redis',
] as const
export type Measure = (typeof measures)[number]

/** Marks that a sign-in happened once: they live for a quarter of an hour, however long the run is. */
const transactionMark = /^koa-msal:[^:]+:u:/

export async function takeSample(rig: Rig, seconds: number): Promise<Sample> {
	const all = await Promise.all(
		rig.places.map(({ running }) => running?.ask({ do: 'resources' }) as Promise<Resources>),
	)
	const sum = (of: (one: Resources) => number) => all.reduce((total, one) => total + of(one), 0)
	const client = rig.redis.client()
	const keys = await client.keys('*')
	client.disconnect()
	return {
		seconds,
		unsaved: sum(({ unsaved }) => unsaved),
		heldTokens: sum(({ heldTokens }) => heldTokens),
		values: {
			heap: sum(({ heap }) => heap),
			'heap of the threads': sum(({ threadHeap }) => threadHeap),
			'resident memory': sum(({ rss }) => rss),
			ports: sum(({ ports }) => ports),
			handles: sum(({ active }) => Object.values(active).reduce((total, count) => total + count, 0)),
			listeners: sum(({ listeners }) => listeners),
			'keys in Redis': keys.filter((key) => !transactionMark.test(key)).length,
		},
	}
}

export function median(values: readonly number[]): number {
	const sorted = [...values].sort((a, b) => a - b)
	return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** What a measure has grown by from the second quarter of the run to the last: 1.02 is two hundredths. */
export function growth(samples: readonly Sample[], measure: Measure): number {
	const end = samples.at(-1)?.seconds ?? 0
	const of = (from: number, to: number) =>
		median(
			samples
				.filter(({ seconds }) => seconds >= from * end && seconds <= to * end)
				.map(({ values }) => values[measure]),
		)
	return of(0.75, 1) / of(0.25, 0.5)
}

/** What a measure grows by in a minute, by least squares over these samples. */
export function slope(samples: readonly Sample[], measure: Measure): number {
	const mean = (of: (one: Sample) => number) =>
		samples.reduce((sum, one) => sum + of(one), 0) / samples.length
	const [x, y] = [mean(({ seconds }) => seconds), mean(({ values }) => values[measure])]
	const above = samples.reduce((sum, one) => sum + (one.seconds - x) * (one.values[measure] - y), 0)
	const below = samples.reduce((sum, { seconds }) => sum + (seconds - x) ** 2, 0)
	return (above / below) * 60
}
