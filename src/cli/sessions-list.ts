import type { TokenBroker } from '../broker.js'
import type { ListedSession, SessionFilter } from '../sessions.js'
import { type Output, table } from './output.js'

/** Lists who is signed in: line by line, as they are found. */
export async function listSessions(
	broker: TokenBroker,
	output: Output,
	filter: SessionFilter,
): Promise<void> {
	let count = 0
	for await (const session of broker.sessions.list(filter)) {
		count++
		output.data(toShow(session))
		output.line(rowOf(session).join('  '))
	}
	output.line(countOf(count))
}

/** Lists the sessions of one user. */
export function showSessions(sessions: readonly ListedSession[], output: Output): void {
	output.data(sessions.map(toShow))
	for (const line of table(sessions.map(rowOf))) output.line(line)
	output.line(countOf(sessions.length))
}

/** Field by field: what is found by its user is a key to tokens too. */
function toShow({ id, account, expiresOn }: ListedSession) {
	return {
		id,
		...(account && {
			tenantId: account.tenantId,
			objectId: account.objectId,
			username: account.username,
			...(account.name !== undefined && { name: account.name }),
		}),
		expiresOn: expiresOn.toISOString(),
	}
}

function rowOf({ id, account, expiresOn }: ListedSession): string[] {
	const whose = account
		? [`${account.tenantId}/${account.objectId}`, account.username]
		: ['(of another secret)', '']
	return [id, `until ${expiresOn.toISOString().slice(0, 16)}Z`, ...whose]
}

function countOf(count: number): string {
	return count === 1 ? '1 session' : `${count} sessions`
}
