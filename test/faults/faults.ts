import { setTimeout as sleep } from 'node:timers/promises'
import type { Sabotage } from '../fixtures/saboteur.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { seeded } from './account.js'
import { type Place, type Rig, threadsOfEach } from './rig.js'

/**
 * What may cost a session its newest refresh token, where the provider takes each once: the provider's answer is cut off
 * (`answer`) or may come too late (`late answer`), a thread or a process ends under the refresh, or the store takes no
 * write, which matters when the process ends meanwhile.
 */
export type Danger = 'answer' | 'late answer' | 'thread' | 'process' | 'write'

/** Something that breaks, and is mended. */
export interface Fault {
	begin(rig: Rig): unknown
	/** Undoes it. */
	end(rig: Rig): unknown
	readonly danger?: Danger
	/** Threads that end of it, at least and at most. Default none. */
	readonly endsThreads?: readonly [number, number]
	/** What grows when it strikes, where the requests need not show it. */
	readonly evidence?: (rig: Rig) => number
}

/** A fault, and from when to when it was there, of `performance.now()`. */
export interface Stroke {
	readonly fault: Fault
	readonly from: number
	readonly to: number
}

const nothing = () => {}
const running = (places: readonly Place[]) => places.filter((place) => place.running !== undefined)
const pick = <T>(random: () => number, list: readonly T[]) => list[Math.floor(random() * list.length)]
const call =
	(...command: readonly [string, ...string[]]) =>
	async ({ redis }: Rig) => {
		const client = redis.client()
		await client.call(...command)
		client.disconnect()
	}

/** On the way to it, and in the server itself: one of each may strike together. */
const linkFaults = {
	refuses: { begin: ({ link }) => link.refuse(true), end: ({ link }) => link.refuse(false) },
	'is two seconds away': { begin: ({ link }) => link.delay(2000), end: ({ link }) => link.delay(0) },
	// Once, on all connections; it is mended by itself.
	'is lost to who is connected': { begin: ({ link }) => link.lose(), end: nothing },
	'is cut off at random answers': {
		begin: ({ link, random }) => link.cutAtRandom(0.2, seeded(random() * 2 ** 32)),
		end: ({ link }) => link.cutAtRandom(0, Math.random),
		// What was cut off is asked again.
		evidence: ({ link }) => link.connections,
	},
} satisfies Record<string, Fault>

const serverFaults = {
	'is killed': { begin: ({ redis }) => redis.kill(), end: ({ redis }) => redis.restart() },
	hangs: {
		begin: ({ redis }) => process.kill(redis.pid, 'SIGSTOP'),
		end: ({ redis }) => process.kill(redis.pid, 'SIGCONT'),
	},
	'is read-only': { begin: call('REPLICAOF', '127.0.0.1', '1'), end: call('REPLICAOF', 'NO', 'ONE') },
	'is full': { begin: call('CONFIG', 'SET', 'maxmemory', '1'), end: call('CONFIG', 'SET', 'maxmemory', '0') },
} satisfies Record<string, Fault>

/** All of a kind are dangerous alike. */
const withDanger = <T extends Record<string, Fault>>(danger: Danger, faults: T) =>
	Object.fromEntries(Object.entries(faults).map(([name, fault]) => [name, { ...fault, danger }])) as Record<
		keyof T,
		Fault
	>

export const redisLinkFaults = withDanger('write', linkFaults)
export const redisServerFaults = withDanger('write', serverFaults)
export const redisFaults = { ...redisLinkFaults, ...redisServerFaults }

const injected = (fault: Parameters<Rig['standIn']['inject']>[0], danger?: Danger): Fault => ({
	...(danger && { danger }),
	begin: ({ standIn }) => standIn.inject({ ...fault, times: 1_000_000 }),
	end: ({ standIn }) => standIn.clearFaults(),
})

export const providerFaults = {
	'is gone': injected({ on: '*', drop: true }),
	hangs: injected({ grant: 'refresh_token', hang: true }),
	'is slow': injected({ grant: 'refresh_token', delayMs: 1000 }, 'late answer'),
	throttles: injected({ grant: 'refresh_token', status: 429, headers: { 'retry-after': '1' } }),
	'answers 503': injected({ grant: 'refresh_token', status: 503, body: 'busy' }),
	'answers a page': injected({
		grant: 'refresh_token',
		status: 502,
		body: '<!doctype html><title>502</title>',
	}),
	'answers by half, and has done nothing': injected({ grant: 'refresh_token', halfBody: true }),
} satisfies Record<string, Fault>

/** It has done the refresh, and half of its answer is lost: so is the session, where a refresh token is taken once. */
export const lostAnswers: Fault = injected({ grant: 'refresh_token', cutAfter: 0.5 }, 'answer')

/** One thread of one process: one that loops takes a core of the machine, and there are two. */
const sabotage = (what: Sabotage): Fault => ({
	async begin({ places, random, strike }) {
		const { running: process } = pick(random, running(places)) ?? {}
		if (process) await strike(process, what)
	},
	end: nothing,
	danger: 'thread',
	endsThreads: [1, 1],
})

/** All threads of one process end, and none loads. */
const unloadable = (threads: number): Fault => {
	let process: BrokerProcess | undefined
	return {
		async begin({ places, random, strike, obstruct }) {
			process = pick(random, running(places))?.running
			if (!process) return
			obstruct(process, true)
			for (let at = 0; at < threads; at++) await strike(process, 'exit')
		},
		end({ obstruct }) {
			if (process) obstruct(process, false)
		},
		danger: 'thread',
		// Each is replaced, in vain, until the pool gives up.
		endsThreads: [2 * threads, 20],
	}
}

export const threadFaults = {
	exits: sabotage('exit'),
	'throws late': sabotage('throw'),
	loops: sabotage('loop'),
	'runs out of memory': sabotage('memory'),
} satisfies Record<string, Fault>

export const loadFaults = { 'do not load': unloadable(threadsOfEach) } satisfies Record<string, Fault>

const replaced = (signal: 'SIGTERM' | 'SIGKILL'): Fault => {
	let place: Place | undefined
	return {
		// Who is told to end finishes what it does.
		...(signal === 'SIGKILL' && { danger: 'process' as const }),
		async begin(rig) {
			place = pick(rig.random, running(rig.places))
			if (place) await rig.stop(place, signal)
		},
		async end(rig) {
			if (place) await rig.start(place)
		},
	}
}

export const processFaults = {
	'is told to end': replaced('SIGTERM'),
	'is killed': replaced('SIGKILL'),
} satisfies Record<string, Fault>

const shifted = (milliseconds: number): Fault => ({
	async begin({ shiftClocks }) {
		shiftClocks(milliseconds)
		// The clocks look each 20 ms.
		await sleep(50)
	},
	end: ({ shiftClocks }) => shiftClocks(0),
})

export const clockFaults = {
	'is five minutes behind': shifted(-300_000),
	'is two hours ahead': shifted(7_200_000),
} satisfies Record<string, Fault>
