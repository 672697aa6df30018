import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSetting, type Session, type Setting } from '../cluster/setting.js'
import type { Reply } from '../fixtures/broker-process.js'
import type { BrokerProcess } from '../support/broker-process.js'
import { expire, readCache } from '../support/expire.js'
import { times } from './account.js'

/** The provider's deadline, in milliseconds: 10,000 by default, here scaled so that the suite stays short. */
const timeout = 2000

const wordOf = (reply: Reply) => ('error' in reply ? reply.error : reply.outcome)
const wordsOf = (replies: readonly Reply[]) => [...new Set(replies.map(wordOf))]

describe('a provider that fails', { timeout: 240_000 }, () => {
	let setting: Setting
	let one: BrokerProcess
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		one = await setting.start({ network: { caFile: setting.world.caFile, timeout }, pool: { threads: 2 } })
		sessions = await Promise.all(times(60, () => setting.signIn()))
	})
	afterEach(() => setting.world.standIn.clearFaults())
	after(() => setting?.close())

	const expireAll = (which: readonly Session[]) =>
		Promise.all(which.map((session) => expire(setting.where(session))))
	const refreshes = () => setting.world.standIn.count('token', 'refresh_token')

	for (const [what, fault] of Object.entries({
		500: { status: 500 },
		502: { status: 502, body: '<!doctype html><title>Bad gateway</title>' },
		503: { status: 503, body: 'busy' },
		'a connection that is reset': { drop: true },
		'half an answer': { halfBody: true },
	}))
		it(`F1: answered by ${what}: valid tokens are served, others get 503 after at most two tries, and keep their session`, async () => {
			const [held, expired] = [sessions[0] as Session, sessions[1] as Session]
			assert.ok('outcome' in ((await one.acquire([held]))[0] as Reply))
			await expireAll([expired])
			const version = (await readCache(setting.where(expired)))?.version
			setting.world.standIn.clearLog()
			setting.world.standIn.inject({ grant: 'refresh_token', times: 1000, ...fault })
			const [served, refused] = await one.acquire([held, expired])
			assert.equal(wordOf(served as Reply), 'hit')
			assert.ok(refused && 'error' in refused)
			assert.ok(['ERR_IDP_UNAVAILABLE', 'ERR_IDP_PROTOCOL'].includes(refused.error), refused.error)
			if (what !== 'half an answer') assert.equal(refused.error, 'ERR_IDP_UNAVAILABLE')
			assert.ok(refreshes() >= 1 && refreshes() <= 2, `${refreshes()} tries`)
			assert.equal((await readCache(setting.where(expired)))?.version, version, 'nothing is written')
			setting.world.standIn.clearFaults()
			for (const end = performance.now() + 8000; ; await sleep(200)) {
				const [reply] = await one.acquire([expired])
				if (reply && wordOf(reply) === 'refreshed') break
				assert.ok(performance.now() < end, 'served again once it is back')
			}
		})

	for (const [what, fault] of Object.entries({
		'never answers': { hang: true },
		'begins to answer': { stall: true },
	}))
		it(`F3: that ${what} costs who waits for it the deadline, and nobody else anything`, async () => {
			const hung = sessions.slice(0, 50)
			const others = sessions.slice(50)
			await expireAll(sessions)
			setting.world.standIn.clearLog()
			setting.world.standIn.inject({ grant: 'refresh_token', times: hung.length, ...fault })
			const waiting = one.acquire(hung)
			// Some faults are logged when they end.
			for (let waited = 0; refreshes() < hung.length && waited < 800; waited += 20) await sleep(20)
			const replies = await one.acquire(others)
			assert.deepEqual(wordsOf(replies), ['refreshed'])
			assert.ok(Math.max(...replies.map(({ ms }) => ms)) < timeout, 'nobody waits behind the hung ones')
			const late = await waiting
			assert.deepEqual(wordsOf(late), ['ERR_IDP_UNAVAILABLE'])
			const slowest = Math.max(...late.map(({ ms }) => ms))
			assert.ok(slowest < timeout + 1500, `${slowest} ms`)
			// A session whose refresh has failed leaves the provider alone for a second.
			await sleep(1100)
			assert.deepEqual(wordsOf(await one.acquire(hung)), ['refreshed'], 'there is room for them again')
		})

	it('F5: that is gone: who has a valid token is served, here and in a process that holds none, others get 503', async () => {
		const [valid, expired] = [sessions.slice(0, 30), sessions.slice(30)]
		await one.acquire(sessions)
		await expireAll(expired)
		setting.world.standIn.inject({ on: '*', times: 100_000, drop: true })
		const fresh = await setting.start({ network: { caFile: setting.world.caFile, timeout } })
		try {
			for (const [from, word] of [
				[one, 'hit'],
				[fresh, 'cached'],
			] as const) {
				assert.deepEqual(wordsOf(await from.acquire(valid)), [word])
				assert.deepEqual(wordsOf(await from.acquire(expired)), ['ERR_IDP_UNAVAILABLE'])
			}
			setting.world.standIn.clearFaults()
			const back = performance.now()
			while (wordsOf(await one.acquire(expired)).join() !== 'hit') {
				assert.ok(performance.now() - back < 5000, 'within five seconds')
				await sleep(100)
			}
		} finally {
			await fresh.close()
		}
	})

	it('F4: that is not there, resets, or shows another certificate, is a 503 in time, and no token request passes', async () => {
		const session = sessions[0] as Session
		const reset = createServer((socket) => socket.resetAndDestroy())
		await new Promise<void>((resolve) => reset.listen(0, '127.0.0.1', resolve))
		const { port } = reset.address() as { port: number }
		const places: Record<string, { authority: string; knownAuthorities: string[]; caFile?: string }> = {
			'a name that is not known': {
				authority: 'https://nowhere.invalid/tenant',
				knownAuthorities: ['nowhere.invalid'],
			},
			'a port where nobody listens': {
				authority: 'https://127.0.0.1:9/tenant',
				knownAuthorities: ['127.0.0.1:9'],
			},
			'a server that resets': {
				authority: `https://127.0.0.1:${port}/tenant`,
				knownAuthorities: [`127.0.0.1:${port}`],
			},
			// The stand-in itself, whose authority this process has not been told of.
			'a certificate that nobody vouches for': {
				authority: setting.world.standIn.authority,
				knownAuthorities: [setting.world.standIn.host],
				caFile: '',
			},
		}
		try {
			for (const [what, { authority, knownAuthorities, caFile = setting.world.caFile }] of Object.entries(
				places,
			)) {
				const { auth } = setting.options()
				const from = await setting.start({
					auth: { ...auth, authority, knownAuthorities },
					network: { timeout, ...(caFile !== '' && { caFile }) },
				})
				setting.world.standIn.clearLog()
				const [reply] = await from.acquire([session], { forceRefresh: true })
				assert.ok(reply && 'error' in reply, what)
				assert.ok(['ERR_IDP_UNAVAILABLE', 'ERR_SIGNED_OUT'].includes(reply.error), `${what}: ${reply.error}`)
				assert.ok(reply.ms < timeout + 1500, `${what}: ${reply.ms} ms`)
				assert.equal(refreshes(), 0)
				await from.close()
			}
			assert.ok('outcome' in ((await one.acquire([session]))[0] as Reply), 'the session is as it was')
		} finally {
			reset.close()
		}
	})
})

