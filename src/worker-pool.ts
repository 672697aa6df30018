import { BrokerError } from './errors.js'
import type { Settings } from './settings.js'
import type { TaskAnswer, TaskMessage, TaskName, WireCredential, WireTasks, WorkerSettings } from './wire.js'
import { withTimeout } from './with-timeout.js'
import { type ThreadsHealth, WorkerThreads } from './worker-threads.js'

/** Loaded by name, in a thread of its own: nothing here imports it. */
const workerFile = new URL('../workers/main.js', import.meta.url).href

/** Milliseconds without a sign of life after which a thread is stuck, at least. */
const leastStuckAfter = 2000

/** The tasks of the threads in which MSAL, crypto, the token store and the provider are waited for. */
export class WorkerPool {
	readonly #threads: WorkerThreads
	readonly #taskTimeout: number
	#closed = false
	/** Tasks handed over since the start. */
	tasks = 0

	#credential: WireCredential
	#credentialVersion = 0

	private constructor(threads: WorkerThreads, taskTimeout: number, credential: WireCredential) {
		this.#threads = threads
		this.#taskTimeout = taskTimeout
		this.#credential = credential
	}

	/**
	 * Starts the threads and waits until one answers: a worker file that does not load leaves tasks hanging.
	 * @throws ERR_WORKER_FAILED
	 */
	static async start(
		settings: Settings,
		credential: WireCredential,
		filename = workerFile,
	): Promise<WorkerPool> {
		const { threads, concurrency, maxQueue, taskTimeout } = settings.pool
		const ping: TaskMessage<'ping'> = { task: 'ping', params: {}, credentialVersion: 0 }
		const started = await WorkerThreads.start({
			filename,
			threads,
			concurrency,
			maxQueue,
			stuckAfter: Math.max(taskTimeout, leastStuckAfter),
			workerData: toWorkerSettings(settings, credential),
			ping,
		})
		return new WorkerPool(started, taskTimeout, credential)
	}

	/** How the threads are. */
	get health(): ThreadsHealth {
		return this.#threads.health
	}

	/** @throws ERR_OVERLOADED at the deadline, ERR_WORKER_FAILED, ERR_BROKER_CLOSED, and whatever the task throws */
	run<T extends TaskName>(task: T, params: WireTasks[T]['params']): Promise<WireTasks[T]['result']> {
		return this.within(this.begin(task, params))
	}

	/**
	 * A task without a deadline: for what has to be done with its result even when nobody waits for it any more.
	 * @param promised see {@link WorkerThreads.run}
	 */
	async begin<T extends TaskName>(
		task: T,
		params: WireTasks[T]['params'],
		promised = false,
	): Promise<WireTasks[T]['result']> {
		if (this.#closed) throw new BrokerError('ERR_BROKER_CLOSED', 'The broker was closed.')
		this.tasks++
		let answer = await this.#send(task, params, promised)
		if ('wants' in answer) answer = await this.#send(task, params, true, this.#credential)
		if (answer.ok) return answer.value
		throw 'wants' in answer
			? new BrokerError('ERR_WORKER_FAILED', 'The worker does not take the credential.')
			: BrokerError.fromWire(answer.error)
	}

	/** Waits for work of the pool no longer than a task may take. @throws ERR_OVERLOADED */
	within<T>(work: Promise<T>, milliseconds = this.#taskTimeout): Promise<T> {
		return withTimeout(work, milliseconds, () => {
			throw new BrokerError('ERR_OVERLOADED', `No worker was done within ${milliseconds} ms.`)
		})
	}

	/** Has every later task done with this credential. */
	setCredential(credential: WireCredential): void {
		this.#credential = credential
		this.#credentialVersion++
	}

	#send<T extends TaskName>(
		task: T,
		params: WireTasks[T]['params'],
		promised: boolean,
		credential?: WireCredential,
	): Promise<TaskAnswer<WireTasks[T]['result']>> {
		const message: TaskMessage<T> = {
			task,
			params,
			credentialVersion: this.#credentialVersion,
			...(credential && { credential }),
		}
		return this.#threads.run(message, promised)
	}

	/** Takes no more tasks, waits for those that run, ends the threads. */
	async close(): Promise<void> {
		if (this.#closed) return
		this.#closed = true
		await this.#threads.close()
	}
}

function toWorkerSettings(
	{ auth, secrets, store, namespace, network, cache, refresh }: Settings,
	credential: WireCredential,
): WorkerSettings {
	return {
		clientId: auth.clientId,
		authority: auth.authority,
		knownAuthorities: auth.knownAuthorities,
		...(auth.authorityMetadata !== undefined && { authorityMetadata: auth.authorityMetadata }),
		allowedTenants: auth.allowedTenants,
		clientCapabilities: auth.clientCapabilities,
		credential,
		credentialVersion: 0,
		secrets,
		...(store.kind === 'redis' && { redis: store.connection }),
		namespace,
		network,
		expiryMargin: cache.expiryMargin,
		maxBlobBytes: cache.maxBlobBytes,
		refresh: { lease: refresh.lease },
	}
}
