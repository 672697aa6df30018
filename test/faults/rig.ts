import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../../dev/directory.js'
import type { EntraStandIn } from '../../dev/entra-stand-in.js'
import type { Person } from '../../dev/people.js'
import type { TokenBroker } from '../../src/index.js'
import { namespace, type Session, secret } from '../cluster/setting.js'
import type { ProcessOptions } from '../fixtures/broker-process.js'
import type { Sabotage } from '../fixtures/saboteur.js'
import { createWorld } from '../support/application.js'
import { BrokerProcess } from '../support/broker-process.js'
import type { Whereabouts } from '../support/expire.js'
import { freePort, startRedis, type TestRedis } from '../support/redis.js'
import { createLink, type RedisLink } from '../support/redis-link.js'
import { seeded, times } from './account.js'

/** Milliseconds, in place of 10,000 and 15,000, so that whoever waits for the provider waits for as long here. */
export const deadlines = { provider: 2000, task: 4000, lease: 1000 }

/** Worker threads of each process. */
export const threadsOfEach = 2

/** Milliseconds that a process has to end when it is told to: what it finishes has the deadline of a task. */
const endsWithin = 20_000

export interface RigOptions {
	/** Everything that is drawn at random comes from it. */
	readonly seed: number
	/** Processes of the application, 1 to 4. */
	readonly processes: number
	/** People who are signed in at the start. Default 24. */
	readonly people?: number
	/** Where the processes find Redis. Default: the rig's own, behind its link. */
	readonly redis?: ProcessOptions['redis']
	readonly settings?: Partial<ProcessOptions>
}

/** Somebody who is signed in, and what shows it. */
export interface SignedIn {
	readonly person: Person
	/** For the broker. */
	readonly session: Session
	/** For the web application. */
	readonly cookie: string
}

/** One of the application's processes, which may come and go. */
export interface Place {
	readonly origin: string
	/** `undefined` while it is down. */
	running: BrokerProcess | undefined
}

/** How a process ended that was told to. */
export interface End {
	readonly signal: 'SIGTERM' | 'SIGKILL'
	/** Of `performance.now()`. */
	readonly at: number
}

