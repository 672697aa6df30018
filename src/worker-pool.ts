import { createSecretKey } from 'node:crypto'
import { Piscina } from 'piscina'
import { BrokerError } from './errors.js'
import type { Settings } from './settings.js'
import type { TaskAnswer, TaskMessage, TaskName, WireCredential, WireTasks, WorkerSettings } from './wire.js'

/** Heap of one worker, in MiB. A cache blob is under one MiB; a worker that needs this much is ill. */
const workerHeap = 256

/**
 * Of which, for what is young, in MiB: tasks that wait for the provider outlive many collections of a smaller one,
 * and are then collected with what is old, at several times the cost.
 */
const workerYoungHeap = 96

/** Milliseconds in which a worker has to load, also on a machine that is busy. */
const startTimeout = 30_000

/** Loaded by name, in a thread of its own: nothing here imports it. */
const workerFile = new URL('../workers/main.js', import.meta.url).href

/** The threads in which MSAL, crypto, the token store and the provider are waited for. */
export class WorkerPool {
	readonly #pool: Piscina
	readonly #taskTimeout: number
	#closed = false
	/** Tasks handed over since the start. */
	tasks = 0

	#credential: WireCredential
	#credentialVersion = 0

	private constructor(settings: Settings, credential: WireCredential, filename: string) {
		const { threads, concurrency, maxQueue, taskTimeout } = settings.pool
		this.#taskTimeout = taskTimeout
		this.#credential = credential
		this.#pool = new Piscina({
			filename,
			minThreads: threads,
			maxThreads: threads,
			concurrentTasksPerWorker: concurrency,
			maxQueue,
			// The default freezes a worker's timers and sockets between tasks.
			atomics: 'disabled',
			recordTiming: false,
			workerData: toWorkerSettings(settings, credential),
			env: {},
			resourceLimits: { maxOldGenerationSizeMb: workerHeap, maxYoungGenerationSizeMb: workerYoungHeap },
		})
		// Without a listener an error in an idle worker ends the process. piscina replaces the worker.
		this.#pool.on('error', () => {})
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
		const pool = new WorkerPool(settings, credential, filename)
		try {
			await pool.within(pool.begin('ping', {}), startTimeout)
		} catch (cause) {
			await pool.#pool.destroy()
			throw new BrokerError('ERR_WORKER_FAILED', 'The worker threads do not start.', { cause })
		}
		return pool
	}

	/** @throws ERR_OVERLOADED at the deadline, ERR_WORKER_FAILED, ERR_BROKER_CLOSED, and whatever the task throws */
	run<T extends TaskName>(task: T, params: WireTasks[T]['params']): Promise<WireTasks[T]['result']> {
		return this.within(this.begin(task, params))
	}

	/** A task without a deadline: for what has to be done with its result even when nobody waits for it any more. */
	async begin<T extends TaskName>(task: T, params: WireTasks[T]['params']): Promise<WireTasks[T]['result']> {
		if (this.#closed) throw new BrokerError('ERR_BROKER_CLOSED', 'The broker was closed.')
		this.tasks++
		try {
			let answer = await this.#send(task, params)
			if ('wants' in answer) answer = await this.#send(task, params, this.#credential)
			if (answer.ok) return answer.value
			throw 'wants' in answer
				? new BrokerError('ERR_WORKER_FAILED', 'The worker does not take the credential.')
				: BrokerError.fromWire(answer.error)
		} catch (cause) {
			throw cause instanceof BrokerError ? cause : this.#translate(cause, task)
		}
	}

	/** Waits for work of the pool no longer than a task may take. @throws ERR_OVERLOADED */
	async within<T>(work: Promise<T>, milliseconds = this.#taskTimeout): Promise<T> {
		let timer: NodeJS.Timeout | undefined
		const deadline = new Promise<never>((_, reject) => {
			timer = setTimeout(() => {
				reject(new BrokerError('ERR_OVERLOADED', `No worker was done within ${milliseconds} ms.`))
			}, milliseconds)
		})
		try {
			return await Promise.race([work, deadline])
		} finally {
			clearTimeout(timer)
		}
	}

	/** Has every later task done with this credential. */
	setCredential(credential: WireCredential): void {
		this.#credential = credential
		this.#credentialVersion++
	}

	/** No signal: with one, piscina runs the task alone on its thread, and kills the thread to abort it. */
	#send<T extends TaskName>(
		task: T,
		params: WireTasks[T]['params'],
		credential?: WireCredential,
	): Promise<TaskAnswer<WireTasks[T]['result']>> {
		const message: TaskMessage<T> = {
			task,
			params,
			credentialVersion: this.#credentialVersion,
			...(credential && { credential }),
		}
		return this.#pool.run(message)
	}

	/** Takes no more tasks, waits for those that run, ends the threads. */
	async close(): Promise<void> {
		if (this.#closed) return
		this.#closed = true
		await this.#pool.close()
	}

	/** A worker answers with values, so what rejects is the pool itself. */
	#translate(cause: unknown, task: TaskName): BrokerError {
		const message = cause instanceof Error ? cause.message : ''
		if (/queue (size )?is at limit/i.test(message))
			return new BrokerError('ERR_OVERLOADED', 'Too many tasks are waiting.', { retryAfter: 1, cause })
		return new BrokerError('ERR_WORKER_FAILED', `The worker died under ${task}. Try again.`, {
			retryAfter: 1,
			cause,
		})
	}
}

function toWorkerSettings(
	{ auth, secrets, store, namespace, network, cache, refresh }: Settings,
	credential: WireCredential,
): WorkerSettings {
	const { timeout, ca, proxy, noProxy } = network
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
		network: {
			timeout,
			...(ca !== undefined && { ca }),
			...(noProxy !== undefined && { noProxy }),
			// It may carry a password.
			...(proxy !== undefined && { proxy: createSecretKey(Buffer.from(proxy)) }),
		},
		expiryMargin: cache.expiryMargin,
		refresh: { lease: refresh.lease },
	}
}
