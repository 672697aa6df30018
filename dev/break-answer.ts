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
	if (fault.stall || fault.drip) {
		response.writeHead(200, { 'content-type': 'application/json', 'content-length': '5000' })
		response.write('{"access_token":"')
	}
	if (fault.drip) {
		const timer = setInterval(() => response.write('x'), 50)
		response.once('close', () => clearInterval(timer))
	}
	return [fault.stall, fault.drip, fault.hang].includes(true)
}

/**
 * Cuts the connection within the answer that is to come, which is whole, and written at once.
 * @param part of its body that passes
 */
export function cutAnswer(response: ServerResponse, part: number): void {
	const { end } = response
	response.end = ((body: string | Buffer) => {
		response.end = end
		const whole = Buffer.from(body)
		const cut = () => setImmediate(() => response.socket?.destroy())
		if (part > 0) response.write(whole.subarray(0, Math.floor(part * whole.length)), cut)
		else cut()
		return response
	}) as ServerResponse['end']
}
