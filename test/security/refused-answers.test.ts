import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import { redisTokenStore } from '../../src/index.js'
import {
	type AnswerFields,
	answersOf,
	assertRefused,
	assertSignedIn,
	cookiesFor,
	deliver,
	isSession,
	isTransaction,
} from '../support/answers.js'
import {
	type Application,
	createApplication,
	createWorld,
	type Overrides,
	type World,
} from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

type Fields = readonly (readonly [string, string])[]

/** An answer that is not to be accepted, made of one that is. */
interface Bad {
	readonly make: (answer: AnswerFields) => Fields
	readonly status?: number
	readonly code?: string
}

const others = (answer: AnswerFields, name: string): Fields =>
	Object.entries(answer).filter(([other]) => other !== name)
const instead = (name: string, ...values: readonly string[]) => ({
	make: (answer: AnswerFields): Fields => [
		...others(answer, name),
		...values.map((value): [string, string] => [name, value]),
	],
})
const malformed = { code: 'ERR_BAD_REQUEST' }

const bad: Readonly<Record<string, Bad>> = {
	'A2: a wrong state': instead('state', 'x'.repeat(43)),
	'A2: an empty state': instead('state', ''),
	'A2: no state': instead('state'),
	'A2: a state of 40 kB': { ...instead('state', 'x'.repeat(40_000)), ...malformed },
	'A2: a state of 100 kB': { ...instead('state', 'x'.repeat(100_000)), ...malformed, status: 413 },
	'A2: a state in brackets': {
		make: (answer) => [...others(answer, 'state'), ['state[]', answer.state as string]],
	},
	'A2: the right state twice': {
		make: (answer) => [...Object.entries(answer), ['state', answer.state as string]],
		...malformed,
	},
	'A2: a wrong state before the right one': {
		make: (answer) => [['state', 'x'], ...Object.entries(answer)],
		...malformed,
	},
	'A2: a wrong state after the right one': {
		make: (answer) => [...Object.entries(answer), ['state', 'x']],
		...malformed,
	},
	'A2: the right state in capitals': {
		make: (answer) => [...others(answer, 'state'), ['state', (answer.state as string).toUpperCase()]],
	},
	'A2: the right state with a space': {
		make: (answer) => [...others(answer, 'state'), ['state', `${answer.state} `]],
	},
	'A8: a wrong issuer': instead('iss', 'https://evil.example/v2.0'),
	'A8: an empty issuer': instead('iss', ''),
	'A8: no issuer': instead('iss'),
	'A8: the right issuer twice': {
		make: (answer) => [...Object.entries(answer), ['iss', answer.iss as string]],
		...malformed,
	},
	'A8: a wrong issuer before the right one': {
		make: (answer) => [['iss', 'https://evil.example'], ...Object.entries(answer)],
		...malformed,
	},
	'A11: somebody who cancelled': {
		make: (answer) => [...others(answer, 'code'), ['error', 'access_denied']],
		status: 403,
		code: 'ERR_IDP_DENIED',
	},
	'A11: an error beside the code': {
		make: (answer) => [...Object.entries(answer), ['error', 'nobody_knows']],
	},
	'A11: trouble of the provider': {
		make: (answer) => [...Object.entries(answer), ['error', 'server_error']],
		status: 503,
		code: 'ERR_IDP_UNAVAILABLE',
	},
	'A11: two errors': {
		make: (answer) => [...Object.entries(answer), ['error', 'x'], ['error', 'y']],
		...malformed,
	},
	'A11: a description of 1 MB': {
		make: (answer) => [
			...others(answer, 'code'),
			['error', 'access_denied'],
			['error_description', 'x'.repeat(1_048_576)],
		],
		...malformed,
		status: 413,
	},
	'A2: no code': instead('code'),
	'A2: an empty code': instead('code', ''),
	'A2: two codes': { ...instead('code', 'x', 'y'), ...malformed },
	'A2: more fields than any provider sends': {
		make: (answer) => [
			...Object.entries(answer),
			...Array.from({ length: 40 }, (_, i): [string, string] => [`f${i}`, '']),
		],
		...malformed,
	},
}

