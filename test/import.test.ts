import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { clientIds, clientSecrets, TENANT_ID } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { TokenBroker } from '../src/broker.js'
import { type ImportOptions, importSessions } from '../src/cli/import.js'
import { createOutput } from '../src/cli/output.js'
import {
	type BrokerError,
	hasRole,
	redisTokenStore,
	type SessionTicket,
	type SignedInHook,
	type UserReference,
} from '../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	environmentOf,
	type World,
} from './support/application.js'
import { koaMsalCommand } from './support/command-line.js'
import { type Cache, readCache, type Whereabouts } from './support/expire.js'
import { type PythonTokens, pythonCache, pythonRecord } from './support/python-session.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const day = 86_400_000
const newId = () => randomUUID().replaceAll('-', '')
const only = (section: Cache[string] | undefined) => Object.values(section ?? {})[0] as Record<string, string>

describe('import: the sessions of aiohttp_msal', () => {
	let world: World
	let redis: TestRedis
	let client: ReturnType<TestRedis['client']>
	let app: Application
	/** A hook of the application. */
	let onSignedIn: SignedInHook | undefined
	/** What MSAL-Python would have got for somebody; each refresh token is used by one test, for it is used up. */
	const tokensOf = async (name: string): Promise<PythonTokens> => {
		const page = await app.signIn(app.browser(), name)
		assert.equal(page.status, 200, page.html)
		const ticket = (app.seen.session as { msal: SessionTicket }).msal
		const stored = await readCache(where(ticket.partition))
		assert.ok(stored)
		await app.broker.signOut({ msal: ticket })
		return {
			clientId: clientIds.web,
			environment: 'localhost',
			homeAccountId: ticket.account.homeAccountId,
			idToken: only(stored.cache.IdToken).secret as string,
			refreshToken: only(stored.cache.RefreshToken).secret as string,
		}
	}
	const where = (partition: string): Whereabouts => ({
		redis: client,
		namespace: TokenBroker.settingsOf(app.broker).namespace,
		secret,
		clientId: clientIds.web,
		partition,
	})
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ rotation: 'strict' }), startRedis({ tcp: true })])
		client = redis.client()
		app = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ path: redis.path }),
			legacyCookie: {},
			profile: 'user',
			outOfBand: { scopes: ['User.Read'] },
			onSignedIn: (signedIn) => onSignedIn?.(signedIn),
			pool: { threads: 1 },
			configure: (koa) => {
				const guard = hasRole('Admin')
				koa.use((ctx, next) => (ctx.path === '/admin' ? guard(ctx, next) : next()))
			},
		})
	})
	after(async () => {
		await app.close()
		await Promise.all([redis.stop(), world.close()])
	})
	beforeEach(() => client.flushall())
	afterEach(() => {
		world.standIn.clearFaults()
		app.errors.length = 0
		onSignedIn = undefined
	})

	const put = async (record: string, timeToLive = 90 * day) => {
		const id = newId()
		await client.set(`AIOHTTP_SESSION_${id}`, record, 'PX', timeToLive)
		return id
	}
	const command = (...args: string[]) =>
		koaMsalCommand(args, {
			...environmentOf(world, app.origin),
			MSAL_SECRETS: secret,
			REDIS_URL: redis.url,
		})
	const partitions = () => client.keys(`${where('').namespace}:t:*`)
	/** As the process does it, with the application's own broker. */
	const runImport = async (options: Partial<ImportOptions> = {}, broker = app.broker) => {
		let said = ''
		const terminal = {
			stdout: {
				write(text: string) {
					said += text
				},
			},
			stderr: { write: () => {} },
		}
		const failure = await importSessions(broker, createOutput(terminal, true), {
			maxAge: 90 * day,
			dryRun: false,
			delete: false,
			...options,
		}).then(
			() => undefined,
			(error: BrokerError) => error,
		)
		const report = JSON.parse(said) as Record<string, unknown>
		return failure ? { ...report, failure } : report
	}
	/** A request as a browser makes it that has the original's cookie, and perhaps ours. */
	const visit = async (
		cookies: Record<string, string>,
		path = '/token',
		headers: Record<string, string> = {},
	) => {
		const cookie = Object.entries(cookies)
			.map(([name, value]) => `${name}=${value}`)
			.join('; ')
		// Not `fetch`, which writes Fetch Metadata of its own.
		const sent = request(`${app.origin}${path}`, { headers: { cookie, ...headers } }).end()
		const [response] = (await once(sent, 'response')) as [IncomingMessage]
		const lines = response.headers['set-cookie'] ?? []
		const set = lines.map((line) => line.split(';')[0]?.split('=') as [string, string])
		const own = set.find(([name, value]) => name.includes('msal-') && value !== '')
		const ownCookies: Record<string, string> = own ? { [own[0]]: own[1] } : {}
		return {
			status: response.statusCode,
			body: await text(response),
			lines,
			/** The session cookie of ours that it set. */
			own: ownCookies,
			expired: lines.filter((line) => /^AIOHTTP_SESSION=;.*Max-Age=0/.test(line)),
		}
	}
	const legacy = (id: string) => ({ AIOHTTP_SESSION: id })

	it('lets who has the old cookie in, once, with tokens of their own', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const ended = await command('import', '--json')
		assert.equal(ended.code, 0, ended.stderr)
		assert.deepEqual(ended.json()[0], {
			dryRun: false,
			records: 1,
			imported: 1,
			known: 0,
			deleted: 0,
			skipped: {},
			damaged: [],
		})
		world.standIn.clearLog()
		const first = await visit(legacy(id))
		assert.equal(first.status, 200, first.body)
		assert.equal((JSON.parse(first.body) as { objectId: string }).objectId, people.ada.oid)
		assert.equal(world.standIn.count('token', 'refresh_token'), 1, 'the provider was asked')
		assert.equal(first.expired.length, 2, `with and without the domain: ${first.lines}`)
		assert.ok(first.own)

		const second = await visit({ ...legacy(id), ...first.own })
		assert.deepEqual([second.status, (JSON.parse(second.body) as { outcome: string }).outcome], [200, 'hit'])
		const forced = await visit(first.own, '/token?force')
		assert.equal((JSON.parse(forced.body) as { outcome: string }).outcome, 'refreshed')

		const thief = await visit(legacy(id))
		assert.deepEqual([thief.status, thief.own], [401, {}])
		assert.equal((await visit(legacy(id), '/')).expired.length, 2)
	})

	it('knows a guest, whose home account is another', async () => {
		const tokens = await tokensOf(people.emmy.name)
		assert.notEqual(tokens.homeAccountId, `${people.emmy.oid}.${TENANT_ID}`)
		const id = await put(pythonRecord(pythonCache({ ...tokens, realm: 'common' })))
		await runImport()
		const answer = await visit(legacy(id))
		assert.equal(answer.status, 200, answer.body)
		assert.equal((JSON.parse(answer.body) as { objectId: string }).objectId, people.emmy.oid)
	})

	it('tells of them what a sign-in tells: name, mail address, roles and groups, as they are now', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Grace Hopper'))))
		await runImport()
		const { own } = await visit(legacy(id), '/')
		const { name, mail } = JSON.parse((await visit(own, '/user/info')).body) as Record<string, string>
		assert.deepEqual([name, mail], ['Grace Hopper', people.grace.upn])
		await visit(own)
		const { msal, msalClaims } = app.seen.session as { msal: SessionTicket; msalClaims: object }
		assert.deepEqual(msalClaims, {
			partition: msal.partition,
			roles: people.grace.roles,
			groups: people.grace.groups,
		})
		assert.equal((await app.broker.acquireSilent({ msal })).account.mail, people.grace.upn)
		const found = await app.broker.sessions.find({ tenantId: TENANT_ID, mail: people.grace.upn })
		assert.deepEqual(
			found.map(({ partition }) => partition),
			[msal.partition],
		)
	})

	it('does not sign in again who signs out', async () => {
		const browser = app.browser()
		await app.signIn(browser, 'Ada Lovelace')
		const own = Object.fromEntries(
			browser.jar.cookies
				.filter(({ name }) => /^(__Host-)?msal-(?!tx)/.test(name))
				.map(({ name, value }) => [name, value]),
		)
		const id = await put(pythonRecord(pythonCache(await tokensOf('Charles Babbage'))))
		await runImport()
		const out = await visit({ ...legacy(id), ...own }, '/user/logout')
		assert.deepEqual([out.status, out.expired.length], [303, 2])
		assert.deepEqual([(await visit(legacy(id))).status, await partitions()], [401, []])
	})

	it('gives one of several requests at once the session, and no other', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		const answers = await Promise.all(Array.from({ length: 8 }, () => visit(legacy(id))))
		assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array(7).fill(401)])
		const [winner] = answers.filter(({ status }) => status === 200)
		assert.equal(answers.filter(({ own }) => Object.keys(own).length > 0).length, 1)
		assert.equal((await visit(winner?.own ?? {})).status, 200)
	})

	it('changes nothing in a dry run, and nothing more in a second run', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const untouched = await redis.dump()
		assert.equal((await runImport({ dryRun: true })).imported, 1)
		assert.deepEqual(await redis.dump(), untouched)
		await runImport()
		const imported = await redis.dump()
		assert.ok(imported.length > untouched.length)
		const again = await runImport()
		assert.deepEqual([again.imported, again.known], [0, 1])
		assert.deepEqual(await redis.dump(), imported)
		assert.equal((await visit(legacy(id))).status, 200)
		assert.equal((await runImport()).known, 1)
		assert.equal((await visit(legacy(id))).status, 401, 'a later run brings nothing back')
	})

	it('is done once by two that run at a time', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const reports = await Promise.all([runImport(), runImport()])
		for (const state of ['imported', 'known'] as const)
			assert.deepEqual(reports.map((report) => report[state]).sort(), [0, 1])
		assert.equal((await partitions()).length, 1)
		assert.equal((await visit(legacy(id))).status, 200)
	})

	it('does not take for done what was done under secrets that the application has not', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const mistaken = await createApplication(world, {
			secrets: [`another ${secret}`],
			store: redisTokenStore({ path: redis.path }),
			pool: { threads: 1 },
		})
		assert.equal((await runImport({}, mistaken.broker)).imported, 1)
		await mistaken.close()
		const report = await runImport({ delete: true })
		assert.deepEqual([report.known, report.deleted, report.skipped], [0, 0, { 'another secret': 1 }])
		assert.equal((await app.broker.sessions.clean()).unreadable, 0)
		assert.equal((await app.broker.sessions.clean({ unknownSecrets: true })).unreadable, 2, 'tokens and note')
		assert.equal((await runImport()).imported, 1)
		assert.equal((await visit(legacy(id))).status, 200)
	})

	it('counts all that it has done when one of them fails', async () => {
		const ids = await Promise.all(Array.from({ length: 40 }, () => put('{')))
		const [forbidden = '', ...others] = ids.map((id) => `AIOHTTP_SESSION_${id}`)
		await client.acl('SETUSER', 'half', 'on', '>a password', '+@all', ...others.map((key) => `~${key}`))
		const from = redisTokenStore({ path: redis.path, username: 'half', password: 'a password' }).connection
		const report = await runImport({ from })
		assert.deepEqual([report.records, (report.damaged as string[]).includes(forbidden)], [39, false])
		assert.equal((report.failure as BrokerError).code, 'ERR_STORE_UNAVAILABLE')
	})

	it('names damaged records, counts others with the reason, and stops at none', async () => {
		const tokens = await tokensOf('Ada Lovelace')
		const cache = pythonCache(tokens)
		const good = await put(pythonRecord(cache))
		const damaged = [
			await put('{"created": 1'),
			await put('null'),
			await put(JSON.stringify({ created: 'now', session: {} })),
			await put(pythonRecord('no cache')),
		].map((id) => `AIOHTTP_SESSION_${id}`)
		await client.rpush(`AIOHTTP_SESSION_${newId()}`, 'a list')
		await put(pythonRecord(`{"Account":{"a":{"x":[${'{},'.repeat(400_000)}{}]}}}`))
		await client.set('AIOHTTP_SESSION_of-somebody-else', '{}')
		await put('{}')
		await put(JSON.stringify({ created: 1, session: { flow_cache: {} } }))
		await put(pythonRecord({ ...cache, RefreshToken: {} }))
		await put(pythonRecord(pythonCache({ ...tokens, clientId: clientIds.certificate })))
		await put(pythonRecord(pythonCache({ ...tokens, environment: 'login.elsewhere.example' })))
		await put(pythonRecord(cache, Date.now() / 1000 - 91 * 86_400))
		const report = await runImport()
		assert.deepEqual(
			{ ...report, damaged: (report.damaged as string[]).length },
			{
				dryRun: false,
				records: 14,
				imported: 1,
				known: 0,
				deleted: 0,
				skipped: {
					'nobody is signed in': 2,
					'no refresh token': 1,
					'another client': 1,
					'another authority': 1,
					'too old': 1,
				},
				damaged: 7,
			},
		)
		for (const key of damaged) assert.ok((report.damaged as string[]).includes(key))
		assert.equal((await visit(legacy(good))).status, 200)
	})

	it('says to people what it says to programs, and neither a secret nor a good record’s key', async () => {
		const tokens = await tokensOf('Ada Lovelace')
		const good = await put(pythonRecord(pythonCache(tokens)))
		const bad = await put('{')
		const ended = await command('import')
		assert.equal(ended.code, 0, ended.stderr)
		assert.match(ended.stdout, /^2 +records$/m)
		assert.match(ended.stdout, /^1 +imported$/m)
		assert.match(ended.stdout, new RegExp(`^ +AIOHTTP_SESSION_${bad}$`, 'm'))
		for (const hidden of [good, tokens.refreshToken, tokens.idToken, secret, clientSecrets.web])
			assert.ok(!(ended.stdout + ended.stderr).includes(hidden))
		// At rest, nothing but the original's own record has them.
		await client.del(`AIOHTTP_SESSION_${good}`)
		const dump = (await redis.dump()).join('\n')
		for (const hidden of [good, tokens.refreshToken, people.ada.oid]) assert.ok(!dump.includes(hidden))
	})

	it('deletes what was imported, when it is told to', async () => {
		const ids = [await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace')))), await put('{')]
		await runImport({ delete: true, dryRun: true })
		assert.equal(await client.exists(`AIOHTTP_SESSION_${ids[0]}`), 1)
		await runImport()
		const report = await runImport({ delete: true })
		assert.deepEqual([report.known, report.deleted], [1, 1])
		assert.deepEqual(await client.keys('AIOHTTP_SESSION_*'), [`AIOHTTP_SESSION_${ids[1]}`])
		assert.equal((await visit(legacy(ids[0] as string))).status, 200)
	})

	it('gives a session as long as it had left, and no longer than ours may live', async () => {
		const tokens = await tokensOf('Ada Lovelace')
		const record = pythonRecord(pythonCache(tokens))
		const lifetimes = async () => {
			const keys = await client.keys(`${where('').namespace}:[to]:*`)
			const times = await Promise.all(keys.map((key) => client.pttl(key)))
			return Object.fromEntries(keys.map((key, at) => [key.includes(':t:') ? 'tokens' : 'note', times[at]]))
		}
		const near = (value: unknown, expected: number) => Math.abs(Number(value) - expected) < 60_000
		await put(record, day)
		await runImport()
		const short = await lifetimes()
		assert.ok(near(short.tokens, day) && near(short.note, day), JSON.stringify(short))
		await client.flushall()
		// The original's write-back drops the time to live.
		await client.persist(`AIOHTTP_SESSION_${await put(record)}`)
		await runImport()
		const long = await lifetimes()
		assert.ok(near(long.tokens, 7 * day) && near(long.note, 90 * day), JSON.stringify(long))
	})

	it('is found by its user not before it is there: a clean-up meanwhile would take what is not', async () => {
		await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const monitor = await client.monitor()
		const commands: string[] = []
		const done = new Promise<void>((resolve) => {
			monitor.on('monitor', (_time: string, [name = '', key = '']: string[]) => {
				const kind = /^koa-msal:\w+:([a-z]):/.exec(key)?.[1]
				commands.push(`${name.toLowerCase()} ${kind}`)
				// The note, which comes last.
				if (commands.at(-1) === 'set o') resolve()
			})
		})
		await runImport()
		await done
		monitor.disconnect()
		const written = commands.filter((command) => ['hset t', 'zadd i'].includes(command))
		assert.deepEqual([...new Set(written)], ['hset t', 'zadd i'])
	})

	it('believes no record: the refresh token of one person does not let in as another', async () => {
		const [ada, charles] = [await tokensOf('Ada Lovelace'), await tokensOf('Charles Babbage')]
		const id = await put(pythonRecord(pythonCache({ ...ada, refreshToken: charles.refreshToken })))
		assert.equal((await runImport()).imported, 1)
		const answer = await visit(legacy(id))
		assert.deepEqual([answer.status, answer.own], [401, {}])
		assert.equal((await visit(legacy(id), '/user/info')).body.includes(people.ada.oid), false)
	})

	it('believes no name: a job for one person gets no token of another', async () => {
		const charles = await tokensOf('Charles Babbage')
		const [head, , signature] = charles.idToken.split('.')
		const claims = { ...decodeJwt(charles.idToken), preferred_username: people.ada.upn }
		const idToken = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
		await put(pythonRecord(pythonCache({ ...charles, idToken })))
		assert.equal((await runImport()).imported, 1)
		const job = (user: UserReference) => app.broker.forUser(user, { scopes: ['User.Read'] })
		await assert.rejects(job({ tenantId: TENANT_ID, mail: people.ada.upn }), { code: 'ERR_NOT_FOUND' })
		const token = await job({ tenantId: TENANT_ID, objectId: people.charles.oid })
		assert.equal(token.account.username, people.charles.upn)
	})

	it('believes nobody whom the provider does not name', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		world.standIn.inject({
			grant: 'refresh_token',
			rewrite: ({ id_token: _, ...answer }) => answer,
		})
		const [session] = await app.broker.sessions.find({ tenantId: TENANT_ID, objectId: people.ada.oid })
		assert.ok(session)
		await assert.rejects(app.broker.acquireSilent({ msal: session }), /does not say who/)
		const answer = await visit(legacy(id))
		assert.deepEqual([answer.status, answer.own], [401, {}])
		assert.deepEqual(await partitions(), [], 'and it is gone')
	})

	it('uses nothing up while the provider is down', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		world.standIn.inject({ status: 503 })
		const down = await visit(legacy(id))
		assert.deepEqual([down.status, down.expired], [401, []])
		assert.equal(
			app.errors.filter((error) => (error as BrokerError).code === 'ERR_IDP_UNAVAILABLE').length,
			1,
		)
		// For a second nobody tries again.
		await client.del(...(await client.keys(`${where('').namespace}:f:*`)))
		assert.equal((await visit(legacy(id))).status, 200)
	})

	it('lets nobody in whom the provider does not let in any more, or who was signed out', async () => {
		const tokens = await tokensOf('Ada Lovelace')
		const ended = await put(pythonRecord(pythonCache(tokens)))
		await runImport()
		const [session] = await app.broker.sessions.find({ tenantId: TENANT_ID, objectId: people.ada.oid })
		assert.ok(session, 'it is found by its user before its cookie comes')
		await app.broker.sessions.revoke(session.id)
		assert.equal((await visit(legacy(ended))).status, 401)
		const revoked = await put(
			pythonRecord(pythonCache({ ...tokens, refreshToken: 'no refresh token any more' })),
		)
		await runImport()
		assert.equal((await visit(legacy(revoked))).status, 401)
		assert.deepEqual(await partitions(), [])
	})

	it('is not spent by another site, which may lead here by a link', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		const cross = { 'sec-fetch-site': 'cross-site' }
		for (const headers of [
			{ ...cross, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
			{ ...cross, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
		])
			assert.equal((await visit(legacy(id), '/token', headers)).status, 401)
		const link = { ...cross, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
		assert.equal((await visit(legacy(id), '/token', link)).status, 200)
	})

	it('lets in with the roles that the provider says the person has', async () => {
		const admin = await put(pythonRecord(pythonCache(await tokensOf('Grace Hopper'))))
		const nobody = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		assert.equal((await visit(legacy(admin), '/admin')).status, 200)
		assert.equal((await visit(legacy(nobody), '/admin')).status, 403)
	})

	it('asks onSignedIn, as at any sign-in', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		onSignedIn = async ({ session, account, handle }) => {
			const { expiresOn } = await handle.acquireSilent()
			session.kept = [account.objectId, expiresOn > new Date()]
		}
		const { own } = await visit(legacy(id))
		assert.equal((await visit(own, '/kept')).body, JSON.stringify({ kept: [people.ada.oid, true] }))
	})

	it('lets nobody in whom onSignedIn refuses, who stays the visitor that they were', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		const visitor = await visit({}, '/keep?value=a&value=basket')
		onSignedIn = ({ session }) => {
			session.secret = 'of Ada'
			;(session.kept as string[]).push('of Ada')
			throw new Error('no')
		}
		const refused = await visit({ ...legacy(id), ...visitor.own })
		assert.deepEqual([refused.status, refused.expired.length], [401, 2])
		// And then the handler's own, for nobody.
		assert.deepEqual(
			app.errors.map((error) => (error as BrokerError).code),
			['ERR_LOGIN_REJECTED', 'ERR_SIGNED_OUT'],
		)
		assert.deepEqual(await client.keys(`${where('').namespace}:t:*`), [])
		assert.equal((await visit(refused.own, '/kept')).body, JSON.stringify({ kept: ['a', 'basket'] }))
		onSignedIn = undefined
		for (const cookies of [legacy(id), refused.own]) assert.equal((await visit(cookies)).status, 401)
	})

	it('lets nobody in whom onSignedIn refuses, also when the application’s listener of errors throws', async () => {
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		await runImport()
		const visitor = await visit({}, '/keep?value=a-basket')
		onSignedIn = () => Promise.reject(new Error('no'))
		const listener = ({ code }: BrokerError) => {
			if (code === 'ERR_LOGIN_REJECTED') throw new Error('a listener that fails')
		}
		app.app.prependListener('error', listener)
		const refused = await visit({ ...legacy(id), ...visitor.own }).finally(() =>
			app.app.off('error', listener),
		)
		assert.equal(refused.status, 500)
		onSignedIn = undefined
		assert.equal((await visit(refused.own)).status, 401)
		assert.deepEqual(await partitions(), [])
		assert.equal((await visit(refused.own, '/kept')).body, JSON.stringify({ kept: 'a-basket' }))
	})

	it('does not ask Redis for what is no id of the original’s, and keeps what a visitor has', async () => {
		for (const value of ['', 'x', '../../etc/passwd', '*', newId().toUpperCase(), `${newId()}0`])
			assert.deepEqual([(await visit(legacy(value))).status, (await visit(legacy(value))).expired], [401, []])
		const id = await put(pythonRecord(pythonCache(await tokensOf('Ada Lovelace'))))
		const unknown = await visit(legacy(id))
		assert.deepEqual([unknown.status, unknown.expired], [401, []], 'it is not imported yet')
		const visitor = await visit({}, '/keep?value=a-basket')
		await runImport()
		const signedIn = await visit({ ...legacy(id), ...visitor.own })
		assert.equal(signedIn.status, 200)
		assert.notDeepEqual(signedIn.own, visitor.own, 'under a new id')
		assert.equal((await visit(signedIn.own, '/kept')).body, JSON.stringify({ kept: 'a-basket' }))
		assert.equal((await visit(visitor.own, '/token')).status, 401)
	})
})
