/**
 * When a held token is to be refreshed behind its callers, in milliseconds since the epoch.
 *
 * The time until then is spread by a quarter to either side: sessions that began in the same second, after an
 * outage, say, would otherwise refresh in the same second for ever. At that spread a second of the rounds to come
 * sees no more than about twice the mean. It ends before the token does, so that nobody comes too late for it.
 *
 * @param refreshOn when the provider suggests it, if it does (`refresh_in`)
 * @param usableUntil from when the token is handed out no more
 * @param after the part of its life after which it is due where the provider suggests nothing
 * @param random from 0 to 1
 */
export function refreshTime(
	{
		now,
		refreshOn,
		expiresOn,
		usableUntil,
		after,
	}: {
		readonly now: number
		readonly refreshOn: number | undefined
		readonly expiresOn: number
		readonly usableUntil: number
		readonly after: number
	},
	random: () => number = Math.random,
): number {
	const due = refreshOn ?? now + (expiresOn - now) * after
	const wait = Math.max(0, Math.min(due - now, (usableUntil - now) * 0.75))
	return now + wait * (0.75 + random() / 2)
}
