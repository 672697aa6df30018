import type { TokenBroker } from '../broker.js'
import type { CleanOptions } from '../sessions.js'
import { type Output, table } from './output.js'

/** Removes what serves nobody any more. */
export async function cleanSessions(
	broker: TokenBroker,
	output: Output,
	options: CleanOptions,
): Promise<void> {
	const counts = await broker.sessions.clean(options)
	output.data(counts)
	const rows = [
		[String(counts.damaged), 'damaged, removed'],
		[String(counts.orphaned), 'entries of the user index that led nowhere, removed'],
		[String(counts.older), 'older than was asked for, ended'],
		[String(counts.unreadable), 'sealed under a secret that is not among these, removed'],
		[String(counts.left), 'not readable with these secrets, left alone'],
	]
	for (const line of table(rows)) output.line(line)
}
