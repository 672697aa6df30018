import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { BrokerError, createMsalSession, memoryTokenStore, redisTokenStore } from '../src/index.js'
import { createMemoryBackend, createRedisBackend } from '../src/koa/session-backend.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis } from './support/redis.js'
import { createSessionApplication, request, sessionOptions } from './support/session-application.js'

const before1 = 'the old secret: 0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6'
const after1 = 'the new secret: 5Gs3Jp8Wb2Ny7Rk4Qv9Mx6Tz1H'
/** How one secret takes the place of another while several processes serve (B5, D5). */
const steps = [[before1], [before1, after1], [after1, before1], [after1]]

describe('rolling the secrets', () => {
	let redis: Awaited<ReturnType<typeof startRedis>>
	let world: World
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(async () => {
		await redis.stop()
		await world.close()
	})
	const store = () => redisTokenStore({ path: redis.path })

	/** One visit to a process that has these secrets; the cookie that the browser has after it. */
	async function visit(secrets: readonly string[], cookie: string | undefined, path = '/') {
		const app = await createSessionApplication({ store: store(), secrets }, (ctx) => {
			if (ctx.path === '/set') ctx.session.value = 'kept'
			return ctx.session.value ?? 'anonymous'
		})
		try {
			const answer = await app.get(path, cookie)
			assert.equal(answer.status, 200)
			return { text: JSON.parse(answer.text).body as string, cookie: answer.cookie ?? cookie, answer }
		} finally {
			await app.close()
		}
	}

	it('signs nobody out who visits once at each step, even only to read (B5, D5)', async () => {
		let { cookie } = await visit([before1], undefined, '/set')
		for (const secrets of steps) {
			const visited = await visit(secrets, cookie)
			assert.equal(visited.text, 'kept', `step ${steps.indexOf(secrets) + 1}`)
			cookie = visited.cookie
		}
	})

	it('writes the cookie and the stored session under the new secret, once', async () => {
		const client = redis.client()
		await client.flushall()
		const old = await visit([before1], undefined, '/set')
		const [key = ''] = await client.keys('*')
		await client.pexpire(key, 1_000_000)
		const sealed = await client.get(key)
		const renewed = await visit([after1, before1], old.cookie)
		assert.ok(renewed.answer.cookie && renewed.answer.cookie !== old.cookie)
		assert.equal(renewed.answer.cookie.split('.')[0], old.cookie?.split('.')[0], 'the id stays')
		const resealed = await client.get(key)
		assert.notEqual(resealed, sealed)
		const again = await visit([after1, before1], renewed.cookie)
		assert.deepEqual(again.answer.lines, [])
		assert.equal(await client.get(key), resealed)
		assert.ok((await client.pttl(key)) > 0, 'and still ends')
	})

	it('does not undo, by sealing anew, what a parallel request has stored', async () => {
		const client = redis.client()
		await client.flushall()
		const { cookie } = await visit([before1], undefined, '/set')
		const app = await createSessionApplication({ store: store(), secrets: [after1, before1] }, (ctx) => {
			if (ctx.path === '/count') ctx.session.count = ctx.query.n
			return ctx.session.count ?? null
		})
		try {
			const [, ...reads] = await Promise.all([
				app.get('/count?n=1', cookie),
				...Array.from({ length: 20 }, () => app.get('/', cookie)),
			])
			assert.ok(reads.every(({ status }) => status === 200))
			assert.equal((await app.get('/', cookie)).text, '{"body":"1"}')
		} finally {
			await app.close()
		}
	})

	for (const kind of ['memory', 'Redis'] as const)
		it(`seals anew only what has not changed since it was read, in ${kind}`, async () => {
			const backend =
				kind === 'Redis' ? createRedisBackend(store(), 'koa-msal') : createMemoryBackend(memoryTokenStore())
			try {
				await backend.create('koa-msal:test', 'changed', 60_000)
				await backend.reseal('koa-msal:test', 'as it was read', 'sealed anew')
				assert.equal(await backend.get('koa-msal:test'), 'changed')
				await backend.reseal('koa-msal:test', 'changed', 'sealed anew')
				assert.equal(await backend.get('koa-msal:test'), 'sealed anew')
				await backend.remove('koa-msal:test')
				await backend.reseal('koa-msal:test', 'sealed anew', 'brought back')
				assert.equal(await backend.get('koa-msal:test'), undefined)
			} finally {
				await backend.close()
			}
		})

	it('makes who comes after the secret was taken away anonymous, with neither error nor deletion (B5)', async (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const client = redis.client()
		await client.flushall()
		const { cookie } = await visit([before1], undefined, '/set')
		const kept = await redis.dump()
		const { text, answer } = await visit([after1], cookie)
		assert.equal(text, 'anonymous')
		assert.deepEqual(answer.lines, [])
		assert.deepEqual(await redis.dump(), kept, 'another process may still serve it')
		assert.equal(warnings.mock.callCount(), 0, 'a cookie that nobody signed is not worth one')
	})

	it('warns once of a session under a secret that is yet to come here, and leaves it alone', async (t) => {
		const client = redis.client()
		await client.flushall()
		const { cookie } = await visit([before1], undefined, '/set')
		// Another process, which has the new secret, seals it anew; the browser's old cookie is as good as ever here.
		await visit([after1, before1], cookie)
		const [key = ''] = await client.keys('*')
		const sealed = await client.get(key)
		const warned = t.mock.method(process, 'emitWarning', () => {})
		const app = await createSessionApplication({ store: store(), secrets: [before1] }, (ctx) => {
			return ctx.session.value ?? 'anonymous'
		})
		try {
			for (let time = 0; time < 3; time++)
				assert.equal(JSON.parse((await app.get('/', cookie)).text).body, 'anonymous')
		} finally {
			await app.close()
		}
		assert.equal(warned.mock.callCount(), 1)
		assert.equal(await client.get(key), sealed)
	})

	it('takes no cookie that was signed for another client id', async () => {
		const { cookie = '' } = await visit([before1], undefined, '/set')
		const { auth } = sessionOptions()
		const app = await createSessionApplication(
			{ store: store(), secrets: [before1], auth: { ...auth, clientId: 'another-client' } },
			(ctx) => ctx.session.value ?? 'anonymous',
		)
		try {
			const own = await app.get('/', cookie)
			assert.equal(own.text, '{"body":"anonymous"}')
		} finally {
			await app.close()
		}
	})

	for (const [what, path] of [
		['that are refreshed', '/token?force'],
		['that are only read', '/token'],
	] as const)
		it(`keeps people signed in, with tokens ${what}, from the first step to the last (D5)`, async () => {
			await redis.client().flushall()
			const first = await createApplication(world, { store: store(), secrets: [before1] })
			const browser = first.browser()
			let app: Application | undefined
			try {
				await first.signIn(browser)
				for (const secrets of steps.slice(1)) {
					app = await createApplication(world, { store: store(), secrets })
					// Cookies ignore the port: the browser takes the next process for the same.
					const token = await browser.get(`${app.origin}${path}`)
					assert.equal(token.status, 200, token.html)
					await app.close()
					app = undefined
				}
			} finally {
				await first.close()
				await app?.close()
			}
		})
})

