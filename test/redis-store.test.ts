import assert from 'node:assert/strict'
import type { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { people } from '../dev/people.js'
import {
	BrokerError,
	createHealthRoutes,
	memoryTokenStore,
	type RedisSource,
	redisTokenStore,
} from '../src/index.js'
import { closeRedis, copyRedisOptions, onRedis, openRedis, type RedisClient } from '../src/redis-client.js'
import { createRedisStore } from '../workers/redis-store.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'
import { createLink } from './support/redis-link.js'
import { createSessionApplication, request, type SessionApplication } from './support/session-application.js'
import { assertTook } from './support/took.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const password = 'canary p@ss/word:%'

let world: World
before(async () => {
	world = await createWorld()
})
after(() => world.close())

describe('redisTokenStore', () => {
	let redis: TestRedis
	before(async () => {
		redis = await startRedis({ tcp: true, password })
		const client = redis.client()
		await client.acl('SETUSER', 'app', 'on', `>${password}`, '~*', '&*', '+@all', '-@dangerous', '+info')
	})
	after(() => redis.stop())

	const encoded = encodeURIComponent(password)
	const sources: Record<string, () => RedisSource> = {
		'a URL': () => redis.url,
		'a URL with a user, a password and a database': () => `redis://app:${encoded}@127.0.0.1:${redis.port}/2`,
		options: () => ({ host: '127.0.0.1', port: redis.port as number, password }),
		'options for a unix socket': () => ({ path: redis.path, password }),
		'options with an ACL user': () => ({ path: redis.path, username: 'app', password }),
		'options with a key prefix': () => ({ path: redis.path, password, keyPrefix: 'of-one-app:' }),
		'an ioredis instance whose numbers are texts': () =>
			new Redis({ path: redis.path, password, lazyConnect: true, stringNumbers: true }),
		'an ioredis instance': () => new Redis({ path: redis.path, password, lazyConnect: true, db: 3 }),
		'an ioredis instance with functions of its own': () =>
			new Redis({
				path: redis.path,
				password,
				lazyConnect: true,
				keyPrefix: 'instance:',
				retryStrategy: () => 1,
				reconnectOnError: () => false,
			}),
	}
	for (const [what, source] of Object.entries(sources))
		it(`keeps sessions and tokens, given ${what}`, async () => {
			const client = redis.client()
			await client.flushall()
			const app = await createApplication(world, { secrets, store: redisTokenStore(source()) })
			try {
				const browser = app.browser()
				await app.signIn(browser)
				assert.equal(
					(await browser.get(`${app.origin}/token?force`)).json<{ outcome: string }>().outcome,
					'refreshed',
				)
				// Signing in has the store asked whether it takes writes, perhaps.
				const dump = (await redis.dump()).filter((line) => !/:p \(/.test(line))
				const place = what.includes('database') ? /^db2 / : what === 'an ioredis instance' ? /^db3 / : /^/
				const prefix = what.includes('key prefix')
					? 'of-one-app:'
					: what.includes('functions')
						? 'instance:'
						: ''
				// Two in the index: the user's id, and the name.
				for (const [kind, count] of Object.entries({ s: 1, t: 1, u: 1, i: 2 }))
					assert.equal(
						dump
							.filter((line) => place.test(line) && line.replace(place, '').startsWith(`${prefix}koa-msal:`))
							.filter((line) => line.replace(/ \(.*/, '').includes(`:${kind}:`)).length,
						count,
						`${kind} in\n${dump.join('\n')}`,
					)
				assert.equal(dump.length, 5)
				await browser.get(`${app.origin}/user/logout`)
				assert.deepEqual(
					(await redis.dump()).filter((line) => !/:u:|:p \(/.test(line)),
					[],
				)
			} finally {
				await app.close()
			}
		})

	it('does not use the instance it is given, nor close it', async () => {
		const instance = new Redis({ path: redis.path, password })
		try {
			const app = await createSessionApplication({ secrets, store: redisTokenStore(instance) }, () => 'fine')
			await app.close()
			assert.equal(await instance.ping(), 'PONG')
		} finally {
			instance.disconnect()
		}
	})

	it('shows no secret, however it is looked at (D9)', () => {
		const options = copyRedisOptions({
			host: 'host',
			password,
			sentinelPassword: password,
			tls: { key: password, passphrase: password, pfx: Buffer.from(password) },
			sentinels: [{ host: 'host', port: 1 }],
		})
		const lists = copyRedisOptions({
			host: 'host',
			tls: { key: [password, { pem: password, passphrase: password }], pfx: [{ buf: password }] },
		})
		const cluster = redisTokenStore({
			nodes: [`redis://:${encoded}@127.0.0.1:7000`, { host: '127.0.0.1', port: 7001, password }],
			redisOptions: { password },
		} as never)
		for (const shown of [options, lists, cluster]) {
			const cloned = structuredClone(shown)
			assert.ok(!JSON.stringify(cloned).includes('canary'), JSON.stringify(cloned))
		}
	})

	it('tells of a command that Redis refuses neither arguments nor those of others in its transaction', async () => {
		const client = openRedis(redisTokenStore({ path: redis.path, password }).connection)
		const isSilent = (error: Error) => {
			assert.match(String((error.cause as Error).name), /ReplyError/)
			return !inspect(error, { depth: null, showHidden: true }).includes('canary')
		}
		try {
			await assert.rejects(
				onRedis(client, (one) => one.call('AUTH', 'nobody', `canary-${password}`)),
				isSilent,
			)
			// Refused as a whole, for its second command.
			await assert.rejects(
				onRedis(client, (one) => one.multi().set('k', 'canary').call('HSET', 'canary').exec()),
				isSilent,
			)
		} finally {
			closeRedis(client)
		}
	})

	for (const node of [
		`redis://127.0.0.1:7000?password=${encoded}`,
		`redis://127.0.0.1:7000/?db=1`,
		`127.0.0.1:7000?password=${encoded}`,
		`redis://127.0.0.1:7000#${encoded}`,
		`redis://${encoded}@127.0.0.1:7000`,
		`redis://${encoded}:@127.0.0.1:7000`,
		`${encoded}@127.0.0.1:7000`,
		`redis://:${encoded}%zz@127.0.0.1:7000`,
		`redis://:canary#${encoded}@127.0.0.1:7000`,
		`redis://127.0.0.1:7000/${encoded}`,
		`http://:${encoded}@127.0.0.1:7000`,
		`rediss://:${encoded}@127.0.0.1:7000`,
		encoded,
		'',
	])
		it(`refuses a node of a cluster that ioredis would read otherwise: ${node.replaceAll(encoded, '…')}`, () => {
			assert.throws(
				() => redisTokenStore({ nodes: [{ host: '127.0.0.1', port: 1 }, node] }),
				(error: BrokerError) => {
					assert.equal(error.code, 'ERR_CONFIG')
					assert.match(error.message, /^store\.nodes\.1 /)
					assert.ok(!inspect(error).includes('canary'))
					return true
				},
			)
		})

	it('takes nodes of a cluster apart as ioredis would', () => {
		const nodes = [`redis://user:${encoded}@[::1]:7000/0`, 'redis.example', '127.0.0.1:7001', '7002', 7003]
		const { connection } = redisTokenStore({ nodes, redisOptions: { tls: {} } })
		assert.ok(connection.kind === 'cluster')
		const [first, ...others] = connection.nodes as { host: string; port: number; password: KeyObject }[]
		assert.deepEqual([first?.host, first?.port], ['::1', 7000])
		assert.equal(first?.password.export().toString(), password)
		assert.deepEqual(others, [
			{ host: 'redis.example', port: 6379 },
			{ host: '127.0.0.1', port: 7001 },
			'7002',
			7003,
		])
		redisTokenStore({ nodes: ['rediss://redis.example'], redisOptions: { tls: {} } })
	})

	it('gives a key, a list of keys and a binary pfx to TLS as they were', () => {
		const pfx = Buffer.from([0x30, 0x82, 0xff, 0xfe, 0x00, 0x80])
		const options = copyRedisOptions({
			host: '127.0.0.1',
			port: 1,
			tls: { pfx, key: ['one', { pem: 'two', passphrase: 'three' }], passphrase: 'four', ca: ['five'] },
		})
		const client = openRedis({ kind: 'server', options })
		try {
			const { tls } = client.options as { tls: Record<string, unknown> }
			assert.deepEqual(Buffer.from(tls.pfx as Uint8Array), pfx)
			const [one, two] = tls.key as [unknown, { pem: unknown; passphrase: unknown }]
			assert.deepEqual([String(one), String(two.pem), two.passphrase], ['one', 'two', 'three'])
			assert.equal(tls.passphrase, 'four')
			assert.deepEqual(tls.ca, ['five'])
		} finally {
			closeRedis(client)
		}
	})

	it('keeps the options of a cluster, and its key prefix', () => {
		const natMap = { '10.0.0.1:6379': { host: '127.0.0.1', port: 7000 } }
		const options = {
			natMap,
			keyPrefix: 'p:',
			// Not this: what is signed out has to be read as such.
			scaleReads: 'slave',
			slotsRefreshTimeout: 2345,
			lazyConnect: true,
		}
		const instance = new Cluster([{ host: '127.0.0.1', port: 1 }], {
			...options,
			redisOptions: { password },
		} as never)
		for (const source of [
			instance,
			{ nodes: [{ host: '127.0.0.1', port: 1 }], ...options, redisOptions: { password } },
		]) {
			const { connection } = redisTokenStore(source as RedisSource)
			const client = openRedis(structuredClone(connection)) as Cluster
			try {
				assert.deepEqual(client.options.natMap, natMap)
				assert.equal(client.options.keyPrefix, 'p:')
				assert.equal(client.options.scaleReads, 'master')
				assert.equal(client.options.slotsRefreshTimeout, 2345)
				assert.equal(client.options.redisOptions?.password, password)
				assert.equal(client.options.redisOptions?.maxRetriesPerRequest, 0)
			} finally {
				closeRedis(client)
			}
		}
		instance.disconnect()
	})

	const server = { host: '127.0.0.1' }
	const refused: Record<string, [source: unknown, setting: RegExp]> = {
		'a function in tls': [
			{ ...server, tls: { checkServerIdentity: () => undefined } },
			/store\.tls\.checkServerIdentity/,
		],
		'a natMap function': [{ ...server, natMap: () => null }, /store\.natMap/],
		'a natMap function of a cluster': [{ nodes: [server], natMap: () => null }, /store\.natMap/],
		'a dnsLookup of a cluster': [{ nodes: [server], dnsLookup: () => {} }, /store\.dnsLookup/],
		'a function in the options of a cluster’s nodes': [
			{ nodes: [server], redisOptions: { tls: { checkServerIdentity: () => undefined } } },
			/store\.redisOptions\.tls\.checkServerIdentity/,
		],
		'a function in a list': [{ ...server, sentinels: [{ host: () => 'x' }] }, /store\.sentinels\.0\.host/],
		'an instance with a function': [
			new Redis({ ...server, lazyConnect: true, tls: { checkServerIdentity: () => undefined } }),
			/store\.tls\.checkServerIdentity/,
		],
		'an object with a class of its own': [
			{ ...server, tls: { secureContext: new (class Context {})() } },
			/store\.tls\.secureContext/,
		],
		'a certificate that is none': [{ ...server, tls: { cert: 'canary' } }, /store\.tls .*ERR_OSSL_PEM/],
		'a key that is none, for a cluster': [
			{ nodes: [server], redisOptions: { tls: { key: 'canary' } } },
			/store\.redisOptions\.tls/,
		],
		'a key that is none, for Sentinel': [
			{ sentinels: [server], name: 'x', sentinelTLS: { key: 'canary' } },
			/store\.sentinelTLS/,
		],
		'TLS that ioredis would not use': [
			{ sentinels: [server], name: 'x', tls: {} },
			/store\.enableTLSForSentinelMode/,
		],
		'an http URL': ['http://canary.example', /Redis URL/],
		'no URL at all': ['canary', /Redis URL/],
		'an empty text': ['', /Redis URL/],
		'a URL whose password is not encoded well': ['redis://:canary%zz@host:6379', /Redis URL/],
		'a URL whose database is no number': ['redis://host:6379/canary', /Redis URL/],
		'a URL without a host': ['redis:///0', /Redis URL/],
		'a URL with one word in place of user and password': ['redis://canary@host', /Redis URL/],
		'a URL with a query, which would be dropped': ['redis://host:6379?password=canary', /Redis URL/],
		nothing: [undefined, /redisTokenStore/],
		null: [null, /redisTokenStore/],
		'a number': [6379, /redisTokenStore/],
		'no nodes': [{ nodes: [] }, /store\.nodes/],
	}
	for (const [what, [source, setting]] of Object.entries(refused))
		it(`refuses ${what}, by name and not by value (J2)`, () => {
			assert.throws(
				() => redisTokenStore(source as RedisSource),
				(error: Error) => {
					assert.ok(error instanceof BrokerError, String(error))
					assert.equal(error.code, 'ERR_CONFIG')
					assert.match(error.message, setting)
					assert.ok(!error.message.includes('canary') && !String(error.cause ?? '').includes('canary'))
					return true
				},
			)
		})
})

describe('Redis that fails', () => {
	let redis: TestRedis
	let app: Application
	before(async () => {
		redis = await startRedis()
		app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
	})
	after(async () => {
		await app.close()
		await redis.stop()
	})

	/** A session cookie of somebody who is signed in. */
	async function signedIn(name?: string): Promise<string> {
		const browser = app.browser()
		await app.signIn(browser, name)
		assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
		const cookie = browser.jar.cookies.find(({ name }) => name.startsWith('msal-'))
		return `${cookie?.name}=${cookie?.value}`
	}

	async function timed(path: string, cookie?: string) {
		const began = performance.now()
		const answer = await request(`${app.origin}${path}`, cookie)
		return { ...answer, ms: performance.now() - began }
	}

	it('is answered 503 with Retry-After in a second to who has a session, and not noticed by who has none (E1)', async () => {
		const cookie = await signedIn()
		await redis.kill()
		for (let i = 0; i < 3; i++) {
			const refused = await timed('/token', cookie)
			assert.equal(refused.status, 503)
			assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
			assert.equal(refused.headers.get('cache-control'), 'no-store')
			assert.deepEqual(refused.lines, [], 'the cookie is kept for when Redis is back')
			assertTook(refused.ms, 1000)
			assert.ok(!/redis|ECONN|sock/i.test(refused.text), refused.text)
			const anonymous = await timed('/anonymous')
			assert.equal(anonymous.status, 200)
			assertTook(anonymous.ms, 500)
			// A sign-in needs no session yet.
			assert.equal((await timed('/user/login')).status, 303)
		}
		const together = await Promise.all(Array.from({ length: 50 }, () => timed('/token', cookie)))
		assert.ok(together.every(({ status, ms }) => status === 503 && ms < 1000))
	})

	it('works again within two seconds after it is back (E1)', async () => {
		await redis.restart()
		const began = performance.now()
		await signedInLater()
		assertTook(performance.now() - began, 2000)
	})

	/** Signs in as soon as that works. */
	async function signedInLater(): Promise<void> {
		for (;;) {
			const browser = app.browser()
			const page = await app.signIn(browser).catch((error: unknown) => error)
			if ((await browser.get(`${app.origin}/token`)).status === 200) return
			assert.ok(page)
			await sleep(20)
		}
	}

	it('that comes back empty leaves everybody anonymous, answers no 500, and has them sign in at once (E4)', async () => {
		const cookies = [await signedIn(), await signedIn('Alan Turing')]
		for (const cookie of cookies) assert.equal((await request(`${app.origin}/token`, cookie)).status, 200)
		app.errors.length = 0
		await redis.restart()
		const began = performance.now()
		const statuses = new Set<number>()
		for (const cookie of cookies)
			for (let status = 0; status !== 401; statuses.add(status)) {
				assertTook(performance.now() - began, 2000, `${status}`)
				;({ status } = await request(`${app.origin}/token`, cookie))
			}
		assert.deepEqual(
			[...statuses].filter((status) => status !== 401 && status !== 503),
			[],
		)
		for (const cookie of cookies) {
			assert.equal((await request(`${app.origin}/anonymous`, cookie)).status, 200)
			assert.equal((await request(`${app.origin}/private`, cookie)).status, 401)
		}
		// Each step of it needs a script that this server has never seen.
		assert.match(String(await redis.client().info('memory')), /number_of_cached_scripts:0/)
		const anew = await signedIn()
		assert.equal((await request(`${app.origin}/token?force`, anew)).status, 200)
		assert.equal((await request(`${app.origin}/user/logout`, anew)).status, 303)
		assert.equal((await request(`${app.origin}/token`, anew)).status, 401)
		assert.deepEqual(
			app.errors.filter((error) => ((error as BrokerError).status ?? 500) === 500),
			[],
		)
	})

	it('signs nobody out by forgetting everything: 401 and never an error, and a sign-in works at once (E4)', async () => {
		const cookie = await signedIn()
		app.errors.length = 0
		await redis.client().flushall()
		assert.equal((await request(`${app.origin}/token`, cookie)).status, 401)
		await redis.client().script('FLUSH')
		assert.equal((await request(`${app.origin}/token?force`, await signedIn())).status, 200)
		assert.deepEqual(
			app.errors.filter((error) => (error as BrokerError).status >= 500),
			[],
		)
	})

	for (const [what, lost] of [
		['the tokens and kept the session', 't'],
		['the session and kept the tokens', 's'],
	] as const)
		it(`that has lost ${what} is a sign-out of that person, and of nobody else (E6)`, async () => {
			const client = redis.client()
			await client.flushall()
			const keysOf = async (kind: string) => new Set(await client.keys(`*:${kind}:*`))
			const ada = await signedIn()
			const [key = ''] = await keysOf(lost)
			const hers = new Set([...(await keysOf('t')), ...(await keysOf('s'))])
			const alan = await signedIn('Alan Turing')
			const his = [...(await keysOf('t')), ...(await keysOf('s'))].filter((one) => !hers.has(one))
			assert.equal(his.length, 2)
			const dumps = () => Promise.all(his.map((one) => client.dumpBuffer(one)))
			const [before, whoseIs] = [await dumps(), people.alan.oid]
			await client.del(key)

			const answer = await request(`${app.origin}/token?force`, ada, { accept: 'application/json' })
			assert.equal(answer.status, 401)
			assert.equal((app.errors.at(-1) as BrokerError).code, 'ERR_SIGNED_OUT')
			assert.doesNotMatch(answer.text, /alan/i)
			assert.ok(!answer.text.includes(whoseIs))
			// Nothing of her is in memory either.
			for (const path of ['/token', '/private/token'])
				assert.equal((await request(app.origin + path, ada)).status, 401, path)
			assert.equal((await request(`${app.origin}/anonymous`, ada)).status, 200)
			assert.deepEqual(await dumps(), before, 'what is his is as it was')
			const untouched = JSON.parse((await request(`${app.origin}/token?force`, alan)).text)
			assert.deepEqual([untouched.outcome, untouched.objectId], ['refreshed', whoseIs])
			const anew = JSON.parse((await request(`${app.origin}/token?force`, await signedIn())).text)
			assert.equal(anew.objectId, people.ada.oid)
		})

	it('that hangs is answered 503 within a second, and serves again when it goes on (E1)', async () => {
		const cookie = await signedIn()
		process.kill(redis.pid, 'SIGSTOP')
		try {
			const refused = await timed('/token', cookie)
			assert.deepEqual([refused.status, refused.headers.has('retry-after')], [503, true])
			assertTook(refused.ms, 1000)
			assert.equal((await timed('/anonymous')).status, 200)
		} finally {
			process.kill(redis.pid, 'SIGCONT')
		}
		const began = performance.now()
		while ((await request(`${app.origin}/token`, cookie)).status !== 200) {
			assertTook(performance.now() - began, 2000)
			await sleep(20)
		}
	})

	it('that drops every connection is used again by the next request (E8)', async () => {
		const cookie = await signedIn()
		await redis.client().call('CLIENT', 'KILL', 'TYPE', 'normal')
		const began = performance.now()
		let answer = await request(`${app.origin}/token?force`, cookie)
		while (answer.status === 503 && performance.now() - began < 2000)
			answer = await request(`${app.origin}/token?force`, cookie)
		assert.equal(answer.status, 200)
	})

	it('takes the cookie at sign-out all the same, and ends session and tokens when it is back (E10)', async () => {
		const cookie = await signedIn()
		const partitions = () => redis.client().keys('*:t:*')
		const before = await partitions()
		process.kill(redis.pid, 'SIGSTOP')
		try {
			const answer = await timed('/user/logout', cookie)
			assert.equal(answer.status, 503)
			assert.equal(answer.cleared, true)
			assertTook(answer.ms, 1500)
		} finally {
			process.kill(redis.pid, 'SIGCONT')
		}
		// Whoever kept the cookie is signed out as well, and the store is told as soon as it can be.
		assert.equal((await request(`${app.origin}/token`, cookie)).status, 401)
		const began = performance.now()
		while ((await partitions()).length === before.length) {
			assertTook(performance.now() - began, 3000)
			await sleep(50)
		}
		assert.equal((await partitions()).length, before.length - 1, 'the tokens have ended too')
	})
})

describe('Redis that is killed, and has lost nothing when it comes back', () => {
	it('takes the cookie at sign-out all the same, says what is done, and ends session and tokens when it is back (E10)', async () => {
		const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'no'] })
		const app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		try {
			const [browser, other] = [app.browser(), app.browser()]
			await app.signIn(browser)
			await app.signIn(other, 'Alan Turing')
			const session = browser.jar.cookies.find(({ name }) => name.startsWith('msal-'))
			const cookie = `${session?.name}=${session?.value}`
			const keys = async () => (await redis.client().keys('*')).filter((key) => /:[st]:/.test(key))
			assert.equal((await keys()).length, 4)
			app.errors.length = 0
			await redis.kill()

			const began = performance.now()
			const page = await browser.get(`${app.origin}/user/logout`)
			assertTook(performance.now() - began, 1500)
			assert.deepEqual([page.status, page.headers.get('cache-control')], [503, 'no-store'])
			assert.match(page.headers.get('retry-after') ?? '', /^\d+$/)
			assert.match(page.html, /You are signed out in this browser\..* as soon as the service is available/)
			assert.match(page.html, /<a href="\/user\/login">Sign in<\/a>/)
			assert.ok(!browser.jar.cookies.some(({ name }) => name.startsWith('msal-')), 'the cookie is gone')
			assert.equal((await browser.get(`${app.origin}/private`)).status, 303, 'nobody is signed in here')
			assert.deepEqual(
				app.errors.map((error) => (error as BrokerError).code),
				['ERR_STORE_UNAVAILABLE'],
			)
			const kept = await request(`${app.origin}/token`, cookie, { accept: 'application/json' })
			assert.equal(kept.status, 401, 'nor is whoever kept the cookie')
			const program = await request(`${app.origin}/user/logout`, cookie, { accept: 'application/json' })
			const { error, message } = JSON.parse(program.text)
			assert.deepEqual([program.status, program.cleared, error], [503, true, 'ERR_STORE_UNAVAILABLE'])
			assert.match(message, /signed out in this browser/)

			await redis.restart()
			const back = performance.now()
			while ((await keys()).length > 2) {
				assertTook(performance.now() - back, 3000)
				await sleep(50)
			}
			assert.equal((await request(`${app.origin}/token`, cookie)).status, 401)
			assert.equal((await other.get(`${app.origin}/token`)).status, 200, 'nobody else is signed out')
		} finally {
			await app.close()
			await redis.stop()
		}
	})
})

describe('a session that could not be stored', () => {
	it('is stored by the same request when Redis is back', async () => {
		const redis = await startRedis()
		const app = await createSessionApplication(
			{ secrets, store: redisTokenStore({ path: redis.path }) },
			async (ctx) => {
				ctx.session.value ??= 'x'
				if (ctx.path !== '/twice') return ctx.session.value
				process.kill(redis.pid, 'SIGSTOP')
				await assert.rejects(ctx.session.manuallyCommit())
				process.kill(redis.pid, 'SIGCONT')
			},
		)
		try {
			const { cookie } = await app.get('/twice')
			assert.ok(cookie)
			assert.equal((await app.get('/', cookie)).text, '{"body":"x"}')
		} finally {
			await app.close()
			await redis.stop()
		}
	})
})

describe('Redis at the start', () => {
	it('may be down: that is not ready, serves anonymous pages, and is back within two seconds of it (E1)', async () => {
		const redis = await startRedis()
		await redis.kill()
		const app = await createApplication(world, {
			secrets,
			store: redisTokenStore({ path: redis.path }),
			configure: (own, { broker }) => own.use(createHealthRoutes(broker)),
		})
		try {
			const health = await app.broker.health()
			assert.deepEqual([health.ready, health.workers.ok, health.store.ok], [false, true, false])
			assert.equal(health.store.code, 'ERR_STORE_UNAVAILABLE')
			assert.equal((await request(`${app.origin}/ready`)).status, 503)
			assert.equal((await request(`${app.origin}/live`)).status, 200)
			assert.equal((await request(`${app.origin}/anonymous`)).status, 200)
			await redis.restart()
			const began = performance.now()
			const within = () => {
				const took = performance.now() - began
				assertTook(took, 2000)
			}
			for (;;) {
				const browser = app.browser()
				await app.signIn(browser).catch(() => {})
				if ((await browser.get(`${app.origin}/token`)).status === 200) break
				within()
			}
			while ((await request(`${app.origin}/ready`)).status !== 200) within()
			within()
		} finally {
			await app.close()
			await redis.stop()
		}
	})

	it('may take connections and never say a word', async () => {
		const silent = createServer((socket) => socket.on('error', () => {}))
		await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
		const { port } = silent.address() as { port: number }
		const make = (
			store: Parameters<typeof createSessionApplication>[0]['store'],
		): Promise<SessionApplication> =>
			createSessionApplication({ secrets, store: store ?? memoryTokenStore() }, (ctx) => {
				if (ctx.path === '/set') ctx.session.value = 'x'
				return 'fine'
			})
		const memory = memoryTokenStore()
		const [healthy, app] = await Promise.all([
			make(memory),
			make(redisTokenStore({ host: '127.0.0.1', port })),
		])
		try {
			const { cookie } = await healthy.get('/set')
			const began = performance.now()
			const answer = await app.get('/', cookie)
			assert.deepEqual([answer.status, answer.headers.has('retry-after')], [503, true])
			assertTook(performance.now() - began, 1000)
			assert.equal((await app.get('/')).status, 200)
		} finally {
			await Promise.all([healthy.close(), app.close()])
			silent.close()
		}
	})
})

describe('a connection to Redis', () => {
	let redis: TestRedis
	before(async () => {
		redis = await startRedis()
	})
	after(() => redis.stop())

	const unavailable = { code: 'ERR_STORE_UNAVAILABLE', status: 503 }

	it('that leads nowhere any more is replaced, and what was sent on it is not sent again later', async () => {
		const link = await createLink(redis.path)
		const { connection } = redisTokenStore({ host: '127.0.0.1', port: link.port })
		const client = openRedis(connection)
		try {
			await onRedis(client, (one) => one.set('key', 'before'))
			link.lose()
			const began = performance.now()
			await assert.rejects(
				onRedis(client, (one) => one.set('key', 'late')),
				unavailable,
			)
			assertTook(performance.now() - began, 1000)
			await redis.client().set('key', 'newer')
			while ((await onRedis(client, (one) => one.get('key')).catch(() => 'nothing')) === 'nothing')
				assertTook(performance.now() - began, 5000)
			assert.equal(await redis.client().get('key'), 'newer')
		} finally {
			closeRedis(client)
			await link.close()
		}
	})

	it('that breaks under a command is opened again, and the command is tried once more', async () => {
		const client = openRedis(redisTokenStore({ path: redis.path }).connection)
		const admin = redis.client()
		try {
			await onRedis(client, (one) => one.set('counter', 0))
			await admin.call('CLIENT', 'PAUSE', '300', 'WRITE')
			const counted = onRedis(client, (one) => one.incr('counter'))
			await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
			assert.equal(await counted, 1)
		} finally {
			closeRedis(client)
		}
	})

	for (const what of ['a command', 'a transaction'] as const)
		it(`to a server that has been demoted is opened anew, to its successor, for ${what}`, async () => {
			const successor = await startRedis()
			const link = await createLink(redis.path)
			const client = openRedis(redisTokenStore({ host: '127.0.0.1', port: link.port }).connection)
			try {
				await onRedis(client, (one) => one.set('key', 'before'))
				await redis.client().replicaof('127.0.0.1', 1)
				link.lead(successor.path)
				await onRedis(client, async (one) =>
					what === 'a command' ? one.set('key', 'after') : one.multi().set('key', 'after').exec(),
				)
				assert.equal(await successor.client().get('key'), 'after')
			} finally {
				closeRedis(client)
				await link.close()
				await redis.client().replicaof('NO', 'ONE')
				await successor.stop()
			}
		})

	it('may lose an answer: what was done is not taken for somebody else’s when it is tried once more', async () => {
		const client = openRedis(redisTokenStore({ path: redis.path }).connection)
		const store = createRedisStore(client, 'koa-msal:test', 1000, 1000)
		try {
			const claim = { transaction: 'transaction', value: 'ours', lifetime: 60_000 }
			for (let time = 0; time < 2; time++) assert.equal(await store.claim(claim), undefined)
			assert.equal(await store.claim({ ...claim, value: 'theirs' }), 'ours')

			await store.create('partition', { sealed: 'first', expiresOn: 0, lifetime: 60_000, mark: 'mark' })
			const opened = await store.open('partition', { holder: 'us', leaseUnlessBeyond: 1 })
			assert.equal(opened.state === 'open' && opened.leased, true)
			const commit = { holder: 'us', version: 1, sealed: 'second', expiresOn: 2 }
			for (let time = 0; time < 2; time++) assert.equal(await store.commit('partition', commit), 'written')
			assert.equal(await store.commit('partition', { ...commit, sealed: 'third' }), 'fenced')
			const next = await store.open('partition', { holder: 'them', leaseUnlessBeyond: 3 })
			assert.equal(next.state === 'open' && next.leased, true)
			assert.equal(await store.commit('partition', commit), 'written', 'also with the next at work')
			assert.equal(await store.renew('partition', 'them'), true, 'who is not disturbed')
		} finally {
			closeRedis(client)
		}
	})

	it('is told to heed the longest of what the provider has asked for, whoever comes last', async () => {
		const client = openRedis(redisTokenStore({ path: redis.path }).connection)
		const store = createRedisStore(client, 'koa-msal:test', 1000, 1000)
		try {
			for (const milliseconds of [600_000, 5000]) await store.throttle('tenant', milliseconds)
			assert.ok((await store.throttled('tenant')) > 590_000)
			await store.throttle('tenant', 900_000)
			assert.ok((await store.throttled('tenant')) > 890_000)
		} finally {
			closeRedis(client)
		}
	})

	describe('and a lease that has run out', () => {
		let client: RedisClient
		let store: ReturnType<typeof createRedisStore>
		const begin = async (partition: string, holder: string) => {
			await store.create(partition, { sealed: 'first', expiresOn: 1, lifetime: 60_000, mark: 'mark' })
			const opened = await store.open(partition, { holder, leaseUnlessBeyond: 2 })
			assert.ok(opened.state === 'open' && opened.leased)
		}
		const runOut = (partition: string) => client.del(`koa-msal:test:l:{${partition}}`)
		const open = (partition: string, holder: string) =>
			store.open(partition, { holder, leaseUnlessBeyond: 2 }).then(({ state }) => state)
		before(() => {
			client = openRedis(redisTokenStore({ path: redis.path }).connection)
			store = createRedisStore(client, 'koa-msal:test', 1000, 1000)
		})
		after(() => closeRedis(client))

		it('is kept for its holder a while, who may still write', async () => {
			await begin('late', 'A')
			await runOut('late')
			assert.equal(await open('late', 'B'), 'busy')
			const commit = { holder: 'A', version: 1, sealed: 'refreshed', expiresOn: 2 }
			assert.equal(await store.commit('late', { ...commit, holder: 'C' }), 'fenced')
			assert.equal(await store.commit('late', commit), 'written')
			assert.equal(await open('late', 'B'), 'open')
		})

		it('is taken back by its holder when nobody has had it since', async () => {
			await begin('renewed', 'A')
			await runOut('renewed')
			assert.equal(await store.renew('renewed', 'B'), false)
			assert.equal(await store.renew('renewed', 'A'), true)
			await runOut('renewed')
			assert.equal(await open('renewed', 'B'), 'busy')
			assert.equal(await store.renew('renewed', 'A'), true, 'also while it is kept for them')
			assert.equal(await open('renewed', 'B'), 'busy')
		})

		it('does not fence its holder off for the sake of what was no refresh', async () => {
			await begin('sealed anew', 'A')
			await runOut('sealed anew')
			const anew = { holder: undefined, version: 1, sealed: 'sealed anew', expiresOn: 1 }
			assert.equal(await store.commit('sealed anew', anew), 'written')
			const commit = { holder: 'A', version: 1, sealed: 'refreshed', expiresOn: 2 }
			assert.deepEqual(await store.commit('sealed anew', commit), { version: 2, sealed: 'sealed anew' })
			assert.equal(await store.commit('sealed anew', { ...commit, version: 2 }), 'written')
		})

		it('is not ended by an earlier holder who comes late', async () => {
			await begin('earlier', 'B')
			await runOut('earlier')
			const commit = { holder: 'A', late: true, version: 1, sealed: 'earlier', expiresOn: 1 }
			assert.equal(await store.commit('earlier', commit), 'written')
			assert.equal(await open('earlier', 'C'), 'busy', 'what B has refreshed may be newer')
		})
	})

	it('that breaks between a sign-out and its notice does not keep the notice from the others', async () => {
		const client = openRedis(redisTokenStore({ path: redis.path }).connection)
		const store = createRedisStore(client, 'koa-msal:test', 1000, 1000)
		const listener = redis.client()
		try {
			await listener.subscribe('koa-msal:test:signed-out')
			const told = once(listener, 'message', { signal: AbortSignal.timeout(2000) })
			mock
				.method(client, 'publish')
				.mock.mockImplementationOnce(() => Promise.reject(new Error('Connection is closed.')))
			await store.remove('partition')
			assert.deepEqual(await told, ['koa-msal:test:signed-out', 'partition'])
		} finally {
			closeRedis(client)
		}
	})
})
