/** Sessions that are looked at together: their blobs are in memory at a time. */
const together = 16

/** Does something for each, a few at a time. */
export async function forEachFew<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
	for (let at = 0; at < items.length; at += together)
		await Promise.all(items.slice(at, at + together).map(work))
}
