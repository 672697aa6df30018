import { setTimeout as sleep } from 'node:timers/promises'
import type { Sabotage } from '../fixtures/saboteur.js'
import type { Place, Rig } from './rig.js'

/** Something that breaks, and is mended. */
export interface Fault {
	begin(rig: Rig): unknown
	/** Undoes it. */
	end(rig: Rig): unknown
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

export const redisFaults = {
	refuses: { begin: ({ link }) => link.refuse(true), end: ({ link }) => link.refuse(false) },
	'is killed': { begin: ({ redis }) => redis.kill(), end: ({ redis }) => redis.restart() },
	hangs: {
		begin: ({ redis }) => process.kill(redis.pid, 'SIGSTOP'),
		end: ({ redis }) => process.kill(redis.pid, 'SIGCONT'),
	},
	'is two seconds away': { begin: ({ link }) => link.delay(2000), end: ({ link }) => link.delay(0) },
	'is read-only': { begin: call('REPLICAOF', '127.0.0.1', '1'), end: call('REPLICAOF', 'NO', 'ONE') },
	'is full': { begin: call('CONFIG', 'SET', 'maxmemory', '1'), end: call('CONFIG', 'SET', 'maxmemory', '0') },
} satisfies Record<string, Fault>

const injected = (fault: Parameters<Rig['standIn']['inject']>[0]): Fault => ({
	begin: ({ standIn }) => standIn.inject({ ...fault, times: 1_000_000 }),
	end: ({ standIn }) => standIn.clearFaults(),
})

export const providerFaults = {
	'is gone': injected({ on: '*', drop: true }),
	hangs: injected({ grant: 'refresh_token', hang: true }),
	'is slow': injected({ grant: 'refresh_token', delayMs: 1000 }),
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
export const lostAnswers: Fault = injected({ grant: 'refresh_token', cutAfter: 0.5 })

/** One thread of one process: one that loops takes a core of the machine, and there are two. */
const sabotage = (what: Sabotage): Fault => ({
	begin: ({ places, random }) => pick(random, running(places))?.running?.ask({ do: 'sabotage', what }),
	end: nothing,
})

export const threadFaults = {
	exits: sabotage('exit'),
	'throws late': sabotage('throw'),
	loops: sabotage('loop'),
	'runs out of memory': sabotage('memory'),
} satisfies Record<string, Fault>

const replaced = (signal: 'SIGTERM' | 'SIGKILL'): Fault => {
	let place: Place | undefined
	return {
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
