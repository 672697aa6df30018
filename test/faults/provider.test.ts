import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createBrowser, type Page } from '../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../../dev/directory.js'
import { people } from '../../dev/people.js'
import { redisTokenStore } from '../../src/index.js'
import { createSetting, type Session, type Setting, secret } from '../cluster/setting.js'
import type { ProcessOptions, Reply } from '../fixtures/broker-process.js'
import type { TokenReply } from '../fixtures/token-reply.js'
import { createApplication } from '../support/application.js'
import { type BrokerProcess, wordOf, wordsOf } from '../support/broker-process.js'
import { expire, readCache } from '../support/expire.js'
import { freePort } from '../support/redis.js'
import { times } from './account.js'

/** The provider's deadline, in milliseconds: 10,000 by default, here scaled so that the suite stays short. */
const timeout = 2000

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
		'half an answer, of nothing that is done': { halfBody: true },
	}))
		it(`F1: answered by ${what}: valid tokens are served, others get 503 after at most two tries, and keep their session`, async () => {
			const [held, expired] = [sessions[0] as Session, sessions[1] as Session]
			assert.ok('outcome' in ((await one.acquire([held]))[0] as Reply))
			await expireAll([expired])
			const version = (await readCache(setting.where(expired)))?.version
			setting.world.standIn.clearLog()
			setting.world.standIn.inject({ grant: 'refresh_token', times: 1000, ...fault })
			const [served, refused] = await one.acquire([held, expired])
			assert.equal(wordOf(served), 'hit')
			assert.equal(wordOf(refused), 'ERR_IDP_UNAVAILABLE')
			assert.ok(refreshes() >= 1 && refreshes() <= 2, `${refreshes()} tries`)
			assert.equal((await readCache(setting.where(expired)))?.version, version, 'nothing is written')
			setting.world.standIn.clearFaults()
			for (const end = performance.now() + 8000; ; await sleep(200)) {
				const [reply] = await one.acquire([expired])
				if (wordOf(reply) === 'refreshed') break
				assert.ok(performance.now() < end, 'served again once it is back')
			}
		})

	for (const [what, fault] of Object.entries({
		'never answers': { hang: true },
		'begins to answer': { stall: true },
		'drips its answer': { drip: true },
	}))
		it(`F3: that ${what} costs who waits for it the deadline, and nobody else anything`, async () => {
			const { standIn } = setting.world
			const hung = sessions.slice(0, 50)
			const expired = sessions.slice(50, 55)
			const held = sessions.slice(55)
			await expireAll([...hung, ...expired])
			assert.ok((await one.acquire(held)).every((reply) => 'outcome' in reply))
			standIn.clearLog()
			standIn.inject({ grant: 'refresh_token', times: hung.length, ...fault })
			/** Refreshes that are at the provider, unanswered. */
			const open = () => standIn.log.filter(({ grant, ms }) => grant && ms === undefined).length
			const waiting = one.acquire(hung)
			for (const end = performance.now() + 1000; open() < hung.length; await sleep(5))
				assert.ok(performance.now() < end, `${open()} hang`)
			const [hits, replies] = await Promise.all([one.acquire(held), one.acquire(expired)])
			assert.equal(open(), hung.length, 'they hang still')
			assert.deepEqual(wordsOf(hits), ['hit'])
			assert.deepEqual(wordsOf(replies), ['refreshed'])
			const slowestOf = (some: readonly Reply[]) => Math.max(...some.map(({ ms }) => ms))
			assert.ok(slowestOf(hits) < timeout / 10, `a held token took ${slowestOf(hits)} ms`)
			assert.ok(slowestOf(replies) < timeout / 4, `a refresh took ${slowestOf(replies)} ms`)
			const late = await waiting
			assert.deepEqual(wordsOf(late), ['ERR_IDP_UNAVAILABLE'])
			assert.ok(slowestOf(late) < timeout + 1000, `${slowestOf(late)} ms`)
			assert.ok(Math.min(...late.map(({ ms }) => ms)) >= timeout - 50, 'each had the whole deadline')
			// A session whose refresh has failed leaves the provider alone for a second.
			await sleep(1100)
			const again = await one.acquire(hung)
			assert.deepEqual(wordsOf(again), ['refreshed'], 'there is room for them again')
		})

	for (const [how, fault] of Object.entries({ 'is gone': { drop: true }, 'is silent': { hang: true } })) {
		it(`F5: that ${how} for longer than anybody waits: who has a valid token is served, here and in a process that holds none, others get 503`, async (t) => {
			const { standIn } = setting.world
			const [valid, expired] = [sessions.slice(0, 30), sessions.slice(30)]
			await one.acquire(valid)
			// So that it knows where the provider's tokens are to be had; a new process does not.
			await one.acquire(expired, { forceRefresh: true })
			await expireAll(expired)
			standIn.inject({ on: '*', times: 100_000, ...fault })
			const fresh = await setting.start({ network: { caFile: setting.world.caFile, timeout } })
			try {
				standIn.clearLog()
				const began = performance.now()
				for (let rounds = 0; performance.now() < began + 2.2 * timeout; rounds++) {
					const asked = [one, fresh].map((from) => from.acquire(expired))
					assert.deepEqual(wordsOf(await one.acquire(valid)), ['hit'])
					assert.deepEqual(wordsOf(await fresh.acquire(valid)), [rounds === 0 ? 'cached' : 'hit'])
					for (const refused of asked) assert.deepEqual(wordsOf(await refused), ['ERR_IDP_UNAVAILABLE'])
					// A session whose refresh has failed leaves the provider alone for a second.
					for (let again = 0; again < 5; again++)
						assert.deepEqual(wordsOf(await one.acquire(expired)), ['ERR_IDP_UNAVAILABLE'])
					await sleep(1100)
				}
				const calls = standIn.count('token')
				const seconds = (performance.now() - began) / 1000
				assert.ok(calls <= expired.length * (seconds + 1), `${calls} calls in ${seconds} s`)
				t.diagnostic(`${calls} calls in ${Math.round(seconds)} s`)
				standIn.clearFaults()
				const back = performance.now()
				for (const from of [one, fresh])
					while (wordsOf(await from.acquire(expired)).join() !== 'hit') {
						assert.ok(performance.now() - back < 5000, 'within five seconds')
						await sleep(100)
					}
			} finally {
				await fresh.close()
			}
		})

		it(`F5: that ${how} when a process first needs it: a session asks for its configuration once a second, and the rest is told at once`, async () => {
			const { standIn } = setting.world
			const session = sessions.slice(0, 1)
			await expireAll(session)
			standIn.inject({ on: '*', times: 100_000, ...fault })
			const fresh = await setting.start({ network: { caFile: setting.world.caFile, timeout } })
			try {
				standIn.clearLog()
				assert.deepEqual(wordsOf(await fresh.acquire(session)), ['ERR_IDP_UNAVAILABLE'])
				const failed = performance.now()
				let asked = 0
				for (; performance.now() < failed + 500; asked++) {
					const [reply] = await fresh.acquire(session)
					assert.equal(wordOf(reply), 'ERR_IDP_UNAVAILABLE')
				}
				assert.ok(asked > 3, `${asked} times`)
				assert.equal(standIn.count('*'), 1)
			} finally {
				await fresh.close()
			}
		})

		it(`F5: that ${how}: a browser without a valid token is told so, by a page, and is not sent around`, async () => {
			const { world, redis } = setting
			const { standIn } = world
			const start = () =>
				createApplication(world, {
					secrets: [secret],
					store: redisTokenStore({ path: redis.path }),
					network: { caFile: world.caFile, timeout },
				})
			const [app, fresh] = await Promise.all([start(), start()])
			// Stops in front of the application, with the provider's answer in its form.
			const late = createBrowser({ origins: [standIn.pagesOrigin] })
			try {
				const [held, expired, stranger] = [app.browser(), app.browser(), app.browser()]
				await app.signIn(held)
				await app.signIn(expired, 'Charles Babbage')
				await expire(setting.where(app.seen.session as unknown as Session))
				await late.follow(`${app.origin}/user/login`)
				const answer = await late.press('Grace Hopper')
				standIn.clearLog()
				standIn.inject({ on: '*', times: 100_000, ...fault })
				const told = (page: Page, says: RegExp) => {
					assert.equal(page.status, 503, page.html)
					assert.match(page.html, says)
					assert.ok(Number(page.headers.get('retry-after')) > 0)
					assert.equal(page.headers.get('refresh'), null)
					assert.doesNotMatch(page.html, /http-equiv|<script/i)
				}
				const wanted = `${app.origin}/private/token`
				for (let times = 0; times < 3; times++) {
					assert.equal((await held.get(wanted)).status, 200)
					told(await expired.get(wanted), /^Service Unavailable$/)
				}
				assert.ok(standIn.count('token') <= 3, 'as often as it was asked for')
				assert.equal(standIn.count('authorize'), 0, 'nobody was sent to sign in')
				told(await late.submit(answer.form), /ERR_IDP_UNAVAILABLE/)
				// Where the provider's pages are is known here; whether they answer is between it and the browser.
				const sent = await stranger.get(wanted)
				assert.equal(new URL(sent.headers.get('location') ?? '').origin, standIn.pagesOrigin)
				// And is not known here.
				told(await fresh.browser().get(`${fresh.origin}/private/token`), /ERR_IDP_UNAVAILABLE/)
				standIn.clearFaults()
				await sleep(1100)
				assert.equal((await expired.get(wanted)).status, 200, 'signed in as before')
			} finally {
				await Promise.all([late.close(), app.close(), fresh.close()])
			}
		})
	}
})