describe('secrets', () => {
	for (const [what, secrets] of Object.entries({
		'one that is too short': ['short but 0123456789'],
		'one of 31 bytes': ['0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3Jp'],
		'a second one that is too short': [before1, 'canary-0123'],
		'the same one twice': [before1, before1],
		'one character over and over': ['a'.repeat(64)],
		'a word over and over': ['password'.repeat(8)],
		'digits in a row': ['0123456789'.repeat(4)],
		'the alphabet': ['abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz'],
		'a phrase over and over': ['your-secret-key-'.repeat(3)],
		'an empty list': [],
		'an empty one': [''],
		'a text in place of a list': before1,
		'bytes in place of text': [Buffer.alloc(32, 7)],
	}))
		it(`refuse ${what}`, () => {
			assert.throws(
				() => createMsalSession(sessionOptions({ secrets: secrets as string[], store: memoryTokenStore() })),
				(error: BrokerError) => {
					assert.ok(error instanceof BrokerError)
					assert.equal(error.code, 'ERR_CONFIG')
					assert.match(error.message, /^ {2}secrets /m)
					for (const secret of [secrets].flat()) {
						if (String(secret) === '') continue
						assert.ok(!error.message.includes(String(secret)))
					}
					return true
				},
			)
		})

	it('are taken at 32 bytes, in any script, and as openssl makes them', () => {
		for (const secret of [
			'0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3JpW',
			'q4Zp0cVxkP8n1mYt7uE2wB5sR9aLhD3fGjK6iNoQvXc=',
			'9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
			'ключ-из-двух-десятков-букв',
		])
			createMsalSession(sessionOptions({ secrets: [secret] }))
	})

	it('are made up, with one warning, where the memory store is used without; Redis requires some', (t) => {
		const warnings = t.mock.method(process, 'emitWarning', () => {})
		const { secrets: _, ...without } = sessionOptions()
		createMsalSession(without)
		assert.equal(warnings.mock.callCount(), 1)
		assert.match(String(warnings.mock.calls[0]?.arguments[0]), /secrets/)
		assert.throws(
			() => createMsalSession({ ...without, store: redisTokenStore('redis://127.0.0.1:1') }),
			/ {2}secrets is missing/,
		)
	})

	it('are the process’s own when made up: another’s cookie is nobody', async (t) => {
		t.mock.method(process, 'emitWarning', () => {})
		const store = memoryTokenStore()
		const [one, two] = await Promise.all(
			[1, 2].map(() =>
				createSessionApplication({ store, secrets: undefined as never }, (ctx) => {
					if (ctx.path === '/set') ctx.session.value = 'x'
					return ctx.session.value ?? 'anonymous'
				}),
			),
		)
		try {
			const set = await one?.get('/set')
			assert.equal((await one?.get('/', set?.cookie))?.text, '{"body":"x"}')
			assert.equal((await request(`${two?.origin}/`, set?.cookie)).text, '{"body":"anonymous"}')
		} finally {
			await one?.close()
			await two?.close()
		}
	})
})
