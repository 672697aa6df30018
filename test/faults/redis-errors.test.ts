import assert from 'node:assert/strict'
import { mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Browser } from '../../dev/cookie-jar-browser.js'
import { BrokerError, createTokenBroker, redisTokenStore, type TokenBroker } from '../../src/index.js'
import { createSetting, type Session, type Setting, secret } from '../cluster/setting.js'
import { type Application, createApplication } from '../support/application.js'
import { times } from './account.js'

/** Something that Redis says no for. */
interface Refusal {
	begin(): Promise<unknown>
	end(): Promise<unknown>
	/** What is only read is answered all the same. */
	readonly reads?: true
	/** A refresh that holds its lease is stored. */
	readonly commits?: true
}

/** The default, in milliseconds: nobody is to wait for one that the store can't give back. */
const lease = 10_000

describe('a Redis that refuses', { timeout: 240_000 }, () => {
	let setting: Setting
	let admin: Redis
	/** A process that holds no token yet. */
	let fresh: TokenBroker
	let app: Application
	let browser: Browser
	let sessions: Session[]
	/** Of which no broker but the first has read anything, as many as there are refusals. */
	let unread: Session[]
	before(async () => {
		setting = await createSetting({ rotation: 'strict' }, { refresh: { lease } }, undefined, {
			args: ['--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024'],
		})
		admin = setting.redis.client()
		sessions = await Promise.all(times(10, () => setting.signIn()))
		unread = await Promise.all(times(Object.keys(refusals).length, () => setting.signIn()))
		const { redis: _, ...options } = setting.options()
		const store = redisTokenStore({ path: setting.redis.path })
		fresh = await createTokenBroker({ ...options, store })
		app = await createApplication(setting.world, { secrets: [secret], store })
		browser = app.browser()
		await app.signIn(browser)
	})
	afterEach(() => setting.world.standIn.clearFaults())
	after(async () => {
		await app?.close()
		await fresh?.close()
		await setting?.close()
	})

	const set = (name: string, value: string | number) => admin.config('SET', name, value)
	const killOthers = async () => {
		for (const type of ['normal', 'pubsub']) await admin.call('CLIENT', 'KILL', 'TYPE', type)
	}
	const snapshot = () => join(dirname(setting.redis.path), 'dump.rdb')
	let reloading: Promise<unknown> = Promise.resolve()

	const refusals: Record<string, Refusal> = {
		'LOADING, while it reads its data': {
			async begin() {
				await Promise.all(times(100, (at) => admin.set(`filler:${at}`, 'x'.repeat(2000))))
				await set('key-load-delay', 25_000)
				reloading = setting.redis.client().call('DEBUG', 'RELOAD')
				const says = () => admin.get('filler:0').catch(({ message }: Error) => message)
				while (!(await says())?.startsWith('LOADING')) await sleep(5)
			},
			async end() {
				await reloading
				rmSync(snapshot())
				await set('key-load-delay', 0)
			},
		},
		'NOAUTH, after its password was changed': {
			begin: () => set('requirepass', 'another').then(killOthers),
			end: () => set('requirepass', ''),
		},
		'MISCONF, when it cannot write its snapshot': {
			async begin() {
				mkdirSync(snapshot())
				await set('save', '3600 1')
				await admin.bgsave()
				while (!(await admin.info('persistence')).includes('rdb_last_bgsave_status:err')) await sleep(10)
			},
			async end() {
				rmdirSync(snapshot())
				await set('save', '')
			},
			reads: true,
		},
		'any more clients': {
			begin: () => set('maxclients', 1).then(killOthers),
			end: () => set('maxclients', 1000),
		},
		'READONLY, after it became a replica': {
			begin: () => admin.replicaof('127.0.0.1', 9),
			end: () => admin.replicaof('NO', 'ONE'),
			reads: true,
		},
		'OOM, when its memory is full': {
			begin: () => set('maxmemory', 1),
			end: () => set('maxmemory', 0),
			reads: true,
			// Redis lets a script write that has deleted something before: here the lease.
			commits: true,
		},
	}

	async function resultOf(work: Promise<{ readonly outcome: string }>) {
		const started = performance.now()
		const what = await work.then(
			({ outcome }) => outcome,
			(error) => {
				assert.ok(error instanceof BrokerError)
				if (error.status === 503) assert.ok(error.retryAfter)
				return error.code
			},
		)
		return { what, ms: performance.now() - started }
	}
	const refresh = (broker: TokenBroker, session: Session) =>
		resultOf(broker.acquireSilent(session, { forceRefresh: true }))
	const refreshes = () => setting.world.standIn.count('token', 'refresh_token')
	const pageOf = (path: string) => browser.get(`${app.origin}${path}`)

	/** Everybody is served again within two seconds, with the refresh token that is the latest. */
	async function heals(): Promise<void> {
		for (const end = performance.now() + 2000; ; await sleep(20)) {
			const all = await Promise.all(sessions.map((session) => refresh(fresh, session)))
			const { status } = await pageOf('/token?force')
			if (status === 200 && all.every(({ what }) => what === 'refreshed')) return
			assert.ok(performance.now() < end, `${status} ${all.map(({ what }) => what)}`)
			assert.equal(status === 200 ? 503 : status, 503)
			for (const { what } of all) assert.ok(['refreshed', 'ERR_STORE_UNAVAILABLE'].includes(what), what)
		}
	}

	for (const [number, [what, { begin, end, reads, commits }]] of Object.entries(refusals).entries()) {
		it(`E8: ${what}: is a 503 in time for who needs it, and heals`, async () => {
			const [held, forced] = sessions as [Session, Session]
			assert.ok(await setting.broker.acquireSilent(held))
			setting.world.standIn.clearLog()
			await begin()
			try {
				const [hit, cached, refused, token, plain, signIn] = await Promise.all([
					resultOf(setting.broker.acquireSilent(held)),
					resultOf(fresh.acquireSilent(unread[number] as Session)),
					refresh(setting.broker, forced),
					pageOf('/token?force'),
					fetch(`${app.origin}/anonymous`),
					app.signIn(app.browser()),
				])
				assert.equal(hit.what, 'hit')
				assert.equal(cached.what, reads ? 'cached' : 'ERR_STORE_UNAVAILABLE')
				assert.equal(refused.what, 'ERR_STORE_UNAVAILABLE')
				for (const { ms } of [cached, refused]) assert.ok(ms < 1000, `${ms} ms`)
				assert.deepEqual([token.status, plain.status, signIn.status], [503, 200, 503])
				assert.ok(token.headers.get('retry-after'))
				assert.equal(refreshes(), 0, 'no refresh token is used that could not be replaced')
			} finally {
				await end()
			}
			await heals()
		})

		it(`E8: ${what}: from the middle of a refresh on, loses nothing of it`, async () => {
			const [session] = sessions as [Session]
			setting.world.standIn.inject({ on: 'token', delayMs: 400 })
			const refreshing = refresh(setting.broker, session)
			await sleep(200)
			await begin()
			try {
				const other = await refresh(fresh, session)
				assert.equal(other.what, 'ERR_STORE_UNAVAILABLE')
				assert.ok(other.ms < 1000, `${other.ms} ms`)
				assert.equal((await refreshing).what, 'refreshed')
				assert.equal(setting.broker.statistics.unsaved, commits ? 0 : 1)
				const next = await refresh(fresh, session)
				assert.equal(next.what, 'ERR_STORE_UNAVAILABLE')
				assert.ok(next.ms < 1000, `${next.ms} ms`)
			} finally {
				await end()
			}
			for (const last = performance.now() + 3000; setting.broker.statistics.unsaved > 0; await sleep(20))
				assert.ok(performance.now() < last, 'it is saved')
			await heals()
		})
	}

	it('E8: any connection, again and again: is tried again within the deadline', async () => {
		const killing = new AbortController()
		const kills = (async () => {
			while (!killing.signal.aborted) await killOthers().then(() => sleep(100))
		})()
		const results = []
		for (let round = 0; round < 5; round++)
			results.push(...(await Promise.all(sessions.map((session) => refresh(fresh, session)))))
		killing.abort()
		await kills
		for (const { what, ms } of results) {
			assert.ok(['refreshed', 'ERR_STORE_UNAVAILABLE', 'ERR_OVERLOADED'].includes(what), what)
			assert.ok(ms < 2000, `${ms} ms`)
		}
		const done = results.filter(({ what }) => what === 'refreshed').length
		assert.ok(done >= results.length / 2, `${done} of ${results.length}`)
		for (const last = performance.now() + 3000; fresh.statistics.unsaved > 0; await sleep(20))
			assert.ok(performance.now() < last)
		await heals()
	})

	it('E8: tells nobody a 500', () => {
		assert.ok(app.errors.length > 0)
		for (const error of app.errors) assert.equal((error as BrokerError).status, 503, String(error))
	})
})
