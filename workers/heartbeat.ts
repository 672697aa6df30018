import { threadId, workerData } from 'node:worker_threads'
import { ownData } from './own-data.js'

/** Where this thread shows that its event loop turns, and how often, in milliseconds. */
export interface Heartbeat {
	readonly beats: Int32Array
	/** Milliseconds that somebody has owed this thread its oldest answer. */
	readonly waits: Int32Array
	readonly interval: number
}

const { beats, waits, interval } = ownData<{ readonly heartbeat: Heartbeat }>(workerData).heartbeat

/**
 * Begins, when all is loaded: a thread that is loading, on a machine that is busy, is not stuck.
 * @param waited milliseconds that somebody has owed this thread its oldest answer
 */
export function startHeartbeat(waited = () => 0): void {
	const beat = () => {
		Atomics.store(waits, threadId % waits.length, Math.round(waited()))
		Atomics.add(beats, threadId % beats.length, 1)
	}
	beat()
	setInterval(beat, interval).unref()
}
