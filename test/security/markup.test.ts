import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import type { Browser } from 'playwright-core'
import { allOf, BrokerError } from '../../src/index.js'
import { answersOf, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { launchChromium, openWatchedPage, type WatchedPage } from '../support/chromium.js'
import { inputsOf, sampleOf } from '../support/corpora.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const corpus = inputsOf('markup')

/** Fields of one form are at most 32. */
const chunks = Array.from({ length: Math.ceil(corpus.length / 14) }, (_, i) =>
	corpus.slice(14 * i, 14 * i + 14),
)

describe('C7: markup in what reaches a page', () => {
	let world: World
	let app: Application
	let chromium: Browser
	let watched: WatchedPage
	/** What the application says of its own, on the library's page and in its JSON. */
	let said: readonly string[] = []
	before(async () => {
		;[world, chromium] = await Promise.all([createWorld({ autoLogin: true }), launchChromium(['evil.test'])])
		app = await createApplication(world, {
			secrets,
			info: { said: () => said, kept: ({ session }) => session.kept },
			keepOnSignIn: ['kept'],
			configure: (koa) => {
				const refuse = allOf(() => {
					throw new BrokerError('ERR_FORBIDDEN', said.join('\n'))
				})
				koa.use((ctx, next) => {
					if (ctx.path === '/keep-all') ctx.session.kept = said
					return ctx.path === '/refused' ? refuse(ctx, next) : next()
				})
			},
		})
		// The provider's pages are not this library's: what they do is no matter here.
		watched = await openWatchedPage(chromium, [app.origin, world.standIn.pagesOrigin])
		await watched.page.goto(`${app.origin}/user/login`)
		await watched.page.waitForURL(`${app.origin}/`)
		watched.alarms.length = 0
	})
	after(async () => {
		await chromium.close()
		await app.close()
		await world.close()
	})

	/** Nothing ran, nothing was asked for, and nothing is there that this library has not put there. */
	async function assertHarmless(what: string): Promise<void> {
		const { page, alarms } = watched
		const foreign = await page.evaluate<string[]>(`[...document.querySelectorAll('*')]
			.filter((element) => !/^(html|head|meta|title|style|body|main|h1|p|a|small|code|form|button|pre|div)$/.test(element.localName)
				|| [...element.attributes].some(({ name }) => /^on|^src|^srcdoc|^style$/.test(name)))
			.map((element) => element.outerHTML)`)
		assert.deepEqual(foreign, [], what)
		assert.deepEqual(alarms, [], what)
	}

	it('is text, in the words of the application on a page of this library’s', async () => {
		for (said of chunks) {
			const answer = await watched.page.goto(`${app.origin}/refused`)
			assert.equal(answer?.status(), 403)
			assert.match(answer?.headers()['content-security-policy'] ?? '', /^default-src 'none'/)
			const shown = await watched.page.evaluate<string>(`document.querySelector('main p').textContent`)
			// The HTML parser leaves out NUL.
			assert.equal(shown, said.join('\n').replaceAll('\0', ''))
			await assertHarmless(said.join('\n'))
		}
	})

	it('is text, in the JSON about a person', async () => {
		said = corpus
		await watched.page.goto(`${app.origin}/keep-all`)
		const answer = await watched.page.goto(`${app.origin}/user/info`)
		assert.match(answer?.headers()['content-type'] ?? '', /^application\/json/)
		assert.equal(answer?.headers()['x-content-type-options'], 'nosniff')
		const shown = (await answer?.json()) as { said: string[]; kept: string[] }
		assert.deepEqual([shown.said, shown.kept], [corpus, corpus])
		await assertHarmless('/user/info')
	})

	it('is not there, where a form posts it as names, values, state, code and errors', async () => {
		const { page } = watched
		for (const payloads of chunks) {
			const [first = ''] = payloads
			const own = {
				state: first,
				error: first,
				error_description: first,
				error_uri: first,
				iss: first,
				code: first,
			}
			const fields = [...Object.entries(own), ...payloads.map((payload) => [payload, payload] as const)]
			const posted = page.waitForResponse(`${app.origin}/user/authorized`)
			await page.evaluate(`(() => {
				const form = document.createElement('form')
				form.method = 'post'
				form.action = '/user/authorized'
				for (const [name, value] of ${JSON.stringify(fields)}) {
					const input = document.createElement('input')
					Object.assign(input, { type: 'hidden', name, value })
					form.append(input)
				}
				document.documentElement.append(form)
				form.submit()
			})()`)
			const answer = await posted
			await page.waitForLoadState()
			assert.equal(answer.status(), 400)
			const text = await answer.text()
			for (const payload of payloads) assertAbsent(text, payload)
			await assertHarmless(payloads.join('\n'))
		}
	})

	it('is not there, where an address has it as names, values and paths', async () => {
		const { page } = watched
		const encode = (payload: string) => encodeURIComponent(payload)
		for (const payloads of chunks) {
			const query = payloads
				.map((payload) => `${encode(payload)}=${encode(payload)}&error=${encode(payload)}`)
				.join('&')
			for (const [path, status] of [
				[`/user/authorized?${query}`, 405],
				[`/user/info?${query}`, 200],
			] as const) {
				const answer = await page.goto(app.origin + path)
				assert.equal(answer?.status(), status)
				await assertHarmless(path)
			}
		}
		assert.deepEqual(watched.alarms, [])
	})

	it('is not there, each by each, in what comes back for an address, a cookie, a header or a form', async () => {
		await Promise.all(
			[0, 1, 2, 3, 4, 5].map(async (turn) => {
				for (const payload of corpus.filter((_, i) => i % 6 === turn)) {
					const encoded = encodeURIComponent(payload)
					const header = payload.replace(/[^\x20-\x7e]/g, '')
					const headers = {
						accept: 'text/html',
						cookie: `msal-tx-${header}=${header}; ${header}`,
						referer: header,
						'user-agent': header,
						'x-forwarded-host': header,
						'sec-fetch-site': turn % 2 ? header : 'cross-site',
					}
					for (const [path, init] of [
						[`/user/photo/?${encoded}=${encoded}`, {}],
						[`/user/authorized?error=${encoded}`, {}],
						[`/user/logout/${encoded}?${encoded}`, { redirect: 'manual' }],
						[
							'/user/authorized',
							{
								method: 'POST',
								body: new URLSearchParams({ state: payload, error: payload, [payload]: payload }),
							},
						],
					] as const) {
						const answer = await fetch(app.origin + path, { ...init, headers } as RequestInit)
						assert.ok([303, 400, 401, 405].includes(answer.status), `${answer.status} ${path}`)
						const text = await answer.text()
						assertAbsent(text, payload)
						assertAbsent(JSON.stringify([...answer.headers]), payload)
					}
				}
			}),
		)
	})

	it('is not there, in what the provider says of a sign-in', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		for (const payload of sampleOf(corpus, 40)) {
			const front = await answers.answerOf(browser, app)
			const refused = await deliver(browser, app, {
				state: front.state ?? '',
				iss: front.iss ?? '',
				error: payload,
				error_description: payload,
			})
			const back = await answers.answerOf(browser, app)
			world.standIn.inject({
				grant: 'authorization_code',
				error: { error: payload, code: 0 },
			})
			const failed = await deliver(browser, app, back)
			for (const { status, text } of [refused, failed]) {
				assert.equal(status, 400, text)
				assertAbsent(text, payload)
			}
		}
		for (const { stack = '' } of app.errors)
			assert.ok(!['alert(', 'evil.test', '\x1b'].some((part) => stack.includes(part)), stack)
		await answers.close()
	})

	it('is text in the JSON, as the name of a person', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		for (const name of sampleOf(corpus, 20)) {
			const fields = await answers.answerOf(browser, app)
			world.standIn.inject({
				grant: 'authorization_code',
				rewrite: async (answer) => ({
					...answer,
					id_token: await world.standIn.signIdToken({
						...decodeJwt(String(answer.id_token)),
						name,
						preferred_username: name,
					}),
				}),
			})
			assert.equal((await deliver(browser, app, fields)).status, 303)
			const cookie = browser.jar.headerFor(new URL(app.origin), {
				method: 'GET',
				crossSite: false,
				topLevel: true,
			})
			const info = await fetch(`${app.origin}/user/info`, { headers: { cookie } })
			assert.match(info.headers.get('content-type') ?? '', /^application\/json/)
			assert.equal(info.headers.get('x-content-type-options'), 'nosniff')
			const shown = (await info.json()) as { name: string; username: string }
			assert.ok(!/[\p{Cc}\p{Zl}]/u.test(shown.name + shown.username), JSON.stringify(shown))
			assert.ok(name.includes(shown.username))
		}
		await answers.close()
	})
})

/** Where it has a character of markup, or could not be there by chance. */
function assertAbsent(text: string, payload: string): void {
	if (payload.length > 3) assert.ok(!text.includes(payload), `${payload} in ${text}`)
	assert.doesNotMatch(text, /alert\(|evil\.test/, payload)
}
