import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { after, before, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { clientIds } from '../../dev/directory.js'
import { people } from '../../dev/people.js'
import { BrokerError, redisTokenStore } from '../../src/index.js'
import { createSealer, type Sealer } from '../../src/sealing.js'
import type { SessionTicket } from '../../src/session.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis } from '../support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const newSecret = 'the next secret, that not every process has yet'
const sealerOf = (...secrets: string[]) =>
	createSealer(
		secrets.map((text) => createSecretKey(Buffer.from(text))),
		clientIds.web,
	)

type Session = { readonly msal: SessionTicket }

/** What one blob can look like after an accident or an attack. */
interface Damage {
	readonly what: string
	readonly sealed: string
}

function flipped(sealed: string, position: number, mask = 1): Damage {
	const bytes = Buffer.from(sealed, 'base64url')
	bytes[position] = (bytes[position] ?? 0) ^ mask
	return { what: `byte ${position} ^ ${mask}`, sealed: bytes.toString('base64url') }
}

const extensions = [
	'A',
	'AA',
	'AAAA',
	'=',
	'==',
	' ',
	'\n',
	'.',
	'\u0000',
	'ä',
	'\u{1F512}',
	'A'.repeat(4096),
]

/** Where a sealed text says its version and its key: what is changed there may be a newer process's work. */
const versionAt = 0
const keyIdEnd = 9

describe('D2: a sealed text of 4 KiB that was changed', () => {
	const sealer = sealerOf(secret)
	const sealed = sealer.seal('tokens', 'a partition', 'x'.repeat(3000))
	const { length } = Buffer.from(sealed, 'base64url')
	const reason = (text: string) => {
		const opened = sealer.open('tokens', 'a partition', text)
		return opened.ok ? 'opened' : opened.reason
	}

	it('opens as long as it was not', () => {
		assert.equal(sealed.length > 4000 && sealed.length < 4200, true, `${sealed.length}`)
		assert.equal(reason(sealed), 'opened')
	})

	it('D2: does not open with any byte flipped, and is called another’s only for its version and key id', () => {
		for (let i = 0; i < length; i++)
			for (const mask of [1, 0x80, 0xff])
				assert.equal(
					reason(flipped(sealed, i, mask).sealed),
					i === versionAt && mask < 32
						? 'unknown-format'
						: i > versionAt && i < keyIdEnd
							? 'unknown-key'
							: 'damaged',
					`byte ${i} ^ ${mask}`,
				)
	})

	it('D2: is damaged at every length but its own', () => {
		for (let end = 0; end < sealed.length; end++)
			assert.equal(reason(sealed.slice(0, end)), 'damaged', `${end}`)
		for (let bytes = 0; bytes < length; bytes++) {
			const cut = Buffer.from(sealed, 'base64url').subarray(0, bytes).toString('base64url')
			assert.equal(reason(cut), 'damaged', `${bytes} bytes`)
		}
		for (const more of extensions) {
			assert.equal(reason(sealed + more), 'damaged', JSON.stringify(more))
			if (/^[\w-]/.test(more)) continue
			assert.equal(reason(more + sealed), 'damaged', JSON.stringify(more))
		}
	})
})

let world: World
let redis: Awaited<ReturnType<typeof startRedis>>
let client: Redis
let app: Application
let ada: Session
let charles: Session
let namespace: string
/** Ada's and Charles's caches, as text. */
let adas: string
let charless: string
let stderr = ''
const sealer = sealerOf(secret)

before(async () => {
	// Warnings of a worker end on this process's stderr.
	mock.method(process.stderr, 'write', (chunk: Uint8Array | string, ...rest: unknown[]) => {
		stderr += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
		for (const done of rest) if (typeof done === 'function') done()
		return true
	})
	;[world, redis] = await Promise.all([createWorld(), startRedis()])
	client = redis.client()
	app = await createApplication(world, { secrets: [secret], store: redisTokenStore({ path: redis.path }) })
	ada = await sessionOf('Ada Lovelace')
	charles = await sessionOf('Charles Babbage')
	const [key = ''] = await client.keys(`*:t:{${ada.msal.partition}}`)
	namespace = key.slice(0, key.indexOf(':t:'))
	adas = await read(ada)
	charless = await read(charles)
})
after(async () => {
	mock.restoreAll()
	await app.close()
	await Promise.all([redis.stop(), world.close()])
})

async function sessionOf(name: string): Promise<Session> {
	const page = await app.signIn(app.browser(), name)
	assert.equal(page.status, 200, page.html)
	return app.seen.session as unknown as Session
}

const keyOf = ({ msal }: Session) => `${namespace}:t:{${msal.partition}}`

/** The JSON in a session's partition. */
async function read(session: Session): Promise<string> {
	const opened = sealer.open('tokens', session.msal.partition, (await client.hget(keyOf(session), 'b')) ?? '')
	assert.ok(opened.ok)
	return opened.plaintext
}

/** A session of Ada's with a partition of its own, that holds what is made for it. */
async function plant(make: (partition: string, sealer: Sealer) => string): Promise<Session> {
	const partition = randomBytes(32).toString('base64url')
	const session = { msal: { ...ada.msal, partition } }
	await client.hset(keyOf(session), { v: 1, b: make(partition, sealer), x: Date.now() + 3_600_000 })
	await client.pexpire(keyOf(session), 3_600_000)
	return session
}
const plantText = (text: string) => plant((partition, own) => own.seal('tokens', partition, text))

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected
const signedOut = code('ERR_SIGNED_OUT')

/** How an acquisition ended: whose token it was, or the code of the error. */
async function outcome(session: Session, forceRefresh: boolean): Promise<string> {
	try {
		const { accessToken, account } = await app.broker.acquireSilent(session, { forceRefresh })
		const claims = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString())
		return claims.oid === account.objectId ? claims.oid : `a token of ${claims.oid} for ${account.objectId}`
	} catch (error) {
		return error instanceof BrokerError ? error.code : String(error)
	}
}

