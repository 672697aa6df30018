import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTokenBroker, type KoaMsalOptions, redisTokenStore, type TokenBroker } from '../../src/index.js'
import { createSetting, namespace, type Session, type Setting, secret } from '../cluster/setting.js'
import { answersOf, assertSignedIn, deliver, isSession } from '../support/answers.js'
import { createApplication } from '../support/application.js'
import { readCache } from '../support/expire.js'
import { createLink, type RedisLink } from '../support/redis-link.js'
import { codeOf, percentile, seeded, times } from './account.js'

const sessionsCount = 20

/** Brokers that reach Redis by a network that can fail; what they find there is read past it. */
describe('Redis behind a network', { timeout: 240_000 }, () => {
	let setting: Setting
	let link: RedisLink
	let sessions: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' })
		link = await createLink(setting.redis.path)
		sessions = await Promise.all(times(sessionsCount, () => setting.signIn()))
	})
	afterEach(() => {
		link.refuse(false)
		link.delay(0)
		link.cutAtRandom(0, () => 1)
	})
	after(async () => {
		await link?.close()
		await setting?.close()
	})

	/** A process's worth of broker, that holds no token yet. */
	async function withBroker(
		work: (broker: TokenBroker) => Promise<void>,
		user: object = {},
		settings: Partial<KoaMsalOptions> = {},
	): Promise<void> {
		const { redis: _, ...options } = setting.options()
		const store = redisTokenStore({ host: '127.0.0.1', port: link.port, ...user })
		const broker = await createTokenBroker({ ...options, ...settings, store })
		try {
			await work(broker)
		} finally {
			link.delay(0)
			link.cutAtRandom(0, () => 1)
			await broker.close()
		}
	}
	/** A new token for everybody: what is held or stored does not answer it. */
	const refreshAll = (broker: TokenBroker) =>
		Promise.all(sessions.map((session) => outcomeOf(broker.acquireSilent(session, { forceRefresh: true }))))
	async function outcomeOf(work: Promise<{ readonly outcome: string }>) {
		const started = performance.now()
		const what = await work.then(({ outcome }) => outcome, codeOf)
		return { what, ms: performance.now() - started }
	}

	for (const latency of [200, 500])
		it(`E3: ${latency} ms away, answers a stored token by at most two round trips, and refreshes`, () =>
			withBroker(async (broker) => {
				link.delay(latency)
				// Till the connection has caught up: it was made without delay.
				await outcomeOf(broker.acquireSilent(sessions[0] as Session))
				const cached = await Promise.all(
					sessions.slice(1).map((session) => outcomeOf(broker.acquireSilent(session))),
				)
				assert.deepEqual([...new Set(cached.map(({ what }) => what))], ['cached'])
				const slowest = Math.max(...cached.map(({ ms }) => ms))
				assert.ok(slowest <= 2 * latency + 100, `${slowest} ms`)
				const refreshed = await outcomeOf(
					broker.acquireSilent(sessions[0] as Session, { forceRefresh: true }),
				)
				assert.equal(refreshed.what, 'refreshed')
				assert.ok(refreshed.ms <= 3 * latency + 500, `${refreshed.ms} ms`)
			}))

	it('E3: 200 ms away, with one answer in a hundred cut off, fails a few for a moment, and loses no refresh', () =>
		withBroker(async (broker) => {
			const random = seeded(3)
			const near = percentile(
				(await refreshAll(broker)).map(({ ms }) => ms),
				0.5,
			)
			link.delay(200)
			link.cutAtRandom(0.01, random)
			const results: { what: string; ms: number }[] = []
			for (let round = 0; round < 5; round++) results.push(...(await refreshAll(broker)))
			// Whoever was cut off has a second connection to wait for, by four more round trips: some come too late.
			const failed = results.filter(({ what }) => what !== 'refreshed')
			assert.deepEqual(
				[...new Set(failed.map(({ what }) => what))].join('').replace('ERR_STORE_UNAVAILABLE', ''),
				'',
			)
			assert.ok(failed.length <= results.length * 0.6, `${failed.length} of ${results.length}`)
			// A cut takes all that was under way on the connection, and a new one takes four round trips to come about.
			const ms = percentile(
				results.map((result) => result.ms),
				0.5,
			)
			assert.ok(ms <= near + 3 * 200 + 100, `${ms} ms, and ${near} ms where Redis is near`)
			link.cutAtRandom(0, random)
			link.delay(0)
			await sleep(1500)
			const whole = await refreshAll(broker)
			assert.deepEqual([...new Set(whole.map(({ what }) => what))], ['refreshed'], 'none is lost')
		}))

	/** A process that hears no notices has to ask. */
	const deaf = { username: 'deaf', password: 'of-a-test' }
	const setDeaf = (right: 'resetchannels' | 'allchannels') =>
		setting.redis.client().acl('SETUSER', deaf.username, 'on', `>${deaf.password}`, '~*', right, '+@all')
	const endTokens = ({ msal }: Session) => setting.redis.client().del(`${namespace}:t:{${msal.partition}}`)

	it('E3: 400 ms away, keeps nobody waiting for that long who holds a token, and signs out who was signed out', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'cached')
			link.delay(400)
			await endTokens(session)
			const first = await outcomeOf(broker.acquireSilent(session))
			assert.equal(first.what, 'hit')
			assert.ok(first.ms >= 200 && first.ms < 350, `${first.ms} ms`)
			await sleep(300)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	it('E1: away and back, keeps nobody waiting who holds a token, and gives none to who was signed out', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'cached')
			link.refuse(true)
			await outcomeOf(broker.acquireSilent(session))
			for (const end = performance.now() + 3000; performance.now() < end; await sleep(100)) {
				const again = await outcomeOf(broker.acquireSilent(session))
				assert.equal(again.what, 'hit')
				assert.ok(again.ms < 100, `${again.ms} ms`)
			}
			link.refuse(false)
			await endTokens(session)
			await sleep(2000)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	it('E10: of sign-outs that it heard nothing of, a process asks when it hears again', async () => {
		await setDeaf('resetchannels')
		const session = await setting.signIn()
		await withBroker(async (broker) => {
			for (const what of ['cached', 'hit'])
				assert.equal((await outcomeOf(broker.acquireSilent(session))).what, what)
			await endTokens(session)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'hit', 'asked a moment ago')
			await setDeaf('allchannels')
			await sleep(1500)
			assert.equal((await outcomeOf(broker.acquireSilent(session))).what, 'ERR_SIGNED_OUT')
		}, deaf)
	})

	/** Every boundary between two answers, give or take one byte, but for the last: behind that nothing is cut. */
	const boundaries = (ends: readonly number[]) =>
		[0, 1, ...ends.flatMap((end) => [end - 1, end, end + 1])].filter((place) => place < (ends.at(-1) ?? 0))

	it('E9: cut after any byte of an answer, has given out and stored a refresh, or neither, and the next one succeeds', () =>
		withBroker(
			async (broker) => {
				const session = sessions[0] as Session
				const where = setting.where(session)
				const refresh = () => broker.acquireSilent(session, { forceRefresh: true })
				await refresh()
				const ends = await link.endsOfAnswers(refresh)
				const random = seeded(9)
				const anywhere = times(80, () => Math.floor(random() * (ends.at(-1) as number)))
				const places = [...boundaries(ends), ...anywhere].map((bytes) => ({ bytes, away: false }))
				// The same, and the second try that follows at once finds nobody there.
				const aways = boundaries(ends).map((bytes) => ({ bytes, away: true }))
				assert.ok(aways.length >= 6)
				for (const { bytes, away } of [...places, ...aways]) {
					const at = `${bytes}${away ? ', and away' : ''}`
					const before = await readCache(where)
					const cut = link.cutAfter(bytes).then(() => link.refuse(away))
					const first = await refresh().then(({ accessToken }) => accessToken, codeOf)
					await cut
					link.refuse(false)
					for (const end = performance.now() + 5000; broker.statistics.unsaved > 0; await sleep(5))
						assert.ok(performance.now() < end)
					const between = await readCache(where)
					if (away && first === 'ERR_STORE_UNAVAILABLE') assert.deepEqual(between, before, at)
					else {
						const stored = Object.values(between?.cache.AccessToken ?? {}).map(({ secret }) => secret)
						assert.ok(stored.includes(first), `${at}: ${first.slice(0, 30)}`)
					}
					// Strictly rotated: it succeeds by the newest refresh token alone.
					const next = await outcomeOf(refresh())
					assert.equal(next.what, 'refreshed', at)
				}
			},
			{},
			// By one connection, whose answers come one after the other.
			{ pool: { threads: 1 } },
		))

	it('E9: cut under a sign-in, leaves its tokens and its session, or neither, and the next one succeeds', async () => {
		const app = await createApplication(setting.world, {
			secrets: [secret],
			store: redisTokenStore({ host: '127.0.0.1', port: link.port }),
			pool: { threads: 1 },
		})
		const answers = answersOf(setting.world.standIn)
		const client = setting.redis.client()
		const keys = async () => (await client.keys('*')).filter((key) => /:[st]:/.test(key)).sort()
		const token = (cookies: readonly string[]) =>
			fetch(`${app.origin}/token`, {
				headers: { cookie: cookies.map((one) => one.split(';')[0]).join('; ') },
			})
		async function signIn() {
			const browser = answers.browser()
			const fields = await answers.answerOf(browser, app)
			return () => deliver(browser, app, fields)
		}
		try {
			for (let warm = 0; warm < 2; warm++) assertSignedIn(await (await signIn())())
			const ends = await link.endsOfAnswers(await signIn())
			const places = boundaries(ends).map((bytes) => ({ bytes, away: false }))
			const aways = [0, ...ends.slice(0, -1)].map((bytes) => ({ bytes, away: true }))
			assert.ok(aways.length >= 5)
			for (const { bytes, away } of [...places, ...aways]) {
				const at = `${bytes}${away ? ', and away' : ''}`
				const before = await keys()
				const send = await signIn()
				const cut = link.cutAfter(bytes).then(() => link.refuse(away))
				const first = await send()
				await cut
				link.refuse(false)
				const cookies = first.cookies.filter((one) => isSession(one) && !/=;/.test(one))
				if (first.status === 303) {
					assert.equal((await keys()).length, before.length + 2, at)
					assert.equal((await token(cookies)).status, 200, at)
				} else {
					assert.equal(first.status, 503, at)
					assert.deepEqual(cookies, [], at)
					for (const end = performance.now() + 5000; (await keys()).length > before.length; await sleep(10))
						assert.ok(performance.now() < end, `${at}: what nobody has is ended`)
					assert.deepEqual(await keys(), before, at)
					// The same form again: signs in where its code was not used yet, else leads on, or is refused.
					assert.ok([303, 400].includes((await send()).status), at)
				}
				const next = await (await signIn())()
				assertSignedIn(next)
				assert.equal((await token(next.cookies)).status, 200, at)
			}
		} finally {
			await answers.close()
			await app.close()
		}
	})

	it('E9: cut under a sign-out, has signed out or says so, and never half', () =>
		withBroker(async (broker) => {
			const random = seeded(99)
			for (const session of sessions.slice(1)) {
				link.cutAfter(Math.floor(random() * 60))
				await broker.signOut(session).catch(() => {})
				// What the store was not told is told as soon as it can be.
				for (const end = performance.now() + 5000; await readCache(setting.where(session)); await sleep(50))
					assert.ok(performance.now() < end, 'it is gone in the end')
				assert.equal(
					(await outcomeOf(broker.acquireSilent(session))).what,
					'ERR_SIGNED_OUT',
					'in this process at once',
				)
			}
		}))
})
