import { createSecretKey } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import workerThreads from 'node:worker_threads'
import { createSealer, type Sealer } from '../../src/sealing.js'
import type { TaskAnswer, TaskMessage, TaskName, WireTasks, WorkerSettings } from '../../src/wire.js'
import type { Heartbeat } from '../../workers/heartbeat.js'
import type { CannedProvider } from './canned-provider.js'
import { clientId } from './fuzz-application.js'

/** The worker's own code, in this thread: its errors, its prototypes and its time can be watched. */
export interface WorkerTasks {
	run<T extends TaskName>(
		task: T,
		params: WireTasks[T]['params'],
	): Promise<TaskAnswer<WireTasks[T]['result']>>
	readonly sealer: Sealer
	close(): Promise<void>
}

export async function loadWorker(provider: CannedProvider): Promise<WorkerTasks> {
	const secrets = [createSecretKey(Buffer.from('the secret of a worker under fuzz, 0123456789'))]
	const settings: WorkerSettings = {
		clientId,
		authority: provider.authority,
		knownAuthorities: [provider.host],
		authorityMetadata: provider.metadata,
		allowedTenants: 'any',
		clientCapabilities: ['cp1'],
		credential: { kind: 'secret', secret: createSecretKey(Buffer.from('no-secret')) },
		credentialVersion: 0,
		secrets,
		namespace: 'fuzz',
		network: { timeout: 5000, ca: provider.ca },
		expiryMargin: 300_000,
		maxBlobBytes: 1_048_576,
		refresh: { lease: 10_000 },
	}
	// What a worker is told when it starts, and reads when it loads. It loads once: a process has one provider.
	const heartbeat: Heartbeat = { beats: new Int32Array(1), waits: new Int32Array(1), interval: 60_000 }
	;(workerThreads as { workerData: unknown }).workerData = { ...settings, heartbeat }
	syncBuiltinESMExports()
	const { default: run } = await import('../../workers/main.js')
	const { http, settings: loaded } = await import('../../workers/context.js')
	if (loaded.authority !== settings.authority)
		throw new Error('The worker was loaded before, with another provider.')
	return {
		run: (task, params) => run({ task, params, credentialVersion: 0 } as TaskMessage<typeof task>),
		sealer: createSealer(secrets, clientId),
		close: () => http.close(),
	}
}
