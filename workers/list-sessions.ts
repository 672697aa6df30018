import type { ListedPartition, WireTasks } from '../src/wire.js'
import { redisStore, sessionIds } from './context.js'
import { forEachFew } from './for-each-few.js'
import { seeSession } from './see-session.js'

/** One step through all sessions. What is damaged is not one: nobody can use it. */
export async function listSessions({
	from,
}: WireTasks['listSessions']['params']): Promise<WireTasks['listSessions']['result']> {
	if (!redisStore) return { sessions: [] }
	const { keys, next } = await redisStore.scan(from)
	const partitions = keys
		.map(redisStore.kindOf)
		.filter(({ kind, name }) => kind === 't' && /^[\w-]{43}$/.test(name))
		.map(({ name }) => name)
	const sessions: ListedPartition[] = []
	await forEachFew(partitions, async (partition) => {
		const { state, account, expiresOn } = await seeSession(partition)
		if (state === 'gone' || state === 'remains' || state === 'damaged') return
		sessions.push({ id: sessionIds.idOf(partition), expiresOn, ...(account && { account }) })
	})
	return { sessions, ...(next && { next }) }
}
