import { type ChildProcess, fork } from 'node:child_process'

/** Calls that a process answers: for each a parameter and a result that survive JSON. */
export type Calls = Record<string, (params: never) => unknown>

export interface RunningProcess<C extends Calls> {
	ask<K extends keyof C & string>(call: K, params: Parameters<C[K]>[0]): Promise<Awaited<ReturnType<C[K]>>>
	/** Lets it close what it holds, and waits for its end. */
	stop(): Promise<void>
}

interface Answer {
	readonly id: number
	readonly value?: unknown
	readonly failure?: string
}

/** Starts a compiled file of this folder as a process of its own; Node's own flags, `--cpu-prof` say, go along. */
export function startProcess<C extends Calls>(file: string, env: NodeJS.ProcessEnv = {}): RunningProcess<C> {
	const child = fork(new URL(file, import.meta.url), {
		env: { ...process.env, ...env },
		execArgv: [...process.execArgv, '--expose-gc'],
	})
	const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
	let calls = 0
	child.on('message', ({ id, value, failure }: Answer) => {
		const one = waiting.get(id)
		waiting.delete(id)
		if (failure === undefined) one?.resolve(value as never)
		else one?.reject(new Error(failure))
	})
	child.once('exit', (code, signal) => {
		for (const one of waiting.values()) one.reject(new Error(`${file} ended early (${signal ?? code})`))
		waiting.clear()
	})
	return {
		ask: (call, params) =>
			new Promise((resolve, reject) => {
				const id = ++calls
				waiting.set(id, { resolve, reject })
				child.send({ id, call, params }, (error) => error && reject(error))
			}),
		stop: () => ended(child),
	}
}

async function ended(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null) return
	const end = new Promise((resolve) => child.once('exit', resolve))
	child.disconnect()
	const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
	await end
	clearTimeout(late)
}

/** The other side: answers calls until the parent lets go, or is gone. */
export function answerCalls<C extends Calls>(calls: C, close: () => unknown = () => {}): void {
	// A parent that has gone away takes no answer.
	const answer = (message: Answer) => process.send?.(message, undefined, undefined, () => {})
	process.on('message', async ({ id, call, params }: { id: number; call: string; params: never }) => {
		try {
			answer({ id, value: await calls[call]?.(params) })
		} catch (error) {
			answer({ id, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
		}
	})
	process.once('disconnect', async () => {
		await close()
		process.exit()
	})
}
