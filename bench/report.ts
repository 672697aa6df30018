import type { Results } from './results.js'
export function reportOf(_results: Results): string {
	return ''
}
