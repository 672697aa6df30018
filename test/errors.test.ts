import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type BrokerErrorCode, type BrokerErrorOptions, statusByCode } from '../src/errors.js'
import { BrokerError, redisTokenStore } from '../src/index.js'
import { resolveSettings } from '../src/settings.js'
import { WorkerPool } from '../src/worker-pool.js'

/** As in the fixture, which only a worker can load. */
const canary = 'eyJ0.canary-token.of-ada@contoso.example'

const codes = Object.keys(statusByCode) as BrokerErrorCode[]

/** Written down again: a status that changes is a change for whoever answers with it. */
const statuses: Record<BrokerErrorCode, number> = {
	ERR_LOGIN_REJECTED: 400,
	ERR_BAD_REQUEST: 400,
	ERR_INTERACTION_REQUIRED: 401,
	ERR_SIGNED_OUT: 401,
	ERR_IDP_DENIED: 403,
	ERR_FORBIDDEN: 403,
	ERR_NOT_FOUND: 404,
	ERR_AMBIGUOUS_USER: 409,
	ERR_CONFIG: 500,
	ERR_FORBIDDEN_TARGET: 500,
	ERR_DOWNSTREAM_PROTOCOL: 502,
	ERR_IDP_PROTOCOL: 502,
	ERR_DOWNSTREAM_UNAVAILABLE: 503,
	ERR_IDP_UNAVAILABLE: 503,
	ERR_STORE_UNAVAILABLE: 503,
	ERR_OVERLOADED: 503,
	ERR_CLIENT_REJECTED: 503,
	ERR_WORKER_FAILED: 503,
	ERR_BROKER_CLOSED: 503,
}

const variants: readonly (readonly [string, BrokerErrorOptions])[] = [
	['nothing more', {}],
	['a time to come back', { retryAfter: 17.5 }],
	['a time of zero', { retryAfter: 0 }],
	['claims and scopes', { claims: '{"access_token":{"acrs":{"value":"c1"}}}', scopes: ['User.Read', 'x/y'] }],
	['empty claims and scopes', { claims: '', scopes: [] }],
	['a status of its own', { status: 418 }],
	['everything', { status: 499, retryAfter: 3, claims: '{}', scopes: ['a'] }],
]

describe('an error that is thrown in a worker (D8)', () => {
	let pool: WorkerPool
	before(async () => {
		const settings = resolveSettings({
			auth: {
				clientId: '11111111-2222-3333-4444-555555555555',
				authority: 'https://login.example/tenant',
				redirectUri: 'http://localhost/user/authorized',
				clientSecret: 'not used here',
			},
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			// Never connected to: the fixture answers in its place.
			store: redisTokenStore('redis://127.0.0.1:1'),
			pool: { threads: 1 },
		})
		const fixture = new URL('./fixtures/throwing-worker.js', import.meta.url).href
		pool = await WorkerPool.start(settings, { kind: 'assertion' }, fixture)
	})
	after(() => pool.close())

	/** What arrives of what was thrown. */
	async function thrown(order: object): Promise<BrokerError> {
		const error = await pool.run('exists', { partition: JSON.stringify(order) }).then(
			() => assert.fail('it was not thrown'),
			(error: unknown) => error,
		)
		assert.ok(error instanceof BrokerError, String(error))
		return error
	}

	/** Everything that can be read off an error, hidden or not. */
	function everythingOf(error: object): string {
		const seen = new Set<unknown>()
		const read = (value: unknown): string => {
			if (typeof value !== 'object' || value === null) return String(value)
			if (seen.has(value)) return ''
			seen.add(value)
			return Reflect.ownKeys(value)
				.map((key) => `${String(key)}: ${read((value as Record<PropertyKey, unknown>)[key])}`)
				.join('\n')
		}
		return read(error)
	}

	it('has a status for every code', () => assert.deepEqual(statusByCode, statuses))

	for (const code of codes)
		it(`D8: keeps its class, ${code}, status, retryAfter, claims and scopes, and loses cause, stack and the rest`, async () => {
			for (const [what, options] of variants) {
				const message = `A message about ${what}.`
				const error = await thrown({ code, message, options })
				const status = options.status ?? statuses[code]
				assert.deepEqual(
					[error.code, error.status, error.message, error.name],
					[code, status, message, 'BrokerError'],
				)
				assert.equal(error.retryAfter, options.retryAfter ?? (status === 503 ? 5 : undefined), what)
				assert.equal(error.claims, options.claims, what)
				assert.deepEqual(error.scopes, options.scopes, what)
				assert.equal(error.expose, status < 500)
				const seconds = error.retryAfter
				assert.deepEqual(error.headers, {
					'Cache-Control': 'no-store',
					...(seconds !== undefined && { 'Retry-After': String(Math.ceil(seconds)) }),
				})
				assert.equal(error.cause, undefined)
				assert.doesNotMatch(everythingOf(error), /canary|contoso/, what)
				assert.doesNotMatch(error.stack ?? '', /throwing-worker/, 'the stack is the main thread’s')
				const own = ['stack', 'message', 'name', 'code', 'status', 'expose', 'retryAfter', 'claims', 'scopes']
				assert.deepEqual(
					Reflect.ownKeys(error).filter((key) => !own.includes(String(key))),
					[],
				)
			}
		})

	for (const raw of ['TypeError', 'SyntaxError', 'text', 'undefined', 'frozen', 'cyclic'])
		it(`D8: that is no error of this library (${raw}) is ERR_WORKER_FAILED and says nothing of itself`, async () => {
			const error = await thrown({ raw })
			assert.deepEqual([error.code, error.status, error.expose], ['ERR_WORKER_FAILED', 503, false])
			assert.ok(error.retryAfter)
			assert.doesNotMatch(everythingOf(error), new RegExp(`canary|contoso|${canary}`))
			assert.doesNotMatch(error.stack ?? '', /throwing-worker/)
		})

	it('D8: crosses as often as one likes, and the worker lives on', async () => {
		const tries = Array.from({ length: 200 }, (_, i) =>
			thrown({ code: codes[i % codes.length], message: `${i}` }),
		)
		for (const [i, error] of (await Promise.all(tries)).entries())
			assert.deepEqual([error.code, error.message], [codes[i % codes.length], `${i}`])
		assert.deepEqual(await pool.run('ping', {}), { store: true })
	})
})
