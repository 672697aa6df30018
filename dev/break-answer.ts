import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultTiming } from './faults.js'

/**
 * Does what a fault does to the connection itself.
 * @returns whether the request is over and nobody must answer it any more
 */
export async function breakAnswer(fault: FaultTiming, response: ServerResponse): Promise<boolean> {
	if (fault.delayMs) await sleep(fault.delayMs)
	if (fault.drop) {
		response.socket?.destroy()
		return true
	}
	if (fault.halfBody) {
		response.writeHead(200, { 'content-type': 'application/json', 'content-length': '5000' })
		// The bytes must be out before the connection goes, or the client sees a plain reset.
		response.write('{"access_token":"', () => setImmediate(() => response.socket?.destroy()))
		return true
	}
	if (fault.stall) {
		response.writeHead(200, { 'content-type': 'application/json', 'content-length': '5000' })
		response.write('{"access_token":"')
	}
	return fault.stall === true || fault.hang === true
}