describe('an answer that is refused ends its sign-in', () => {
	let world: World
	let redis: TestRedis
	let applications: Readonly<Record<'Redis' | 'memory', Application>>
	let answers: ReturnType<typeof answersOf>
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		answers = answersOf(world.standIn)
		const reader = createBrowser({ ca: world.standIn.ca })
		const { authority } = world.standIn
		const metadata = await reader.get(`${authority}/v2.0/.well-known/openid-configuration`)
		await reader.close()
		const authorityMetadata = JSON.stringify({
			...metadata.json<object>(),
			authorization_response_iss_parameter_supported: true,
		})
		const create = (overrides: Overrides) =>
			createApplication(world, { secrets, auth: { authorityMetadata }, ...overrides })
		const [ofRedis, ofMemory] = await Promise.all([
			create({ store: redisTokenStore({ path: redis.path }) }),
			create({}),
		])
		applications = { Redis: ofRedis, memory: ofMemory }
	})
	after(async () => {
		await Promise.all(Object.values(applications).map((app) => app.close()))
		await redis.stop()
		await world.close()
	})
	afterEach(async () => {
		await answers.close()
		world.standIn.clearFaults()
	})

	const held = async () => (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[st]:/.test(line))

	it('A2: its cookie is deleted also where the application answers the error', async () => {
		const at = await createApplication(world, { secrets, onError: 'throw' })
		try {
			for (const wrong of [{ state: 'x' }, { iss: 'https://evil.example' }, { code: '' }]) {
				const browser = answers.browser()
				const answer = await answers.answerOf(browser, at)
				const refused = await deliver(browser, at, { ...answer, ...wrong })
				assert.equal(refused.status, 400)
				assert.deepEqual(
					refused.cookies.filter(isTransaction).map((line) => /=;.*Max-Age=0/.test(line)),
					[true],
				)
				assert.equal(refused.headers.get('cache-control'), 'no-store')
			}
		} finally {
			await at.close()
		}
	})

	for (const kind of ['Redis', 'memory'] as const)
		describe(`with ${kind}`, () => {
			for (const [what, { make, status, code = 'ERR_LOGIN_REJECTED' }] of Object.entries(bad))
				it(`${what}; the right answer comes too late then, with the cookie that was kept`, async () => {
					const at = applications[kind]
					const browser = answers.browser()
					const answer = await answers.answerOf(browser, at)
					const cookie = cookiesFor(browser, at)
					const before = await held()
					world.standIn.clearLog()
					at.errors.length = 0

					const fields = make(answer)
					const refused = await deliver(browser, at, fields)
					assertRefused(refused, code, status)
					assert.deepEqual(
						refused.cookies.filter(isTransaction).map((line) => /=;.*Max-Age=0/.test(line)),
						[true],
						'its cookie is deleted',
					)
					const logged = at.errors.map((error) => `${error.message}\n${error.stack}`).join()
					for (const value of [answer.state, answer.code, ...fields.map(([, sent]) => sent)])
						if (value !== undefined && value.length > 6 && value !== world.standIn.issuer)
							assert.ok(!refused.text.includes(value) && !logged.includes(value), value.slice(0, 50))

					for (const headers of [{}, { cookie }]) {
						const late = await deliver(browser, at, answer, headers)
						assertRefused(late, 'ERR_LOGIN_REJECTED')
						assert.deepEqual(late.cookies.filter(isSession), [])
					}
					assert.equal(world.standIn.count('token'), 0)
					assert.deepEqual(await held(), before)
				})

			for (const [what, claims] of [
				['A6: the nonce of another sign-in', { nonce: 'x'.repeat(43) }],
				['A6: no nonce', { nonce: undefined }],
				['A6: another audience', { aud: 'somebody-else' }],
				['A10: the hash of another access token', { at_hash: 'x'.repeat(22) }],
			] as const)
				it(`${what} in the id_token; the code is not redeemed a second time`, async () => {
					const at = applications[kind]
					const browser = answers.browser()
					const answer = await answers.answerOf(browser, at)
					const cookie = cookiesFor(browser, at)
					const before = await held()
					world.standIn.clearLog()
					world.standIn.inject({
						rewrite: async (token) => ({
							...token,
							id_token: await world.standIn.signIdToken({ ...claimsOf(token), ...claims }),
						}),
					})
					assertRefused(await deliver(browser, at, answer), 'ERR_LOGIN_REJECTED')
					for (const headers of [{}, { cookie }])
						assertRefused(await deliver(browser, at, answer, headers), 'ERR_LOGIN_REJECTED')
					assert.equal(world.standIn.count('token'), 1)
					assert.deepEqual(await held(), before)
				})

			it('A13: and of no other tab', async () => {
				const at = applications[kind]
				for (const name of ['A8: a wrong issuer', 'A2: the right state twice', 'A11: two errors']) {
					const browser = answers.browser()
					const [lost, good] = [await answers.answerOf(browser, at), await answers.answerOf(browser, at)]
					const { make, code = 'ERR_LOGIN_REJECTED' } = bad[name] as Bad
					assertRefused(await deliver(browser, at, make(lost)), code)
					assertRefused(await deliver(browser, at, lost), 'ERR_LOGIN_REJECTED')
					assertSignedIn(await deliver(browser, at, good))
				}
			})
		})
})

function claimsOf(token: Readonly<Record<string, unknown>>): Record<string, unknown> {
	return JSON.parse(Buffer.from(String(token.id_token).split('.')[1] ?? '', 'base64url').toString())
}
