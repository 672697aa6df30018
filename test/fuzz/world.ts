import { type CannedProvider, createCannedProvider } from './canned-provider.js'
import { createFuzzApplication, type FuzzApplication } from './fuzz-application.js'
import { loadWorker, type WorkerTasks } from './worker-tasks.js'

/** What targets share, each part made when it is first asked for. */
export interface FuzzWorld {
	/** The provider's end of the network. */
	provider(): Promise<CannedProvider>
	/** A Koa application with everything of this library in it. */
	application(): Promise<FuzzApplication>
	/** The worker's tasks, in this thread. */
	worker(): Promise<WorkerTasks>
	close(): Promise<void>
}

export function createFuzzWorld(): FuzzWorld {
	const made: Promise<{ close(): Promise<void> }>[] = []
	const once = <T extends { close(): Promise<void> }>(make: () => Promise<T>) => {
		let part: Promise<T> | undefined
		return () => {
			if (!part) {
				part = make()
				made.push(part)
			}
			return part
		}
	}
	const provider = once(createCannedProvider)
	return {
		provider,
		application: once(async () => createFuzzApplication(await provider())),
		worker: once(async () => loadWorker(await provider())),
		async close() {
			// A part that was not made keeps none of the others open.
			for (const part of made.reverse())
				await part.then(
					(one) => one.close(),
					() => {},
				)
		},
	}
}
