import { LRUCache } from 'lru-cache'
import { requireTicket, type SessionLike } from '../session.js'

/** Milliseconds for which somebody is taken to be in the groups that they were found in. */
const believedFor = 60_000

/** Group ids that are remembered, of all people together: some 10 MB. */
const remembered = 100_000

/** Remembers a little while who is in which groups: a guard asks with every request. Ids in lower case. */
export function rememberGroups(
	groupsOf: (session: SessionLike) => Promise<readonly string[]>,
): (session: SessionLike) => Promise<ReadonlySet<string>> {
	const known = new LRUCache<string, ReadonlySet<string>, SessionLike>({
		maxSize: remembered,
		ttl: believedFor,
		// Else whoever is being asked about when the room is full has an error in place of an answer.
		ignoreFetchAbort: true,
		sizeCalculation: (groups) => groups.size + 1,
		fetchMethod: async (_partition, _stale, { context }) =>
			new Set((await groupsOf(context)).map((id) => id.toLowerCase())),
	})
	return async (session) => {
		const { partition } = requireTicket(session)
		return (await known.fetch(partition, { context: session })) ?? new Set()
	}
}
