import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { BrokerError } from './errors.js'
import { TaskQueue } from './task-queue.js'
import { withTimeout } from './with-timeout.js'

/** Heap of one worker for what is old, in MiB. A cache blob is under one MiB; a worker that needs this much is ill. */
const workerHeap = 256

/**
 * And for what is young, in MiB: tasks that wait for the provider outlive many collections of a smaller one,
 * and are then collected with what is old, at several times the cost.
 */
const workerYoungHeap = 96

/** Milliseconds in which a worker has to load, also on a machine that is busy. */
const startTimeout = 30_000

/** Milliseconds in which threads that do not load have failed. */
const failingTimeout = 2000

/** Milliseconds until threads that did not load are tried again: at first, and at most. */
const firstPause = 250
const longestPause = 10_000

/** Milliseconds that what runs has to end when its pool is closed. */
const closingPatience = 30_000

/** Under which piscina's queue sees something of a task; a thread never does. */
const queueOptions = Piscina.queueOptionsSymbol
const ofPromised = {}

/** Threads of the process that are told apart by their heartbeats: its own are counted, too. */
const beatSlots = 4096

/** Milliseconds between two looks at each thread's heartbeat; it beats as often. */
const lookInterval = 125

/** Looks without a heartbeat after which a thread is said not to answer. */
const silentLooks = 8

export interface ThreadsOptions {
	/** Loaded in each thread. A thread that never gives a heartbeat is not taken for stuck. */
	readonly filename: string
	readonly threads: number
	/** Tasks that one thread takes at a time. */
	readonly concurrency: number
	/** Tasks that wait beyond those, until newcomers are refused. */
	readonly maxQueue: number
	/** Milliseconds without a heartbeat after which a thread is ended. */
	readonly stuckAfter: number
	readonly workerData: object
	/** A task that every thread answers which has loaded. */
	readonly ping: object
}

/** How the threads are. */
export interface ThreadsHealth {
	/** Threads that are there and answer, of those that should be. */
	readonly threads: number
	readonly wanted: number
	/** Threads that ended since the start without being told to. */
	readonly failures: number
	/** Milliseconds that the provider has owed any of the threads its oldest answer. */
	readonly waited: number
	/** No thread is there, and none loads: every task is refused at once until one does. */
	readonly broken: boolean
}

/**
 * The threads themselves: starts them, ends one that is stuck, replaces one that ended. piscina starts no other thread
 * once one has failed to load, and leaves tasks waiting for ever: then a new pool is tried, at growing intervals, and
 * takes the place of the old one when it answers.
 */
export class WorkerThreads {
	readonly #options: ThreadsOptions
	readonly #beats = new Int32Array(new SharedArrayBuffer(4 * beatSlots))
	readonly #waits = new Int32Array(new SharedArrayBuffer(4 * beatSlots))
	readonly #watch: NodeJS.Timeout
	/** How often each thread was looked at since its last heartbeat. */
	readonly #silent = new WeakMap<Worker, { readonly beat: number; looks: number }>()
	/** What each pool was given and has not ended. */
	readonly #tasks = new WeakMap<Piscina, Set<Promise<unknown>>>()
	/** Pools that end what they do, and then their threads. */
	readonly #retiring = new Set<Promise<void>>()
	readonly #closing = new AbortController()
	#pool: Piscina
	#started = false
	#failures = 0
	#inFlight = 0
	#recovery: Promise<void> | undefined

	private constructor(options: ThreadsOptions) {
		this.#options = options
		this.#pool = this.#create()
		this.#watch = setInterval(() => this.#endStuck(), lookInterval).unref()
	}