/** Waits until so many more blobs were warned about; more than that is a failure as well. */
async function warned(since: number, times: number): Promise<void> {
	const count = () => stderr.slice(since).match(/KoaMsalWarning: a token blob/g)?.length ?? 0
	for (let i = 0; i < 100 && count() < times; i++) await sleep(20)
	await sleep(100)
	assert.equal(count(), times, 'one warning each')
}

async function eachOf<T>(list: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
	const rest = [...list]
	const take = async () => {
		for (let next = rest.shift(); next !== undefined; next = rest.shift()) await work(next)
	}
	await Promise.all(Array.from({ length: 16 }, take))
}

describe('D2: a changed blob in the store of a running application', () => {
	it('finds the blobs that this file plants', async () => {
		const session = await plantText(adas)
		assert.equal(await outcome(session, false), people.ada.oid)
		assert.equal(await outcome(session, true), people.ada.oid)
	})

	it('D2: is ERR_SIGNED_OUT, warned about once, and removed only when it fails under a known key', async () => {
		const since = stderr.length
		const whole = sealer.seal('tokens', 'x', adas)
		const { length } = Buffer.from(whole, 'base64url')
		const step = (sizes: number, count: number) =>
			Array.from({ length: count }, (_, i) => Math.floor((i * sizes) / count))
		const positions = [...Array(60).keys(), ...step(length, 180), length - 16, length - 1]
		const lengths = [
			0,
			1,
			2,
			3,
			4,
			12,
			70,
			71,
			72,
			...step(whole.length, 60),
			whole.length - 2,
			whole.length - 1,
		]
		type Case = { readonly what: string; readonly kept: boolean; readonly damage: (sealed: string) => string }
		const cases: Case[] = [
			...positions.map((at) => ({
				what: `byte ${at}`,
				kept: at < keyIdEnd,
				damage: (sealed: string) => flipped(sealed, at).sealed,
			})),
			...lengths.map((end) => ({
				what: `cut at ${end}`,
				kept: false,
				damage: (sealed: string) => sealed.slice(0, end),
			})),
			...extensions.map((more) => ({
				what: `with ${JSON.stringify(more.slice(0, 9))}`,
				kept: false,
				damage: (sealed: string) => sealed + more,
			})),
			{ what: 'plain text', kept: false, damage: () => adas },
			{ what: 'plain text in base64', kept: false, damage: () => Buffer.from(adas).toString('base64') },
		]
		assert.ok(cases.length > 300)
		await eachOf(cases, async ({ what, kept, damage }) => {
			const session = await plant((partition, own) => damage(own.seal('tokens', partition, adas)))
			const before = await client.hgetall(keyOf(session))
			const forceRefresh = what.length % 2 === 0
			assert.equal(await outcome(session, forceRefresh), 'ERR_SIGNED_OUT', what)
			assert.deepEqual(await client.hgetall(keyOf(session)), kept ? before : {}, what)
		})
		await warned(since, cases.length)
	})

	it('D2: is signed out as well when a field of it is missing', async () => {
		for (const fields of [['b'], ['x', 'b'], ['v'], ['v', 'b']]) {
			const session = await plantText(adas)
			await client.hdel(keyOf(session), ...fields)
			for (const force of [false, true])
				assert.equal(await outcome(session, force), 'ERR_SIGNED_OUT', `${fields}`)
		}
	})

	it('D2: is 401 over HTTP, in no way an error of the server, and the person can sign in again', async () => {
		for (const damage of [
			(sealed: string) => flipped(sealed, 100).sealed,
			(sealed: string) => flipped(sealed, 0).sealed,
			(sealed: string) => flipped(sealed, 5).sealed,
			(sealed: string) => sealed.slice(0, 500),
			() => '',
		]) {
			const browser = app.browser()
			await app.signIn(browser)
			const session = app.seen.session as unknown as Session
			await client.hset(keyOf(session), 'b', damage((await client.hget(keyOf(session), 'b')) ?? ''))
			app.errors.length = 0
			assert.equal((await browser.get(`${app.origin}/token?force`)).status, 401)
			assert.deepEqual(
				app.errors.filter((error) => (error as { status?: number }).status !== 401),
				[],
			)
			await browser.follow(`${app.origin}/user/login`)
			assert.equal((await browser.get(`${app.origin}/token?force`)).status, 200)
		}
	})
})

