import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A way over TCP to a Redis, on which whatever can happen to a network happens. */
export interface RedisLink {
	readonly port: number
	/** Connections that were made since the start. */
	readonly connections: number
	/** Bytes of answers that have passed. */
	readonly answered: number
	/** Where the answers end that pass during the work, in bytes from the first of them. */
	endsOfAnswers(work: () => Promise<unknown>): Promise<number[]>
	/** From now on, every answer arrives this many milliseconds later. */
	delay(milliseconds: number): void
	/** Cuts the connection on which the next bytes of answers but so many come, without them. @returns when it did */
	cutAfter(bytes: number): Promise<void>
	/** Each answer is, by this chance, cut off with its connection. `random` is between 0 and 1. */
	cutAtRandom(chance: number, random: () => number): void
	/** Every connection is cut, and new ones are too as soon as they are made, until told otherwise. */
	refuse(refuses: boolean): void
	/** Every connection that there is now leads nowhere any more; new ones pass. */
	lose(): void
	/** New connections lead to another server, as when a name gets another address. */
	lead(path: string): void
	close(): Promise<void>
}

/** @param path the unix socket of the server */
export async function createLink(path: string): Promise<RedisLink> {
	let target = path
	let connections = 0
	let answered = 0
	let onAnswer = () => {}
	let latency = 0
	let left: { bytes: number; readonly cut: () => void } | undefined
	let unlucky = () => false
	let refuses = false
	const pairs = new Set<readonly [Socket, Socket]>()

	/** What of an answer passes; not all of it: the connection ends behind it. */
	const passing = (answer: Buffer): Buffer => {
		if (unlucky()) return answer.subarray(0, 0)
		if (!left || left.bytes >= answer.length) {
			if (left) left.bytes -= answer.length
			return answer
		}
		const part = answer.subarray(0, left.bytes)
		left.cut()
		left = undefined
		return part
	}
	const server = createServer((near) => {
		if (refuses) return void near.resetAndDestroy()
		connections++
		const far = connect(target)
		const pair = [near, far] as const
		pairs.add(pair)
		near.setNoDelay().pipe(far)
		let last = Promise.resolve()
		let onTheirWay = 0
		far.on('data', (answer: Buffer) => {
			if (near.destroyed || !pairs.has(pair)) return
			const part = passing(answer)
			answered += part.length
			onAnswer()
			const deliver = () => {
				near.write(part)
				if (part.length < answer.length) near.end().destroySoon()
			}
			if (latency === 0 && onTheirWay === 0) return deliver()
			// One after the other: of two timers the one that was set later may fire first.
			const due = performance.now() + latency
			onTheirWay++
			last = last.then(async () => {
				await sleep(Math.max(0, due - performance.now()))
				onTheirWay--
				deliver()
			})
		})
		for (const socket of pair)
			socket
				.on('error', () => {})
				.on('close', () => {
					pairs.delete(pair)
					for (const other of pair) other.destroy()
				})
	})
	server.listen(0, '127.0.0.1')
	await once(server, 'listening')
	return {
		port: (server.address() as AddressInfo).port,
		get connections() {
			return connections
		},
		get answered() {
			return answered
		},
		async endsOfAnswers(work) {
			const before = answered
			const ends: number[] = []
			onAnswer = () => ends.push(answered - before)
			await work()
			onAnswer = () => {}
			return ends
		},
		delay(milliseconds) {
			latency = milliseconds
		},
		cutAfter(bytes) {
			return new Promise((cut) => {
				left = { bytes, cut }
			})
		},
		cutAtRandom(chance, random) {
			unlucky = () => chance > 0 && random() < chance
		},
		refuse(from) {
			refuses = from
			if (refuses) for (const pair of pairs) for (const socket of pair) socket.destroy()
		},
		lose() {
			for (const [near, far] of pairs) {
				near.unpipe().resume()
				far.removeAllListeners('data').resume()
			}
		},
		lead(other) {
			target = other
		},
		async close() {
			for (const pair of pairs) for (const socket of pair) socket.destroy()
			server.close()
			await once(server, 'close')
		},
	}
}