/** A whole installation, every part of which can be broken. */
export interface Rig {
	readonly random: () => number
	readonly standIn: EntraStandIn
	readonly redis: TestRedis
	/** The way to Redis. */
	readonly link: RedisLink
	readonly places: readonly Place[]
	/** Who is signed in. */
	readonly signedIn: readonly SignedIn[]
	/** How processes ended that were not told to, or not as they were told. */
	readonly crashes: readonly string[]
	/** The processes that were told to end; `undefined` for one that has not yet. */
	readonly ends: ReadonlyMap<BrokerProcess, End | undefined>
	/** Processes a thread of which was struck, and when, of `performance.now()`. */
	readonly struck: readonly { readonly process: BrokerProcess; readonly at: number }[]
	signIn(person: Person): Promise<SignedIn>
	/** Signs somebody in anew whose session is over. */
	replace(who: SignedIn): Promise<void>
	where(session: Session): Whereabouts
	/** Starts a process in a place that is down. */
	start(place: Place): Promise<void>
	/** Ends the process of a place, and waits for it. @returns its exit code, or the signal that ended it */
	stop(place: Place, signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null>
	/** Does something to a thread of a process. */
	strike(process: BrokerProcess, what: Sabotage): Promise<void>
	/** Whether the threads of a process can be loaded that it starts from now on. */
	obstruct(process: BrokerProcess, obstructed: boolean): void
	/** How many threads of each process have failed. */
	threadFailures(): Promise<Map<BrokerProcess, number>>
	/** From now on the processes' clocks are off by so many milliseconds. */
	shiftClocks(milliseconds: number): void
	close(): Promise<void>
}

const preload = (name: string, query = '') =>
	`${new URL(`../fixtures/${name}.js`, import.meta.url).href}${query}`

function cookieOf({ jar }: Browser): string {
	return jar.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
}

function inventPeople(count: number): Person[] {
	return times(count, (at) => ({
		oid: `0f000000-0000-4000-8000-${String(at).padStart(12, '0')}`,
		upn: `person${at}@contoso.example`,
		name: `Person ${String(at).padStart(4, '0')}`,
	}))
}

/** Under strict rotation, where a refresh token that is used twice, or is lost, ends the session. */
export async function createRig(options: RigOptions): Promise<Rig> {
	const { seed, processes, people = 24 } = options
	const folder = mkdtempSync(join(tmpdir(), 'koa-msal-rig-'))
	const [clock, obstacle] = [join(folder, 'clock'), join(folder, 'obstacle')]
	writeFileSync(clock, '0')
	const everybody = inventPeople(people)
	const [world, redis, ports] = await Promise.all([
		createWorld({ rotation: 'strict', people: everybody }),
		// A server that ends and comes back has lost nothing, so whatever is lost was lost by us. What is written outlives
		// the process without being brought to the disk, which would stall the server when others use the disk.
		startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'no'] }),
		Promise.all(times(processes, freePort)),
	])
	const { standIn, caFile } = world
	const link = await createLink(redis.path)
	const reader = redis.client()
	const places: Place[] = ports.map((port) => ({ origin: `http://localhost:${port}`, running: undefined }))
	const crashes: string[] = []
	const ends = new Map<BrokerProcess, End | undefined>()
	const struck: { readonly process: BrokerProcess; readonly at: number }[] = []

	const rig: Rig = {
		random: seeded(seed),
		standIn,
		redis,
		link,
		places,
		signedIn: [],
		crashes,
		ends,
		struck,
		async signIn(person) {
			const [{ origin }] = places as [Place]
			const browser = createBrowser()
			try {
				await browser.follow(`${origin}/user/login`)
				await browser.press(person.name)
				const session = (await browser.get(`${origin}/ticket`)).json<Session>()
				return { person, session, cookie: cookieOf(browser) }
			} finally {
				await browser.close()
			}
		},
		async replace(who) {
			const signedIn = rig.signedIn as SignedIn[]
			signedIn[signedIn.indexOf(who)] = await rig.signIn(who.person)
		},
		where: ({ msal }) => ({
			redis: reader,
			namespace,
			secret,
			clientId: clientIds.web,
			partition: msal.partition,
		}),
		async start(place) {
			const started = await BrokerProcess.start(
				{
					auth: {
						clientId: clientIds.web,
						clientSecret: clientSecrets.web,
						authority: standIn.authority,
						knownAuthorities: [standIn.host],
						redirectUri: `${places[0]?.origin}/user/authorized`,
					},
					secrets: [secret],
					network: { caFile, timeout: deadlines.provider },
					pool: { threads: threadsOfEach, taskTimeout: deadlines.task },
					refresh: { lease: deadlines.lease },
					redis: options.redis ?? { host: '127.0.0.1', port: link.port },
					...options.settings,
					port: Number(new URL(place.origin).port),
				},
				{
					preloads: [
						preload('shifted-clock', `?file=${encodeURIComponent(clock)}`),
						preload('thread-heap'),
						preload('saboteur', `?obstacle=${encodeURIComponent(obstacle)}`),
					],
				},
			)
			started.child.once('exit', (code, signal) => {
				if (place.running === started) place.running = undefined
				if (!ends.has(started)) crashes.push(`a process ended by itself: ${signal ?? code}`)
			})
			place.running = started
		},
		async stop(place, signal) {
			const { running } = place
			if (!running) return null
			ends.set(running, undefined)
			place.running = undefined
			const ended = once(running.child, 'exit')
			running.child.kill(signal)
			const late = setTimeout(() => {
				crashes.push(`A process had not ended ${endsWithin} ms after ${signal}.`)
				running.child.kill('SIGKILL')
			}, endsWithin)
			const [code, by] = await ended
			clearTimeout(late)
			ends.set(running, { signal, at: performance.now() })
			if (signal === 'SIGTERM' && code !== 0) crashes.push(`SIGTERM was answered by ${by ?? code}`)
			return by ?? code
		},
		async strike(process, what) {
			struck.push({ process, at: performance.now() })
			await process.ask({ do: 'sabotage', what }).catch((error) => {
				// It may be told to end meanwhile.
				if (!ends.has(process)) throw error
			})
		},
		obstruct({ child }, obstructed) {
			const file = `${obstacle}${child.pid}`
			if (obstructed) writeFileSync(file, '')
			else rmSync(file, { force: true })
		},
		async threadFailures() {
			const counts = places.map(async ({ running }) => {
				if (!running) return []
				const { workerFailures } = (await running.ask({ do: 'statistics' })) as TokenBroker['statistics']
				return [[running, workerFailures] as const]
			})
			return new Map((await Promise.all(counts)).flat())
		},
		shiftClocks: (milliseconds) => writeFileSync(clock, String(milliseconds)),
		async close() {
			await Promise.all(places.map((place) => rig.stop(place, 'SIGTERM')))
			await link.close()
			await Promise.all([redis.stop(), world.close()])
			rmSync(folder, { recursive: true })
		},
	}
	try {
		const started = await Promise.allSettled(places.map((place) => rig.start(place)))
		for (const one of started) if (one.status === 'rejected') throw one.reason
		const signedIn = rig.signedIn as SignedIn[]
		for (const person of everybody) signedIn.push(await rig.signIn(person))
		return rig
	} catch (error) {
		await rig.close()
		throw error
	}
}