describe('D2: a blob of a newer process', () => {
	const newer: readonly (readonly [string, (partition: string) => string])[] = [
		[
			'under a key that is not known here',
			(partition) => sealerOf(newSecret).seal('tokens', partition, adas),
		],
		['of a newer format', (partition) => flipped(sealer.seal('tokens', partition, adas), 0, 3).sealed],
	]
	for (const [what, make] of newer) {
		it(`${what} is signed out, and neither deleted nor overwritten by anything`, async () => {
			const since = stderr.length
			const session = await plant(make)
			const other = await sessionOf('Grace Hopper')
			const before = await client.hgetall(keyOf(session))
			for (const force of [false, true, true, false])
				assert.equal(await outcome(session, force), 'ERR_SIGNED_OUT')
			assert.equal(await app.broker.isSignedIn(session), true, 'a guard does not know better')
			await app.broker.signOut(other)
			await assert.rejects(app.broker.acquireSilent(session, { scopes: ['Mail.Read'] }), signedOut)
			assert.deepEqual(await client.hgetall(keyOf(session)), before)
			assert.ok((await client.pttl(keyOf(session))) > 3_000_000, 'and lives as long')
			await warned(since, 5)
		})

		it(`${what} keeps its session and cookie, and serves where it is known`, async () => {
			const browser = app.browser()
			await app.signIn(browser)
			const session = app.seen.session as unknown as Session
			const { partition } = session.msal
			const own = (await client.hget(keyOf(session), 'b')) ?? ''
			await client.publish(`${namespace}:signed-out`, partition)
			await sleep(20)
			await client.hset(keyOf(session), 'b', make(partition))
			const cookies = () => JSON.stringify(browser.jar.cookies.map(({ name, value }) => [name, value]))
			const held = cookies()
			assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
			assert.equal(cookies(), held)
			await client.hset(keyOf(session), 'b', own)
			assert.equal((await browser.get(`${app.origin}/token`)).status, 200)
		})
	}

	it('is not kept from its own process: no lease is left behind', async () => {
		const session = await plant((partition) => sealerOf(newSecret).seal('tokens', partition, adas))
		assert.equal(await outcome(session, true), 'ERR_SIGNED_OUT')
		assert.equal(await client.exists(`${namespace}:l:{${session.msal.partition}}`), 0)
		const newer = await createApplication(world, {
			secrets: [newSecret, secret],
			store: redisTokenStore({ path: redis.path }),
		})
		try {
			const began = performance.now()
			const token = await newer.broker.acquireSilent(session, { forceRefresh: true })
			assert.equal(token.outcome, 'refreshed')
			assert.ok(performance.now() - began < 3000, `${performance.now() - began} ms`)
		} finally {
			await newer.close()
		}
	})
})

