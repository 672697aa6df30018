import { InvalidArgumentError } from 'commander'

/** A number of days, in milliseconds. */
export function parseDays(text: string): number {
	const days = Number(text)
	if (!/^\d+(\.\d+)?$/.test(text) || days > 36_500)
		throw new InvalidArgumentError('It should be a number of days.')
	return days * 86_400_000
}