	/**
	 * Starts the threads and waits until one answers.
	 * @throws ERR_WORKER_FAILED
	 */
	static async start(options: ThreadsOptions): Promise<WorkerThreads> {
		const threads = new WorkerThreads(options)
		try {
			await threads.#prove(threads.#pool)
			threads.#started = true
			threads.#lookAt(threads.#pool)
			return threads
		} catch (cause) {
			clearInterval(threads.#watch)
			await giveUp(threads.#pool)
			throw new BrokerError('ERR_WORKER_FAILED', 'The worker threads do not start.', { cause })
		}
	}

	get health(): ThreadsHealth {
		const { threads } = this.#pool
		const { threads: wanted } = this.#options
		return {
			threads: threads.filter((thread) => (this.#silent.get(thread)?.looks ?? 0) < silentLooks).length,
			wanted,
			failures: this.#failures,
			waited: Math.max(0, ...threads.map(({ threadId }) => Atomics.load(this.#waits, threadId % beatSlots))),
			broken: this.#recovery !== undefined && threads.length === 0,
		}
	}

	/**
	 * No signal: with one, piscina runs the task alone on its thread, and kills the thread to abort it.
	 * @param promised goes on with what was let in before, and is not refused in favour of who came later
	 * @throws ERR_OVERLOADED, ERR_WORKER_FAILED
	 */
	async run<T>(message: object, promised = false): Promise<T> {
		const { length } = this.#pool.threads
		const { threads, concurrency, maxQueue } = this.#options
		if (!promised && this.#inFlight >= threads * concurrency + maxQueue)
			throw new BrokerError('ERR_OVERLOADED', 'Too many tasks are waiting.', { retryAfter: 1 })
		// Each task that finds no room has piscina try another thread: not while threads don't load.
		if (this.#recovery && this.#inFlight >= length * concurrency)
			throw new BrokerError(
				'ERR_WORKER_FAILED',
				length === 0
					? 'The worker threads do not load. They are tried again.'
					: 'A worker thread is missing.',
				{ retryAfter: 1 },
			)
		const pool = this.#pool
		const task: Promise<T> = pool.run(promised ? { ...message, [queueOptions]: ofPromised } : message)
		const tasks = this.#tasks.get(pool)
		this.#inFlight++
		tasks?.add(task)
		try {
			return await task
		} catch (cause) {
			throw translate(cause)
		} finally {
			this.#inFlight--
			tasks?.delete(task)
		}
	}

	/** Takes no more tasks, waits for those that run, ends the threads. */
	async close(): Promise<void> {
		this.#closing.abort()
		clearInterval(this.#watch)
		await this.#recovery
		this.#retire(this.#pool)
		await Promise.all(this.#retiring)
	}

	/**
	 * Ends a pool's threads when they have done what they do. piscina's own `close()` ends all of them as soon as so many
	 * tasks have ended as there are threads, whichever ran them (5.3.2).
	 */
	#retire(pool: Piscina): void {
		const ended = withTimeout(this.#done(pool), closingPatience, () => {})
			.then(() => pool.destroy())
			.finally(() => this.#retiring.delete(ended))
		this.#retiring.add(ended)
	}

	async #done(pool: Piscina): Promise<void> {
		const tasks = this.#tasks.get(pool) ?? new Set()
		while (tasks.size > 0) {
			await Promise.allSettled(tasks)
			// One that wants the credential is sent once more, with it.
			await turn()
		}
	}

	#create(): Piscina {
		const { filename, threads, concurrency, workerData } = this.#options
		const pool = new Piscina({
			filename,
			minThreads: threads,
			maxThreads: threads,
			concurrentTasksPerWorker: concurrency,
			taskQueue: new TaskQueue((task) => Reflect.get(task, queueOptions) === ofPromised),
			// By default a task that was taken and found no room goes to the end of the queue.
			stricterFIFO: true,
			// The default freezes a worker's timers and sockets between tasks.
			atomics: 'disabled',
			recordTiming: false,
			workerData: {
				...workerData,
				heartbeat: { beats: this.#beats, waits: this.#waits, interval: lookInterval },
			},
			env: {},
			resourceLimits: { maxOldGenerationSizeMb: workerHeap, maxYoungGenerationSizeMb: workerYoungHeap },
		})
		this.#tasks.set(pool, new Set())
		// Without a listener an error in an idle worker ends the process. piscina replaces the worker.
		pool.on('error', () => {})
		pool.on('workerDestroy', () => {
			if (!this.#started || this.#closing.signal.aborted || pool !== this.#pool) return
			this.#failures++
			// piscina replaces it in this turn, or not at all.
			setImmediate(() => this.#lookAt(pool))
		})
		return pool
	}

	/** @throws when no thread of the pool loads */
	async #prove(pool: Piscina): Promise<void> {
		const { signal } = this.#closing
		const done = new AbortController()
		const failed = new Promise<never>((_, reject) => {
			const fail = (why: string) => reject(new Error(why))
			// A thread that does not load leaves the task waiting.
			const onDestroy = () => setImmediate(() => pool.threads.length === 0 && fail('No worker loads.'))
			pool.on('workerDestroy', onDestroy)
			signal.addEventListener('abort', () => fail('closed'), { signal: done.signal })
			sleep(startTimeout, undefined, { signal: done.signal }).then(
				() => fail(`No worker answered within ${startTimeout} ms.`),
				() => pool.off('workerDestroy', onDestroy),
			)
		})
		try {
			await Promise.race([pool.run(this.#options.ping), failed])
		} finally {
			done.abort()
		}
	}

	#lookAt(pool: Piscina): void {
		const { aborted } = this.#closing.signal
		if (aborted || pool !== this.#pool || pool.threads.length === this.#options.threads) return
		// What waits for a thread there would wait for ever.
		if (pool.threads.length === 0) void pool.destroy()
		this.#recovery ??= this.#recover().finally(() => {
			this.#recovery = undefined
			// One of the new threads may have failed while the first was proved.
			this.#lookAt(this.#pool)
		})
	}

	/** Tries new threads until some answer. What the old ones are doing they may end. */
	async #recover(): Promise<void> {
		const { signal } = this.#closing
		process.emitWarning('A worker thread does not load. It is tried again.', 'KoaMsalWarning')
		for (let pause = firstPause; !signal.aborted; pause = Math.min(2 * pause, longestPause)) {
			const next = this.#create()
			try {
				await this.#prove(next)
				const old = this.#pool
				this.#pool = next
				this.#retire(old)
				return
			} catch {
				await giveUp(next)
			}
			await sleep(pause, undefined, { signal, ref: false }).catch(() => {})
		}
	}

	/** Ends threads whose event loop has stopped turning: their tasks fail, and they are replaced. */
	#endStuck(): void {
		const most = Math.ceil(this.#options.stuckAfter / lookInterval)
		for (const thread of this.#pool.threads) {
			const beat = Atomics.load(this.#beats, thread.threadId % beatSlots)
			const before = this.#silent.get(thread)
			// Looks are counted, not time: after a machine has slept no thread is stuck. Nor is one that is loading.
			if (before?.beat !== beat || beat === 0) this.#silent.set(thread, { beat, looks: 0 })
			else if (++before.looks === most - 1) void thread.terminate()
		}
	}
}

/**
 * Ends a pool whose threads do not load, after they have failed by themselves: piscina has started another in the place
 * of the first, and Node 20 ends the whole process when a thread is terminated while its module throws.
 */
async function giveUp(pool: Piscina): Promise<void> {
	for (const end = performance.now() + failingTimeout; pool.threads.length > 0; await sleep(10))
		if (performance.now() > end) break
	await pool.destroy()
}

/** A worker answers with values, so what rejects is the pool itself. */
function translate(cause: unknown): BrokerError {
	return new BrokerError('ERR_WORKER_FAILED', 'The worker died under its task. Try again.', {
		retryAfter: 1,
		cause,
	})
}