describe('D17: a blob from elsewhere', () => {
	it('D17: of another session, of another person or the same, is ERR_SIGNED_OUT and removed', async () => {
		for (const name of ['Charles Babbage', 'Ada Lovelace']) {
			const [mine, theirs] = [await plantText(adas), await sessionOf(name)]
			await client.hset(keyOf(mine), await client.hgetall(keyOf(theirs)))
			for (const force of [false, true]) assert.equal(await outcome(mine, force), 'ERR_SIGNED_OUT')
			assert.equal(await client.exists(keyOf(mine)), 0)
			assert.match(await outcome(theirs, true), /^0d0/, 'the other session is as it was')
		}
	})

	it('D17: that this session had before works on, or asks the person back; it is nobody else’s', async () => {
		for (const rotation of ['entra', 'strict'] as const) {
			const own = await createWorld({ rotation })
			const there = await createApplication(own, {
				secrets: [secret],
				store: redisTokenStore({ path: redis.path }),
			})
			try {
				await there.signIn(there.browser())
				const session = there.seen.session as unknown as Session
				const [key = ''] = await client.keys(`*:t:{${session.msal.partition}}`)
				const old = await client.hgetall(key)
				await there.broker.acquireSilent(session, { forceRefresh: true })
				await there.broker.acquireSilent(session, { forceRefresh: true })
				await client.hset(key, old)
				await client.publish(`${key.slice(0, key.indexOf(':t:'))}:signed-out`, session.msal.partition)
				await sleep(20)
				const cached = await there.broker.acquireSilent(session)
				assert.deepEqual([cached.outcome, cached.account.objectId], ['cached', people.ada.oid])
				const again = there.broker.acquireSilent(session, { forceRefresh: true })
				if (rotation === 'strict') await assert.rejects(again, code('ERR_INTERACTION_REQUIRED'))
				else assert.equal((await again).account.objectId, people.ada.oid)
			} finally {
				await there.close()
				await own.close()
			}
		}
	})

	it('D17: that is restored under a refresh is noticed by its version: what was refreshed is merged in', async () => {
		const session = await plantText(adas)
		const old = await client.hgetall(keyOf(session))
		world.standIn.inject({ delayMs: 300 })
		const refreshing = app.broker.acquireSilent(session, { forceRefresh: true })
		await sleep(150)
		await client.hset(keyOf(session), { ...old, v: 7 })
		const token = await refreshing
		assert.equal(token.account.objectId, people.ada.oid)
		assert.equal(await client.hget(keyOf(session), 'v'), '8')
		assert.ok((await read(session)).includes(token.accessToken))
	})
})

type Entry = Record<string, unknown>
type Sections = Record<string, Record<string, Entry>>

