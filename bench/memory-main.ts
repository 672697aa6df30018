import { createSecretKey } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createTokenBroker, memoryTokenStore } from '../src/index.js'
import { createSealer } from '../src/sealing.js'
import { sealingSecret } from './arms/broker.js'
import { toMeasurement } from './measure.js'
import { quantiles, startMeter, watchDelay } from './meter.js'
import { clientId, clientSecret, peopleCount, scopes } from './people.js'
import { answerCalls } from './process.js'
import type { Round } from './results.js'
import type { Delay, Params, World } from './scenario.js'
import { createSessionMaker } from './sessions.js'

/** A broker whose memory is looked at while sessions come and go; each is in the store only while it is asked for. */
let close = async () => {}

/** Sessions that are asked for before anything is measured, and how many at a time. */
const warmUp = 500
const atATime = 100

/** Milliseconds. */
const lifetime = 60_000

const calls = {
	async fill({
		params,
		world,
	}: {
		params: Params
		world: World
	}): Promise<{ round: Omit<Round, 'providerCallsPerOp'>; operations: number; delay: Delay }> {
		const { sessions: bound, beyond = 0 } = params
		const store = memoryTokenStore()
		const sealer = createSealer([createSecretKey(Buffer.from(sealingSecret))], clientId)
		const maker = createSessionMaker(params, world)
		const broker = await createTokenBroker({
			auth: {
				clientId,
				clientSecret,
				authority: world.authority,
				knownAuthorities: [world.host],
				redirectUri: 'http://localhost/user/authorized',
			},
			scopes: [...scopes],
			store,
			secrets: [sealingSecret],
			cache: { maxEntries: bound, maxBytes: Number.MAX_SAFE_INTEGER },
		})
		close = () => broker.close()

		/** One new session, as if its person had signed in elsewhere. @returns the length of its token */
		const acquire = async (index: number): Promise<number> => {
			const { msal, cache } = maker.session(index)
			store.create(msal.partition, sealer.seal('tokens', msal.partition, cache), lifetime, msal.account)
			const { outcome, accessToken } = await broker.acquireSilent({ msal })
			store.remove(msal.partition)
			if (outcome !== 'cached' || accessToken !== maker.tokens(index).seeded)
				throw new Error(`memory: ${outcome}, and not the token that was in the store`)
			return accessToken.length
		}
		const acquireAll = async (from: number, to: number) => {
			let characters = 0
			for (let first = from; first < to; first += atATime) {
				const batch = Array.from({ length: Math.min(atATime, to - first) }, (_, at) => acquire(first + at))
				for (const length of await Promise.all(batch)) characters += length
			}
			return characters
		}

		for (let person = 0; person < peopleCount; person++) maker.tokens(person)
		await acquireAll(0, warmUp)
		const heapBefore = await heapUsed()
		const heldBefore = broker.statistics.heldTokens
		const stopWatching = await watchDelay()
		const stop = await startMeter()
		const rss = []
		const characters = await acquireAll(warmUp, bound)
		const held = broker.statistics.heldTokens - heldBefore
		const bytes = (await heapUsed()) - heapBefore
		rss.push({ sessions: bound, mebibytes: process.memoryUsage.rss() / 2 ** 20 })
		const step = Math.ceil(beyond / 20)
		for (let done = 0; done < beyond; done += step) {
			await acquireAll(bound + done, bound + Math.min(beyond, done + step))
			await heapUsed()
			rss.push({
				sessions: bound + Math.min(beyond, done + step),
				mebibytes: process.memoryUsage.rss() / 2 ** 20,
			})
		}
		if (broker.statistics.heldTokens !== bound)
			throw new Error(`memory: ${broker.statistics.heldTokens} tokens are held, and ${bound} were to be`)
		const operations = bound - warmUp + beyond
		const round = {
			...toMeasurement(stop(), { operations, latencyMs: quantiles([]), storeCalls: 0 }),
			memory: {
				bound,
				bytesPerEntry: bytes / held,
				bytesPerEntryBesideToken: (bytes - characters) / held,
				rss,
			},
		}
		return { round, operations, delay: (await stopWatching()).delay }
	},
}

export type MemoryCalls = typeof calls

/** Of this thread, without garbage: what a turn of the event loop still holds is let go first. */
async function heapUsed(): Promise<number> {
	await nextTurn()
	globalThis.gc?.()
	globalThis.gc?.()
	return process.memoryUsage().heapUsed
}

answerCalls(calls, () => close())
