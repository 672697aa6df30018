import type { Opened } from '../src/sealing.js'
import type { CleanCounts, WireTasks } from '../src/wire.js'
import { redisStore, sealer } from './context.js'
import { forEachFew } from './for-each-few.js'
import { openImported } from './imported.js'
import { type Sight, seeSession } from './see-session.js'
import { leaveSession } from './user-index.js'

type Params = WireTasks['cleanSessions']['params']
type Store = NonNullable<typeof redisStore>
type Verdict = keyof CleanCounts | undefined

/**
 * One step through all that is stored. Nothing is touched that a sign-in or a refresh under way has written: marks of
 * transactions, leases and throttles end by themselves, and are not looked at.
 */
export async function cleanSessions(params: Params): Promise<WireTasks['cleanSessions']['result']> {
	const counts = { damaged: 0, orphaned: 0, older: 0, unreadable: 0, left: 0 }
	if (!redisStore) return { counts }
	const store = redisStore
	const { keys, next } = await store.scan(params.from)
	await forEachFew(keys, async (key) => {
		const { kind, name } = store.kindOf(key)
		const orphaned = kind === 'i' ? await store.index.prune(key, params.settledBefore) : 0
		counts.orphaned += orphaned
		const verdict =
			kind === 't'
				? await cleanTokens(store, name, params)
				: kind === 's'
					? await cleanSealed(store, key, params, (sealed) => sealer.open('session', key, sealed))
					: kind === 'o'
						? await cleanSealed(store, key, params, (sealed) => openImported(name, sealed))
						: undefined
		if (verdict) counts[verdict]++
	})
	return { counts, ...(next && { next }) }
}

async function cleanTokens(store: Store, partition: string, params: Params): Promise<Verdict> {
	const seen = await seeSession(partition)
	const verdict = judge(seen, params)
	if (!verdict || verdict === 'left') return verdict
	await store.end(partition)
	if (seen.account) await leaveSession(seen.account, partition)
	return verdict
}

function judge({ state, expiresOn }: Sight, { endsBefore, unknownSecrets }: Params): Verdict {
	if (state === 'gone') return undefined
	if (state === 'remains' || state === 'damaged') return 'damaged'
	if (endsBefore !== undefined && expiresOn < endsBefore) return 'older'
	return state === 'open' ? undefined : unreadable(state, unknownSecrets)
}

/** Another format may be a newer version's, whose work is not ours to judge. */
function unreadable(state: 'unknown-key' | 'unknown-format', unknownSecrets: boolean): Verdict {
	return state === 'unknown-key' && unknownSecrets ? 'unreadable' : 'left'
}

/** A web session, or the note of an imported one. */
async function cleanSealed(
	store: Store,
	key: string,
	{ unknownSecrets }: Params,
	open: (sealed: string) => Opened | 'used',
): Promise<Verdict> {
	const sealed = await store.readSealed(key)
	if (sealed === null) return undefined
	const opened = open(sealed)
	if (opened === 'used' || opened.ok) return undefined
	const verdict = opened.reason === 'damaged' ? 'damaged' : unreadable(opened.reason, unknownSecrets)
	if (verdict !== 'left') await store.removeUnchanged(key, sealed)
	return verdict
}
