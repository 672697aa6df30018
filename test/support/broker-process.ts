import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Order, ProcessOptions, Reply } from '../fixtures/broker-process.js'

/** Milliseconds that a process has to start, or to answer: whatever it does is bounded, and takes a fraction of it. */
const patience = 120_000

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
	/** Called when the process has ended, whatever ended it, and all that it has said was heard. */
	readonly atEnd = new Set<() => void>()
	readonly #answers = new Map<number, (result: unknown) => void>()
	#last = 0

	private constructor(options: ProcessOptions, { env, preloads = [] }: Surroundings) {
		this.child = fork(program, {
			env: { PATH: process.env.PATH, BROKER_OPTIONS: JSON.stringify(options), ...env },
			// Flags, and not NODE_OPTIONS: the worker threads have those of their process, and no environment.
			execArgv: preloads.map((file) => `--import=${file}`),
		})
		// Its last answers may come after its exit.
		this.child.once('close', () => {
			for (const call of this.atEnd) call()
		})
		this.child.on('message', ({ id, result }: { id: number; result: unknown }) =>
			this.#answers.get(id)?.(result),
		)
	}

	static async start(options: ProcessOptions, surroundings: Surroundings = {}): Promise<BrokerProcess> {
		const started = new BrokerProcess(options, surroundings)
		await started.#answer(0, 'it was ready').catch((error) => {
			started.child.kill('SIGKILL')
			throw error
		})
		return started
	}

	/** @throws when the process ends before it has answered, or takes too long */
	ask(order: Order): Promise<unknown> {
		const id = ++this.#last
		const answer = this.#answer(id, `it had answered ${order.do}`)
		this.child.send({ id, order }, (error) => {
			// The process is gone; its end says so.
			if (error) this.#answers.delete(id)
		})
		return answer
	}

	#answer(id: number, what: string): Promise<unknown> {
		return new Promise((resolve, reject) => {
			const end = () => {
				clearTimeout(timer)
				this.atEnd.delete(ended)
				this.#answers.delete(id)
			}
			const fail = (why: string) => {
				end()
				reject(new Error(`The process with a broker ${why} before ${what}.`))
			}
			const ended = () => fail('ended')
			const timer = setTimeout(() => fail(`took more than ${patience / 1000} s`), patience)
			this.atEnd.add(ended)
			this.#answers.set(id, (result) => {
				end()
				resolve(result)
			})
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
