import { BrokerError } from '../src/errors.js'
import type { TaskAnswer, TaskMessage, TaskName, WireTasks } from '../src/wire.js'
import { acquire } from './acquire.js'
import { checkConnectivity } from './check-connectivity.js'
import { cleanSessions } from './clean-sessions.js'
import { http, redisStore } from './context.js'
import { useCredential } from './credential.js'
import { startHeartbeat } from './heartbeat.js'
import { importRecord } from './import-record.js'
import { findImported, takeImported } from './imported.js'
import { listSessions } from './list-sessions.js'
import { authority } from './provider.js'
import { recordMail } from './record-mail.js'
import { redeem } from './redeem.js'
import { save } from './save.js'
import { seeSession } from './see-session.js'
import { findSessions, leaveSession } from './user-index.js'

startHeartbeat(http.waited)

type Tasks = { [T in TaskName]: (params: WireTasks[T]['params']) => Promise<WireTasks[T]['result']> }

const tasks: Tasks = {
	acquire,
	findImported,
	importRecord,
	redeem,
	recordMail,
	save,
	takeImported,
	exists: async ({ partition }) => ({ exists: redisStore ? await redisStore.exists(partition) : true }),
	metadata: async () => (await authority()).metadata,
	signOut: async ({ partition, account }) => {
		await Promise.all([redisStore?.end(partition), account && leaveSession(account, partition)])
		return {}
	},
	findSessions: async ({ user }) => ({ sessions: await findSessions(user) }),
	whose: async ({ partition }) => {
		const seen = await seeSession(partition)
		return {
			exists: seen.state !== 'gone' && seen.state !== 'remains',
			...(seen.account && { account: seen.account }),
		}
	},
	listSessions,
	cleanSessions,
	checkConnectivity: async () => ({ checks: await checkConnectivity() }),
	endSignIn: async ({ transaction, lifetime }) => {
		await redisStore?.endClaim(transaction, lifetime)
		return {}
	},
	failClaim: async ({ transaction }) => {
		await redisStore?.failClaim(transaction)
		return {}
	},
	findClaim: async ({ transaction }) => {
		const value = await redisStore?.findClaim(transaction)
		return value === undefined ? {} : { value }
	},
	ping: async () => ({
		store: redisStore
			? await redisStore.probe().then(
					() => true,
					() => false,
				)
			: true,
	}),
}

/** The one entry of the pool. Errors lose their class and fields on the way across, so they travel as values. */
export default async function run<T extends TaskName>(
	message: TaskMessage<T>,
): Promise<TaskAnswer<WireTasks[T]['result']>> {
	if (!useCredential(message.credentialVersion, message.credential)) return { ok: false, wants: 'credential' }
	try {
		return { ok: true, value: await tasks[message.task](message.params) }
	} catch (error) {
		if (error instanceof BrokerError) return { ok: false, error: error.toWire() }
		const kind = error instanceof Error ? error.name : typeof error
		return {
			ok: false,
			error: new BrokerError('ERR_WORKER_FAILED', `The task ${message.task} failed: ${kind}.`).toWire(),
		}
	}
}
