import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Order, ProcessOptions, Reply } from '../fixtures/broker-process.js'

const program = fileURLToPath(new URL('../fixtures/broker-process.js', import.meta.url))

/** What a process finds beside its options. */
export interface Surroundings {
	readonly env?: NodeJS.ProcessEnv
	/** Modules that the process and its threads load first. */
	readonly preloads?: readonly string[]
}

/** How a call has ended: its outcome, or the code of its error. */
export const wordOf = (reply: Reply | undefined) => reply && ('error' in reply ? reply.error : reply.outcome)
/** Each once. */
export const wordsOf = (replies: readonly Reply[]) => [...new Set(replies.map(wordOf))]

/** A real process with a broker of its own. */
export class BrokerProcess {
	readonly child: ChildProcess
	/** Called when the process has ended, whatever ended it. */
	readonly atEnd = new Set<() => void>()
	readonly #answers = new Map<number, (result: unknown) => void>()
	#last = 0

	private constructor(options: ProcessOptions, { env, preloads = [] }: Surroundings) {
		this.child = fork(program, {
			env: { PATH: process.env.PATH, BROKER_OPTIONS: JSON.stringify(options), ...env },
			// Flags, and not NODE_OPTIONS: the worker threads have those of their process, and no environment.
			execArgv: preloads.map((file) => `--import=${file}`),
		})
		this.child.once('exit', () => {
			for (const call of this.atEnd) call()
		})
		this.child.on('message', ({ id, result }: { id: number; result: unknown }) =>
			this.#answers.get(id)?.(result),
		)
	}

	static async start(options: ProcessOptions, surroundings: Surroundings = {}): Promise<BrokerProcess> {
		const started = new BrokerProcess(options, surroundings)
		await Promise.race([
			new Promise((resolve) => started.#answers.set(0, resolve)),
			once(started.child, 'exit').then(() => {
				throw new Error('the process with a broker ended before it was ready')
			}),
		])
		return started
	}

	ask(order: Order): Promise<unknown> {
		const id = ++this.#last
		return new Promise((resolve) => {
			this.#answers.set(id, resolve)
			this.child.send({ id, order })
		})
	}

	async acquire(sessions: readonly object[], request?: object): Promise<Reply[]> {
		return (await this.ask({ do: 'acquire', sessions, ...(request && { request }) })) as Reply[]
	}

	/** The process ends by itself after its broker is closed. */
	async close(): Promise<void> {
		if (this.child.exitCode !== null || this.child.signalCode !== null) return
		const ended = once(this.child, 'exit')
		// One that was told by a signal is not told again.
		if (this.child.connected) this.child.send({ id: ++this.#last, order: { do: 'close' } })
		await ended
	}
}