describe('D16: a tampered cache, sealed well, in a running application', () => {
	/** Ada's cache, changed. */
	const changed = (change: (cache: Sections) => unknown): string => {
		const cache = JSON.parse(adas) as Sections
		change(cache)
		return JSON.stringify(cache)
	}
	const withSection = (section: string, make: (entries: Record<string, Entry>) => Record<string, Entry>) =>
		changed((cache) => Object.assign(cache, { [section]: make(cache[section] ?? {}) }))
	const without = (section: string) =>
		changed((cache) => {
			delete cache[section]
		})
	const sections = ['Account', 'IdToken', 'AccessToken', 'RefreshToken', 'AppMetadata'] as const
	const uncallable = { toString: 1, valueOf: 1 }

	/** Ada's cache with one field of every entry of a section changed. */
	const field = (section: string, name: string, ...values: unknown[]): [string, () => string][] =>
		values.map((value) => [
			`${section}.${name} = ${JSON.stringify(value)}`,
			() =>
				changed((cache) => {
					for (const entry of Object.values(cache[section] ?? {}))
						if (value === undefined) delete entry[name]
						else entry[name] = value
				}),
		])

	const cases: [string, () => string][] = [
		...[
			'',
			'not json',
			'null',
			'[]',
			'42',
			'"text"',
			'{}',
			'{"AccessToken":{"a":null}}',
			'{"hasOwnProperty":1}',
			'{"hasOwnProperty":{}}',
			'{"__proto__":{"polluted":{"polluted":true}}}',
			'{"constructor":{"prototype":{"polluted":true}}}',
			'{"Account":{},"IdToken":{},"AccessToken":{},"RefreshToken":{},"AppMetadata":{}}',
		].map((text): [string, () => string] => [text, () => text]),
		...sections.flatMap((section): [string, () => string][] => [
			[`no ${section}`, () => without(section)],
			[`${section} empty`, () => withSection(section, () => ({}))],
			[`${section} of an empty entry`, () => withSection(section, () => ({ a: {} }))],
			[`${section} and an empty entry`, () => withSection(section, (entries) => ({ a: {}, ...entries }))],
			[
				`${section} under other keys`,
				() => withSection(section, (entries) => ({ toString: Object.values(entries)[0] ?? {} })),
			],
			...field(section, 'home_account_id', undefined, 7, uncallable, 'other.tenant'),
			...field(section, 'environment', undefined, 'evil.example', 7, uncallable),
		]),
		...field(
			'Account',
			'tenantProfiles',
			null,
			'x',
			['not json'],
			[null],
			[7],
			{},
			['{"tenantId":7}'],
			['null'],
		),
		...field('Account', 'username', undefined, 7, uncallable),
		...field('Account', 'local_account_id', undefined, 7, people.charles.oid),
		...field('Account', 'realm', undefined, 7, 'other-tenant'),
		...field('Account', 'authority_type', undefined, 7, 'Generic', 'ADFS'),
		...field('IdToken', 'secret', undefined, '', 'a.b.c', 7, uncallable, 'e30.e30.', 'e30.bnVsbA.x'),
		...field('IdToken', 'realm', undefined, 7, 'other'),
		...field('AccessToken', 'secret', undefined, '', 7, uncallable),
		...field('AccessToken', 'expires_on', undefined, 'banana', '1e300', uncallable, [9e9]),
		...field('AccessToken', 'target', undefined, 7, ['User.Read'], uncallable),
		...field('AccessToken', 'token_type', undefined, 7, 'pop', uncallable),
		...field('AccessToken', 'credential_type', undefined, 'RefreshToken', uncallable),
		...field('AccessToken', 'cached_at', undefined, 'banana', uncallable),
		...field('AccessToken', 'refresh_on', 'banana', '1e300', uncallable),
		...field('AccessToken', 'requestedClaims', '{', uncallable),
		...field('RefreshToken', 'secret', undefined, '', 7, uncallable, 'unknown to the provider'),
		...field('RefreshToken', 'client_id', undefined, 7, 'other'),
		...field('RefreshToken', 'family_id', 7, '1'),
		...field('RefreshToken', 'credential_type', undefined, 7, 'AccessToken'),
		...field('AppMetadata', 'family_id', '1', uncallable),
		[
			'unknown sections',
			() => changed((cache) => Object.assign(cache, { Later: { a: { b: [1] } }, toString: {} })),
		],
		[
			'other environments everywhere',
			() => adas.replaceAll(new URL(world.standIn.authority).host, 'evil.example'),
		],
		[
			'ten thousand accounts',
			() =>
				withSection('Account', (entries) => {
					const [account = {}] = Object.values(entries)
					const crowd = Array.from({ length: 10_000 }, (_, i) => [
						`k${i}`,
						{ ...account, home_account_id: `user${i}.t`, local_account_id: `${i}` },
					])
					return { ...entries, ...Object.fromEntries(crowd) }
				}),
		],
		['half a megabyte', () => withSection('Later', () => ({ a: { b: 'x'.repeat(500_000) } }))],
		[
			'a hundred thousand levels',
			() => adas.replace('{', () => `{"Later":{"a":{"b":${'['.repeat(100_000)}${']'.repeat(100_000)}}},`),
		],
		[
			'a hundred thousand levels in a credential',
			() =>
				adas.replace(
					'"home_account_id"',
					() => `"x":${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)},"home_account_id"`,
				),
		],
		['somebody else’s cache', () => charless],
	]

	/** The last of them are large, and have the workers to themselves. */
	const large = 5

	it('D16: is signed out, works, or asks the person back; nothing fails, nobody gets another’s token', async () => {
		assert.ok(cases.length > 60, `${cases.length}`)
		const wrong: string[] = []
		const seen = new Map<string, number>()
		const tryCase = async ([what, text]: [string, () => string]) => {
			const session = await plantText(text())
			for (const force of [false, true, true]) {
				let ended = await outcome(session, force)
				// The large ones keep a worker so busy that the store's answer comes too late for it: try again is the word.
				for (let i = 0; i < 20 && ended === 'ERR_STORE_UNAVAILABLE'; i++) {
					await sleep(250)
					ended = await outcome(session, force)
				}
				seen.set(ended, (seen.get(ended) ?? 0) + 1)
				if (![people.ada.oid, 'ERR_SIGNED_OUT', 'ERR_INTERACTION_REQUIRED'].includes(ended))
					wrong.push(`${what.slice(0, 100)}${force ? ', forced' : ''}: ${ended}`)
			}
		}
		await eachOf(cases.slice(0, -large), tryCase)
		for (const one of cases.slice(-large)) await tryCase(one)
		assert.deepEqual(wrong, [])
		for (const ended of [people.ada.oid, 'ERR_SIGNED_OUT', 'ERR_INTERACTION_REQUIRED'])
			assert.ok((seen.get(ended) ?? 0) >= 10, `${ended}: ${seen.get(ended)}`)
		assert.equal(await outcome(ada, true), people.ada.oid, 'the workers are as they were')
		assert.equal(({} as { polluted?: unknown }).polluted, undefined)
	})

	it('D16: with another person’s refresh token never gives or stores that person’s tokens', async () => {
		const theirs = JSON.parse(charless) as Sections
		const [{ secret: foreign } = {}] = Object.values(theirs.RefreshToken ?? {})
		const session = await plantText(
			changed((cache) => {
				for (const entry of Object.values(cache.RefreshToken ?? {})) entry.secret = foreign
			}),
		)
		const before = await client.hget(keyOf(session), 'b')
		assert.equal(await outcome(session, false), people.ada.oid)
		assert.equal(await outcome(session, true), 'ERR_IDP_PROTOCOL')
		assert.equal(await client.hget(keyOf(session), 'b'), before)
	})

	it('D16: of two people is read for the one who is signed in, never refreshed into the store', async () => {
		const both: Sections = JSON.parse(charless)
		for (const [section, entries] of Object.entries(JSON.parse(adas) as Sections))
			both[section] = { ...both[section], ...entries }
		const session = await plantText(JSON.stringify(both))
		const before = await client.hget(keyOf(session), 'b')
		assert.equal(await outcome(session, false), people.ada.oid)
		assert.equal(await outcome(session, true), 'ERR_SIGNED_OUT')
		assert.equal(await client.hget(keyOf(session), 'b'), before)
	})
})
