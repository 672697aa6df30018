import * as Plot from '@observablehq/plot'
import { draw } from '../../bench/pictures.js'
import { duration } from '../../bench/text.js'
import { measures, median, type Sample } from './samples.js'

/** Okabe and Ito's, told apart by all eyes. */
const colours = {
	heap: '#0072b2',
	'heap of the threads': '#56b4e9',
	'resident memory': '#d55e00',
	ports: '#e69f00',
	handles: '#009e73',
	listeners: '#8a8a8a',
	'keys in Redis': '#b0508e',
}

/** Each measure over time, in hundredths of its own median. */
export function drawSoak(samples: readonly Sample[], faults: readonly number[]): string {
	const rows = measures.flatMap((measure) => {
		const whole = median(samples.map(({ values }) => values[measure]))
		return samples.map(({ seconds, values }) => ({
			measure,
			minutes: seconds / 60,
			part: (100 * values[measure]) / whole,
		}))
	})
	return draw({
		name: 'soak',
		title: 'What is held while people come and go and parts break',
		subtitle: `${duration(samples.at(-1)?.seconds ?? 0)}; a fault at each line. Heap after a whole collection.`,
		legend: measures,
		colours,
		options: {
			x: { label: 'minutes →' },
			y: { label: '↑ of its median, in hundredths', grid: true, domain: [0, 160], clamp: true },
			marks: [
				Plot.ruleX(
					faults.map((seconds) => seconds / 60),
					{ stroke: '#d0d7de', strokeDasharray: '2,3' },
				),
				Plot.lineY(rows, { x: 'minutes', y: 'part', stroke: 'measure', strokeWidth: 2 }),
			],
		},
	}).svg
}
