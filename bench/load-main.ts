import { performance } from 'node:perf_hooks'
import { Pool } from 'undici'
import { answerDue, type BenchApp, joinedHeader } from './apps/app.js'
import { quantiles } from './meter.js'
import { codeOf, type Generation, tokensOf } from './people.js'
import { answerCalls } from './process.js'
import type { World } from './scenario.js'
import { atFixedRate, type Ran } from './schedule.js'

/** The HTTP load, in a process of its own: what it costs is not the application's. Every answer is compared. */
let requests: Pool
/** So that a ping never waits for a connection that a refresh has. */
let pings: Pool
/** Of each person, a session cookie. */
let cookies: readonly string[] = []
let due: Readonly<Record<'/token' | '/refresh', readonly string[]>>

const calls = {
	async signIn(given: {
		origin: string
		people: number
		signIn: BenchApp['signIn']
		tokens: BenchApp['tokens']
		connections: number
		world: World
	}) {
		const { origin, people, world } = given
		requests = new Pool(origin, { connections: given.connections, pipelining: 1 })
		pings = new Pool(origin, { connections: 16, pipelining: 1 })
		const issuer = `${world.authority}/v2.0`
		const answers = (generation: Generation) =>
			Array.from({ length: people }, (_, person) =>
				answerDue(person, tokensOf(person, generation, issuer, world.startedAt).accessToken),
			)
		due = { '/token': answers(given.tokens.held), '/refresh': answers(given.tokens.refreshed) }
		const signIn = given.signIn === 'routes' ? signInByRoutes : seed
		cookies = await Promise.all(Array.from({ length: people }, (_, person) => signIn(person)))
	},

	/** As many requests as it takes, so many at a time. */
	async throughput({ inFlight, milliseconds }: { inFlight: number; milliseconds: number }) {
		const { utilization, ran } = await busyWhile(async () => {
			const latencies: number[] = []
			const end = performance.now() + milliseconds
			let begun = 0
			const lane = async () => {
				while (performance.now() < end) {
					const started = performance.now()
					await ask('/token', begun++ % cookies.length)
					latencies.push(performance.now() - started)
				}
			}
			await Promise.all(Array.from({ length: inFlight }, lane))
			return { operations: begun, latencies }
		})
		return { operations: ran.operations, latencyMs: quantiles(ran.latencies), loadBusy: utilization }
	},

	/** Pings at a fixed rate, and refreshes at another. */
	async ping(given: { pingsPerSecond: number; refreshesPerSecond: number; milliseconds: number }) {
		const { pingsPerSecond, refreshesPerSecond, milliseconds } = given
		let joined = 0
		const { utilization, ran } = await busyWhile(() =>
			Promise.all([
				atFixedRate(pingsPerSecond, milliseconds, ping),
				refreshesPerSecond > 0
					? atFixedRate(refreshesPerSecond, milliseconds, async (arrival) => {
							if (await ask('/refresh', arrival % cookies.length)) joined++
						})
					: { operations: 0, latencies: [] },
			] as const),
		)
		const [pinged, refreshed] = ran
		return {
			operations: refreshed.operations,
			joined,
			latencyMs: quantiles(refreshed.latencies),
			pingMs: quantiles(pinged.latencies),
			loadBusy: utilization,
		}
	},
}

export type LoadCalls = typeof calls

async function busyWhile<T extends Ran | readonly Ran[]>(work: () => Promise<T>) {
	const before = performance.eventLoopUtilization()
	const ran = await work()
	return { ran, utilization: performance.eventLoopUtilization(before).utilization }
}

/** @returns whether another request had begun the refresh */
async function ask(path: '/token' | '/refresh', person: number): Promise<boolean> {
	const { statusCode, headers, body } = await requests.request({
		method: 'GET',
		path,
		headers: { cookie: cookies[person] as string },
	})
	const text = await body.text()
	if (statusCode !== 200 || text !== due[path][person])
		throw new Error(`${path}: ${statusCode}, and not the token that was to be answered`)
	return headers[joinedHeader] !== undefined
}

async function ping(): Promise<void> {
	const { statusCode, body } = await pings.request({ method: 'GET', path: '/ping' })
	if (statusCode !== 200 || (await body.text()) !== 'pong') throw new Error(`/ping: ${statusCode}`)
}

async function seed(person: number): Promise<string> {
	const { statusCode, headers, body } = await requests.request({ method: 'GET', path: `/seed/${person}` })
	await body.dump()
	if (statusCode !== 204) throw new Error(`/seed: ${statusCode}`)
	return cookieOf(headers['set-cookie'])
}

/** A sign-in as a browser has it, but that the provider's page is skipped. */
async function signInByRoutes(person: number): Promise<string> {
	const login = await requests.request({ method: 'GET', path: '/user/login' })
	await login.body.dump()
	const query = new URL(String(login.headers.location)).searchParams
	const authorized = await requests.request({
		method: 'POST',
		path: '/user/authorized',
		headers: {
			'content-type': 'application/x-www-form-urlencoded',
			cookie: cookieOf(login.headers['set-cookie']),
		},
		body: new URLSearchParams({
			state: query.get('state') ?? '',
			code: codeOf(person, query.get('nonce') ?? ''),
		}).toString(),
	})
	await authorized.body.dump()
	if (authorized.statusCode !== 303) throw new Error(`/user/authorized: ${authorized.statusCode}`)
	return cookieOf(authorized.headers['set-cookie'])
}

/** What a browser would send of the cookies that were set. */
function cookieOf(lines: string | string[] | undefined): string {
	return [lines ?? []]
		.flat()
		.map((line) => line.split(';')[0] ?? '')
		.filter((pair) => !pair.endsWith('='))
		.join('; ')
}

answerCalls(calls, () => Promise.all([requests?.close(), pings?.close()]))