describe('F9: a clock that is wrong', { timeout: 120_000 }, () => {
	const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))
	const file = join(folder, 'clock')
	const preload = new URL('../fixtures/shifted-clock.js', import.meta.url).href
	let setting: Setting
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		sessions = await Promise.all(times(20, () => setting.signIn()))
	})
	after(async () => {
		await setting?.close()
		rmSync(folder, { recursive: true })
	})
	const startAt = (offset: number) => {
		writeFileSync(file, String(offset))
		return setting.start({}, { preloads: [`${preload}?file=${encodeURIComponent(file)}`] })
	}
	const refreshes = () => setting.world.standIn.count('token', 'refresh_token')

	for (const seconds of [-300, 300])
		it(`by ${seconds} seconds: tokens are answered and refreshed, each once`, async () => {
			const one = await startAt(seconds * 1000)
			assert.ok((await one.acquire(sessions)).every((reply) => 'outcome' in reply))
			setting.world.standIn.clearLog()
			assert.deepEqual(wordsOf(await one.acquire(sessions, { forceRefresh: true })), ['refreshed'])
			assert.equal(refreshes(), sessions.length)
			assert.deepEqual(wordsOf(await one.acquire(sessions)), ['hit'])
			assert.equal(refreshes(), sessions.length)
			await one.close()
		})

	for (const hours of [2, -2])
		it(`that jumps by ${hours} hours while the process runs: no storm of refreshes, and nobody signed out`, async () => {
			const one = await startAt(0)
			await one.acquire(sessions)
			setting.world.standIn.clearLog()
			writeFileSync(file, String(hours * 3_600_000))
			await sleep(200)
			for (let i = 0; i < 5; i++)
				assert.ok((await one.acquire(sessions)).every((reply) => 'outcome' in reply))
			assert.ok(refreshes() <= sessions.length, `${refreshes()} refreshes of ${sessions.length} sessions`)
			assert.deepEqual(wordsOf(await one.acquire(sessions, { forceRefresh: true })), ['refreshed'])
			writeFileSync(file, '0')
			await sleep(200)
			// What was remembered by a clock that was ahead would hold for as long as it was ahead.
			assert.deepEqual(wordsOf(await one.acquire(sessions, { forceRefresh: true })), ['refreshed'])
			for (let i = 0; i < 5; i++)
				assert.ok((await one.acquire(sessions)).every((reply) => 'outcome' in reply))
			assert.ok(refreshes() <= 4 * sessions.length, `${refreshes()} refreshes of ${sessions.length} sessions`)
			await one.close()
		})
})
