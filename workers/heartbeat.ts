import { threadId, workerData } from 'node:worker_threads'
import { ownData } from './own-data.js'

/** Where this thread shows that its event loop turns, and how often, in milliseconds. */
export interface Heartbeat {
	readonly beats: Int32Array
	readonly interval: number
}

const { beats, interval } = ownData<{ readonly heartbeat: Heartbeat }>(workerData).heartbeat
const beat = () => Atomics.add(beats, threadId % beats.length, 1)
beat()
setInterval(beat, interval).unref()