for (const [rotation, what, then] of [
	['strict', 'takes a refresh token once', 'ERR_INTERACTION_REQUIRED'],
	['entra', 'keeps old refresh tokens good', 'refreshed'],
] as const)
	describe(`a provider that ${what}`, { timeout: 120_000 }, () => {
		let setting: Setting
		let one: BrokerProcess
		before(async () => {
			setting = await createSetting({ rotation })
			one = await setting.start({ network: { caFile: setting.world.caFile, timeout } })
		})
		after(() => setting?.close())

		for (const [lost, fault] of Object.entries({
			'the whole answer': { cutAfter: 0 },
			'half the answer': { cutAfter: 0.5 },
			'an answer that is too late': {
				rewrite: (answer: Record<string, unknown>) => sleep(timeout + 500, answer),
			},
		}))
			it(`F1: and has done a refresh of which ${lost} is lost: 503, once, then ${then}, and nobody else loses anything`, async () => {
				const { standIn } = setting.world
				const [held, struck, other] = [await setting.signIn(), await setting.signIn(), await setting.signIn()]
				const refreshes = () => standIn.count('token', 'refresh_token')
				await one.acquire([held])
				await Promise.all([struck, other].map((session) => expire(setting.where(session))))
				const stored = await readCache(setting.where(struck))
				standIn.clearLog()
				standIn.inject({ grant: 'refresh_token', ...fault })
				const refused = one.acquire([struck])
				while (refreshes() < 1) await sleep(5)
				const [served, refreshed] = await one.acquire([held, other])
				assert.deepEqual([served, refreshed].map(wordOf), ['hit', 'refreshed'])
				assert.deepEqual(wordsOf(await refused), ['ERR_IDP_UNAVAILABLE'])
				assert.equal(refreshes(), 2, 'each was tried once')
				assert.equal((await readCache(setting.where(struck)))?.version, stored?.version, 'nothing is written')
				// A session whose refresh has failed leaves the provider alone for a second.
				await sleep(1100)
				assert.deepEqual(wordsOf(await one.acquire([struck])), [then])
				const tries = refreshes()
				assert.equal(tries, 3)
				assert.deepEqual(wordsOf(await one.acquire([struck])), [then === 'refreshed' ? 'hit' : then])
				assert.equal(refreshes(), tries, 'what is refused is not tried again')
				assert.deepEqual(wordsOf(await one.acquire([held, other], { forceRefresh: true })), ['refreshed'])
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
	const startAt = (offset: number, overrides?: Partial<ProcessOptions>) => {
		writeFileSync(file, String(offset))
		return setting.start(overrides, { preloads: [`${preload}?file=${encodeURIComponent(file)}`] })
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

	for (const seconds of [-300, 300])
		for (const credential of ['secret', 'certificate'] as const)
			it(`by ${seconds} seconds: people sign in, with a client ${credential}, and get tokens`, async () => {
				const { standIn, certificate } = setting.world
				const port = await freePort()
				const origin = `http://localhost:${port}`
				const { thumbprintSha256, privateKey } = certificate
				const of =
					credential === 'secret'
						? { clientId: clientIds.web, clientSecret: clientSecrets.web }
						: { clientId: clientIds.certificate, clientCertificate: { thumbprintSha256, privateKey } }
				const { authority } = standIn
				const auth = { ...of, authority, redirectUri: `${origin}/user/authorized` }
				const one = await startAt(seconds * 1000, { auth, port })
				const browser = createBrowser()
				try {
					await browser.follow(`${origin}/user/login/token`)
					const page = await browser.press('Ada Lovelace')
					assert.equal(page.url, `${origin}/token`)
					assert.equal(page.status, 200, page.html)
					assert.equal(page.json<TokenReply>().objectId, people.ada.oid)
					const { msal } = (await browser.get(`${origin}/ticket`)).json<Session>()
					standIn.clearLog()
					assert.deepEqual(wordsOf(await one.acquire([{ msal }], { forceRefresh: true })), ['refreshed'])
					assert.equal(refreshes(), 1)
				} finally {
					await Promise.all([browser.close(), one.close()])
				}
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
