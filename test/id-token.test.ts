import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { decodeJwt, type JWTPayload } from 'jose'
import { type Browser, createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../dev/directory.js'
import type { ForgedKey } from '../dev/entra-stand-in.js'
import { people } from '../dev/people.js'
import { redisTokenStore } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const otherTenant = '22222222-2222-4333-8444-555555555555'

/** Seconds from now, as JWTs count. */
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

describe('the id_token of a sign-in', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let browser: Browser
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, { secrets, store: redisTokenStore({ path: redis.path }) })
		browser = createBrowser()
	})
	after(async () => {
		await browser.close()
		await app.close()
		await redis.stop()
		await world.close()
	})
	afterEach(() => {
		world.standIn.clearFaults()
		browser.jar.clear()
	})

	/** Sessions and blobs, as they were before the last sign-in. */
	let stored: string[] = []

	async function held(): Promise<string[]> {
		return (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[st]:/.test(line))
	}

	/** Signs in while the provider's id_token is replaced. */
	async function signInWith(
		forge: (idToken: string, answer: Record<string, unknown>) => unknown,
	): Promise<Page> {
		stored = await held()
		world.standIn.inject({
			grant: 'authorization_code',
			rewrite: async (answer) => ({ ...answer, id_token: await forge(String(answer.id_token), answer) }),
		})
		return app.signIn(browser)
	}

	/** Changes claims and signs them again: with the provider's own key, unless said otherwise. */
	function withClaims(changes: (claims: JWTPayload) => JWTPayload, key?: ForgedKey) {
		return (idToken: string) =>
			world.standIn.signIdToken(changes(decodeJwt(idToken)), key === undefined ? {} : { key })
	}

	async function assertRefused(page: Page): Promise<void> {
		assert.equal(page.status, 400, page.html)
		assert.match(page.html, /ERR_LOGIN_REJECTED/)
		assert.ok(!/eyJ|contoso|stand-in/.test(page.html), 'nothing of the token is shown')
		assert.deepEqual(
			browser.jar.cookies.filter(({ name }) => /^msal-(?!tx)/.test(name)),
			[],
			'no session',
		)
		assert.deepEqual(await held(), stored, 'neither session nor blob')
		assert.equal((await browser.get(`${app.origin}/token`)).status, 401)
	}

	const forgeries: Record<string, (idToken: string) => unknown> = {
		'is missing': () => undefined,
		'is empty': () => '',
		'is no JWT': () => 'eyJhbGciOiJub25lIn0.e30.x.y',
		'is another issuer’s': withClaims((claims) => ({ ...claims, iss: 'https://evil.example/v2.0' })),
		'has the issuer with a slash more': withClaims((claims) => ({ ...claims, iss: `${claims.iss}/` })),
		'is of another tenant’s issuer': withClaims((claims) => ({
			...claims,
			iss: String(claims.iss).replace(String(claims.tid), otherTenant),
			tid: otherTenant,
		})),
		'names another tenant than its issuer': withClaims((claims) => ({ ...claims, tid: otherTenant })),
		'names no tenant': withClaims(({ tid: _, ...claims }) => claims),
		'names a tenant that is none': withClaims((claims) => ({ ...claims, tid: 'v2.0' })),
		'is for another application': withClaims((claims) => ({ ...claims, aud: clientIds.certificate })),
		'is for nobody': withClaims(({ aud: _, ...claims }) => claims),
		'is for us and, unsaid who asked, for others': withClaims((claims) => ({
			...claims,
			aud: [clientIds.web, clientIds.certificate],
		})),
		'was asked for by another application': withClaims((claims) => ({
			...claims,
			azp: clientIds.certificate,
		})),
		'has expired': withClaims((claims) => ({ ...claims, exp: inSeconds(-400) })),
		'never expires': withClaims(({ exp: _, ...claims }) => claims),
		'is not valid yet': withClaims((claims) => ({ ...claims, nbf: inSeconds(400) })),
		'does not say when it was issued': withClaims(({ iat: _, ...claims }) => claims),
		'says nobody’s name': withClaims(({ sub: _, ...claims }) => claims),
		'names somebody by an id longer than any': withClaims((claims) => ({ ...claims, oid: 'a'.repeat(257) })),
		'names somebody by an id with a line break': withClaims((claims) => ({ ...claims, oid: 'a\nb' })),
		'names somebody by an id of other letters': withClaims((claims) => ({
			...claims,
			oid: `${claims.oid}ä`,
		})),
		'names somebody by no text': withClaims((claims) => ({ ...claims, oid: 42 })),
		'names somebody by an empty id': withClaims((claims) => ({ ...claims, oid: '' })),
		'has a subject longer than any': withClaims((claims) => ({ ...claims, sub: 'a'.repeat(257) })),
		'has a subject with an escape': withClaims((claims) => ({ ...claims, sub: '\x1b[31m' })),
		'has no nonce (A6)': withClaims(({ nonce: _, ...claims }) => claims),
		'has another nonce (A6)': withClaims((claims) => ({ ...claims, nonce: 'x'.repeat(43) })),
		'is not signed': withClaims((claims) => claims, 'none'),
		'is signed with a foreign key': withClaims((claims) => claims, 'foreign'),
		'is signed with a key of a name that nobody knows': withClaims((claims) => claims, 'unknown'),
		'was changed after it was signed': (idToken) => {
			const [header, payload, signature] = idToken.split('.')
			const claims = { ...decodeJwt(idToken), oid: people.grace.oid }
			assert.ok(payload)
			return [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
		},
		'is signed with the client’s secret instead of a key': (idToken) => {
			const [, payload] = idToken.split('.')
			const header = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT' })).toString('base64url')
			const mac = createHmac('sha256', clientSecrets.web).update(`${header}.${payload}`)
			return [header, payload, mac.digest('base64url')].join('.')
		},
		'has the hash of another access token (A10)': withClaims((claims) => ({
			...claims,
			at_hash: hashOf('another token'),
		})),
		'has no text for the hash of the access token (A10)': withClaims((claims) => ({
			...claims,
			at_hash: 42,
		})),
	}
	for (const [what, forge] of Object.entries(forgeries))
		it(`is refused when it ${what}`, async () => {
			await assertRefused(await signInWith(forge))
		})

	it('A6: is refused when it is that of an earlier sign-in', async () => {
		let earlier = ''
		await signInWith((idToken) => {
			earlier = idToken
			return ''
		})
		browser.jar.clear()
		await assertRefused(await signInWith(() => earlier))
	})

	const accepted: Record<string, (claims: JWTPayload) => JWTPayload> = {
		'comes as it is': (claims) => claims,
		'expired within five minutes': (claims) => ({ ...claims, exp: inSeconds(-200) }),
		'begins within five minutes': (claims) => ({ ...claims, nbf: inSeconds(200) }),
		'names us as the one who asked': (claims) => ({ ...claims, azp: clientIds.web }),
	}
	for (const [what, changes] of Object.entries(accepted))
		it(`is accepted when it ${what}`, async () => {
			const page = await signInWith(withClaims(changes))
			assert.equal(page.status, 200, page.html)
			await signOut()
		})

	it('A10: is accepted with the hash of its access token', async () => {
		const page = await signInWith((idToken, { access_token }) =>
			withClaims((claims) => ({ ...claims, at_hash: hashOf(String(access_token)) }))(idToken),
		)
		assert.equal(page.status, 200, page.html)
		await signOut()
	})

	it('C6, C7: loses what would deceive whoever reads a name, and a name that people are found by is whole or none', async () => {
		const deceptive = '\0\r\n\t\x1b[31m\x7f\x85\x9b\u061c\u200e\u2028\u2029\u202e\u2066'
		await signInWith(
			withClaims((claims) => ({
				...claims,
				name: `Ada${deceptive} Lovelace${'!'.repeat(300)}`,
				preferred_username: `${people.grace.upn}\u202e`,
				upn: `${people.grace.upn}${'x'.repeat(300)}`,
			})),
		)
		const info = (await browser.get(`${app.origin}/user/info`)).json<Record<string, string>>()
		assert.ok(info.name?.startsWith('Ada[31m Lovelace!'), JSON.stringify(info.name))
		assert.equal(info.name?.length, 256)
		assert.equal(info.username, '')
		assert.ok(!JSON.stringify(app.seen.session ?? {}).includes('xxx'))
		await signOut()
	})

	it('says who signed in: tenant and object id, not the name that somebody goes by', async () => {
		await signInWith(withClaims((claims) => ({ ...claims, preferred_username: people.grace.upn })))
		const info = (await browser.get(`${app.origin}/user/info`)).json<Record<string, unknown>>()
		assert.equal(info.objectId, people.ada.oid)
		assert.equal(info.tenantId, world.standIn.tenantId)
		assert.equal(info.username, people.grace.upn, 'for display')
		await signOut()
	})

	describe('and the provider’s keys', () => {
		let fresh: Application
		beforeEach(async () => {
			// Each thread has looked at the keys for itself.
			fresh = await createApplication(world, { secrets, pool: { threads: 1 } })
		})
		afterEach(() => fresh.close())

		/** @returns the status of the page, and then of a token */
		async function outcomeOf(): Promise<number[]> {
			const own = fresh.browser()
			const page = await fresh.signIn(own)
			assert.match(
				page.html,
				{ 200: /"path"/, 400: /ERR_LOGIN_REJECTED/, 503: /ERR_IDP_UNAVAILABLE/ }[page.status] ?? /^$/,
			)
			return [page.status, (await own.get(`${fresh.origin}/token`)).status]
		}
		const [signedIn, refused, unavailable] = [
			[200, 200],
			[400, 401],
			[503, 401],
		]
		const looks = () => world.standIn.count('keys')

		for (const keepOld of [true, false])
			it(`F6: is accepted as soon as they are rotated, ${keepOld ? 'beside' : 'in place of'} the old ones: one look for all`, async () => {
				world.standIn.clearLog()
				assert.deepEqual(await outcomeOf(), signedIn)
				assert.equal(looks(), 1)
				await world.standIn.rotateKeys({ keepOld })
				assert.deepEqual(await Promise.all([outcomeOf(), outcomeOf(), outcomeOf()]), Array(3).fill(signedIn))
				assert.deepEqual(await outcomeOf(), signedIn)
				assert.equal(looks(), 2)
			})

		it('F6: is refused when its key was withdrawn before anybody looked', async () => {
			world.standIn.clearLog()
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => {
					await world.standIn.rotateKeys({ keepOld: false })
					return answer
				},
			})
			assert.deepEqual(await outcomeOf(), refused)
			assert.equal(looks(), 1, 'they have just been looked at')
			assert.deepEqual(await outcomeOf(), signedIn)
		})

		it('F6: costs one look when its key is one that nobody knows, however often, and nobody else their sign-in', async () => {
			assert.deepEqual(await outcomeOf(), signedIn)
			world.standIn.clearLog()
			const spam = {
				grant: 'authorization_code',
				rewrite: async (answer: Record<string, unknown>) => ({
					...answer,
					id_token: await withClaims((claims) => claims, 'unknown')(String(answer.id_token)),
				}),
			}
			world.standIn.inject({ ...spam, times: 5 })
			for (let i = 0; i < 2; i++) assert.deepEqual(await outcomeOf(), refused)
			assert.deepEqual(await Promise.all([outcomeOf(), outcomeOf(), outcomeOf()]), Array(3).fill(refused))
			assert.equal(looks(), 1)
			assert.deepEqual(await outcomeOf(), signedIn)
			assert.equal(looks(), 1)
		})

		it('F6: is not believed, and nobody signed in, while they cannot be fetched', async () => {
			for (const fault of [{ drop: true }, { status: 500 }, { status: 503 }, { status: 429 }]) {
				world.standIn.inject({ on: 'keys', ...fault })
				assert.deepEqual(await outcomeOf(), unavailable)
			}
			assert.deepEqual(await outcomeOf(), signedIn)
			world.standIn.inject({ on: 'keys', status: 500 })
			assert.deepEqual(await outcomeOf(), signedIn, 'they are known')
			await world.standIn.rotateKeys({ keepOld: false })
			assert.deepEqual(await outcomeOf(), unavailable)
			assert.deepEqual(await outcomeOf(), signedIn, 'a look that failed is not the one for half a minute')
		})
	})

	async function signOut(): Promise<void> {
		await browser.get(`${app.origin}/user/logout`)
	}
})

/** OpenID Connect Core 3.1.3.6: the left half of the hash. */
function hashOf(accessToken: string): string {
	return createHash('sha256').update(accessToken, 'ascii').digest().subarray(0, 16).toString('base64url')
}
