import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { decodeJwt, type JWTPayload } from 'jose'
import type { Browser, Page } from '../dev/cookie-jar-browser.js'
import { API } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { type AuthorizationRequest, BrokerError, startSignIn } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

describe('asking the provider for a sign-in (initiate_auth_code_flow)', () => {
	let world: World
	let app: Application
	/** What `/ask` asks for. */
	let asked: AuthorizationRequest & { readonly returnTo?: string } = {}
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			configure: (koa) => koa.use((ctx, next) => (ctx.path === '/ask' ? startSignIn(ctx, asked) : next())),
		})
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	afterEach(() => {
		world.standIn.clearFaults()
		asked = {}
	})

	async function urlOf(request: AuthorizationRequest): Promise<URLSearchParams> {
		return new URL((await app.broker.getAuthCodeUrl(request)).url).searchParams
	}

	async function signInAsked(browser: Browser, request: typeof asked, name = 'Ada Lovelace'): Promise<Page> {
		asked = request
		const page = await browser.follow(`${app.origin}/ask`)
		return page.forms.length > 0 ? browser.press(name) : page
	}

	describe('getAuthCodeUrl() (initiate_auth_code_flow)', () => {
		it('passes on everything that can be asked for', async () => {
			const query = await urlOf({
				scopes: ['User.Read'],
				extraScopesToConsent: ['Mail.Read', `${API}/access_as_user`],
				prompt: 'select_account',
				loginHint: 'ada@contoso.example',
				domainHint: 'contoso.example',
				maxAge: 300,
				extraQueryParameters: { ui_locales: 'de', 'x-context': 'a b&c' },
			})
			assert.deepEqual(query.get('scope')?.split(' '), [
				'User.Read',
				'Mail.Read',
				`${API}/access_as_user`,
				'openid',
				'profile',
				'offline_access',
			])
			const { prompt, login_hint, domain_hint, max_age, ui_locales, ...rest } = Object.fromEntries(query)
			assert.deepEqual(
				[prompt, login_hint, domain_hint, max_age, ui_locales, rest['x-context']],
				['select_account', 'ada@contoso.example', 'contoso.example', '300', 'de', 'a b&c'],
			)
			assert.deepEqual(JSON.parse(rest.claims ?? '').id_token, {
				login_hint: null,
				auth_time: { essential: true },
			})
		})

		it('asks nobody for the age of a sign-in that does not matter', async () => {
			const query = await urlOf({})
			assert.ok(!query.has('max_age'))
			assert.deepEqual(JSON.parse(query.get('claims') ?? '').id_token, { login_hint: null })
			assert.equal((await urlOf({ maxAge: 0 })).get('max_age'), '0')
		})

		const refusals: Record<string, unknown> = {
			'scopes that are no list': { scopes: 'User.Read' },
			'no scopes': { scopes: [] },
			'scopes with a space': { scopes: ['User.Read Mail.Read'] },
			'more scopes that are no texts': { extraScopesToConsent: [1] },
			'a prompt that nobody knows': { prompt: 'nothing' },
			'an empty prompt': { prompt: '' },
			'the prompt none and another': { prompt: 'none login' },
			'a prompt that is no text': { prompt: ['login'] },
			'a login hint that is no text': { loginHint: { toString: 'x' } },
			'an endless login hint': { loginHint: 'x'.repeat(1025) },
			'a domain hint that is no text': { domainHint: 1 },
			'a negative age': { maxAge: -1 },
			'half a second': { maxAge: 0.5 },
			'an age that is a text': { maxAge: '60' },
			'claims that are no JSON': { claims: 'claims' },
			'parameters that are a list': { extraQueryParameters: ['a'] },
			'parameters that are no texts': { extraQueryParameters: { a: 1 } },
			'parameters of strange names': { extraQueryParameters: { 'a&state': 'x' } },
			'too many parameters': {
				extraQueryParameters: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`a${i}`, 'x'])),
			},
		}
		for (const [what, request] of Object.entries(refusals))
			it(`refuses ${what}`, async () => {
				await assert.rejects(
					app.broker.getAuthCodeUrl(request as AuthorizationRequest),
					(error) => error instanceof BrokerError && error.code === 'ERR_BAD_REQUEST',
				)
			})

		it('lets an extra parameter take the place of none of its own, in whatever case', async () => {
			const own = await urlOf({ prompt: 'login', loginHint: 'a', domainHint: 'b', maxAge: 1 })
			assert.ok([...own.keys()].length >= 14)
			for (const name of [...own.keys(), 'request', 'request_uri', 'client_secret'])
				for (const written of [name, name.toUpperCase()])
					await assert.rejects(
						app.broker.getAuthCodeUrl({ extraQueryParameters: { [written]: 'mine' } }),
						(error) => error instanceof BrokerError && error.code === 'ERR_BAD_REQUEST',
						written,
					)
		})

		it('keeps what the provider’s address has of its own', async () => {
			const { authority } = world.standIn
			const authorityMetadata = JSON.stringify({
				issuer: `${authority}/v2.0`,
				authorization_endpoint: `${authority}/oauth2/v2.0/authorize?p=b2c_1_strict`,
				token_endpoint: `${authority}/oauth2/v2.0/token`,
				jwks_uri: `${authority}/discovery/v2.0/keys`,
			})
			const own = await createApplication(world, { auth: { authorityMetadata } })
			try {
				const { url } = await own.broker.getAuthCodeUrl({ extraQueryParameters: { ui_locales: 'de' } })
				const query = new URL(url).searchParams
				assert.deepEqual([query.get('p'), query.get('ui_locales')], ['b2c_1_strict', 'de'])
				for (const name of ['p', 'P'])
					await assert.rejects(
						own.broker.getAuthCodeUrl({ extraQueryParameters: { [name]: 'b2c_1_lax' } }),
						(error) => error instanceof BrokerError && error.code === 'ERR_BAD_REQUEST',
					)
			} finally {
				await own.close()
			}
		})
	})

	describe('startSignIn()', () => {
		it('signs in from a route of the application and comes back where it says', async () => {
			const browser = app.browser()
			const home = await signInAsked(browser, { returnTo: '/orders?page=2', loginHint: people.grace.upn })
			assert.equal(home.url, `${app.origin}/orders?page=2`)
			const token = (await browser.get(`${app.origin}/token`)).json<{ objectId: string }>()
			assert.equal(token.objectId, people.grace.oid, 'the one hinted at, without a question')
		})

		it('leads to no other site, and is kept by nobody', async () => {
			const browser = app.browser()
			asked = { returnTo: '//evil.example/' }
			const page = await browser.get(`${app.origin}/ask`)
			assert.deepEqual([page.status, page.headers.get('cache-control')], [303, 'no-store'])
			assert.equal((await signInAsked(browser, asked)).url, `${app.origin}/`)
		})

		it('leads to the start page where it is given a list, as a query can have one', async () => {
			const browser = app.browser()
			const returnTo = ['/a', '/b'] as unknown as string
			assert.equal((await signInAsked(browser, { returnTo })).url, `${app.origin}/`)
		})

		it('keeps the tokens that are held while more is consented to', async () => {
			const browser = app.browser()
			await app.signIn(browser)
			const api = encodeURIComponent(`${API}/access_as_user`)
			assert.equal((await browser.get(`${app.origin}/token?scope=${api}`)).status, 200)
			assert.equal((await browser.get(`${app.origin}/token?scope=Files.Read`)).status, 401)
			await signInAsked(browser, { extraScopesToConsent: ['Files.Read'] })
			world.standIn.clearLog()
			const held = (await browser.get(`${app.origin}/token?scope=${api}`)).json<{ outcome: string }>()
			assert.deepEqual([held.outcome, world.standIn.count('token')], ['cached', 0])
			assert.equal((await browser.get(`${app.origin}/token?scope=Files.Read`)).status, 200)
		})
	})

	describe('with a maximum age', () => {
		/** Signs in while the provider says when that was, or does not. */
		async function statusFor(maxAge: number, changes: (claims: JWTPayload) => JWTPayload): Promise<number> {
			const browser = app.browser()
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => ({
					...answer,
					id_token: await world.standIn.signIdToken(changes(decodeJwt(String(answer.id_token)))),
				}),
			})
			const { status, html } = await signInAsked(browser, { maxAge })
			const signedIn = (await browser.get(`${app.origin}/token`)).status === 200
			assert.equal(signedIn, status === 200)
			if (status !== 200) assert.match(html, /ERR_LOGIN_REJECTED/)
			return status
		}

		const secondsAgo = (seconds: number) => Math.floor(Date.now() / 1000) - seconds

		it('is answered by a provider that asks the person again', async () => {
			const browser = app.browser()
			await app.signIn(browser)
			asked = { maxAge: 0 }
			const page = await browser.follow(`${app.origin}/ask`)
			assert.ok(page.url.startsWith(world.standIn.pagesOrigin), 'asked again')
			assert.equal((await browser.press('Ada Lovelace')).status, 200)
		})

		it('takes a sign-in that is recent enough, and no other', async () => {
			const at = (auth_time: unknown) => (claims: JWTPayload) => ({ ...claims, auth_time })
			assert.equal(await statusFor(600, at(secondsAgo(500))), 200)
			assert.equal(await statusFor(600, at(secondsAgo(700))), 400)
			assert.equal(await statusFor(0, at(secondsAgo(240))), 400, 'not even four minutes')
			assert.equal(await statusFor(0, at(secondsAgo(30))), 200, 'clocks differ')
		})

		it('takes none that does not say when it was', async () => {
			assert.equal(await statusFor(600, ({ auth_time: _, ...claims }) => claims), 400)
			assert.equal(await statusFor(600, (claims) => ({ ...claims, auth_time: String(secondsAgo(1)) })), 400)
		})
	})
})
