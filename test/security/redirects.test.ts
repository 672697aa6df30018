import assert from 'node:assert/strict'
import { Agent, type IncomingMessage, request } from 'node:http'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Browser } from 'playwright-core'
import { returnToOf, toBrowserPath, toLocalPath } from '../../src/koa/return-to.js'
import { answersOf, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { launchChromium, openWatchedPage } from '../support/chromium.js'
import { inputsOf, sampleOf } from '../support/corpora.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const corpus = inputsOf('redirects')
/** Those that a browser is really sent by. */
const sample = sampleOf(corpus, 200)
const seed = Number(process.env.FUZZ_SEED ?? 20_261_128)

/** What a browser makes of it is on the application's own origin, and a header takes it. */
function assertLocal(location: string, input: string): void {
	const origin = 'https://app.example:8443'
	assert.match(location, /^\/(?![/\\])[\x21-\x7e]*$/, JSON.stringify(input))
	assert.equal(new URL(location, origin).origin, origin, JSON.stringify(input))
	assert.equal(new URL(location, `${origin}/user/authorized`).href, origin + location, JSON.stringify(input))
}

/** As a client sends it that encodes as little as it can. */
function barely(input: string): string {
	const encode = (text: string) =>
		[...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`)
	return input.replace(/[^\x21-\x7e]+/gu, (text) => encode(text).join(''))
}

function eachOf(input: string): void {
	for (const text of [input, `/${input}`, `/orders${input}`]) {
		assertLocal(toLocalPath(text), text)
		for (const basePath of ['/base', '']) {
			const path = toBrowserPath(basePath, text)
			assertLocal(path, text)
			assert.ok(path === basePath || path.startsWith(`${basePath}/`) || path.startsWith(`${basePath}?`), path)
		}
		for (const rest of [text, `/${text}`, `/${encodeURIComponent(text)}`, `/%2F${encodeURIComponent(text)}`])
			assertLocal(returnToOf({ path: `/user/login${rest}`, search: '' }, '/user/login'), text)
	}
}

describe('C2, C3: where a browser is sent', () => {
	let world: World
	let app: Application
	let chromium: Browser
	const agent = new Agent({ keepAlive: true, maxSockets: 8 })
	/** Where the provider's answer has led, by input. */
	const landings = new Map<string, string>()
	before(async () => {
		;[world, chromium] = await Promise.all([createWorld({ autoLogin: true }), launchChromium(['evil.test'])])
		app = await createApplication(world, {
			secrets,
			logoutTargets: ['/', '/goodbye'],
			configure: (koa) => {
				koa.use((ctx, next) => {
					const [, index] = /^\/land\/(\d+)$/.exec(ctx.path) ?? []
					if (index === undefined) return next()
					ctx.status = 303
					ctx.set('Location', [...landings.values()][Number(index)] ?? '')
				})
			},
		})
	})
	after(async () => {
		agent.destroy()
		await chromium.close()
		await app.close()
		await world.close()
	})

	async function locationOf(path: string, headers: Record<string, string> = {}): Promise<string> {
		const { hostname, port } = new URL(app.origin)
		const answer = await new Promise<IncomingMessage>((resolve, reject) =>
			request({ agent, host: hostname, port, path, headers }, resolve).once('error', reject).end(),
		)
		answer.resume()
		assert.ok([303, 400].includes(answer.statusCode ?? 0), `${answer.statusCode} ${path}`)
		assert.ok(!Object.keys(answer.headers).some((name) => /evil|^x-(?!frame|content)/.test(name)), path)
		return answer.headers.location ?? ''
	}

	it('is local, for each input of the corpus', () => {
		for (const input of corpus) eachOf(input)
	})

	it(`is local, for 10,000 inputs made of pieces of the corpus (seed ${seed})`, () => {
		const piece = fc.oneof(
			fc.constantFrom(...corpus),
			fc.constantFrom(...corpus).map((input) => input.slice(0, 4)),
			fc.string({ unit: 'grapheme', maxLength: 4 }),
		)
		const made = fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join(''))
		const whole = (text: string) => text.replace(/\p{Surrogate}/gu, '')
		fc.assert(
			fc.property(made, (input) => eachOf(whole(input))),
			{ numRuns: 10_000, seed },
		)
	})

	it('is the configured place after a sign-out, whatever is asked for', async () => {
		const targets = new Set<string>()
		await inTurns(corpus, async (input) => {
			targets.add(await locationOf(`/user/logout/${encodeURIComponent(input)}`))
			targets.add(await locationOf(`/user/logout${barely(input.startsWith('/') ? input : `/${input}`)}`))
		})
		targets.delete('')
		for (const more of ['?x=1&id_token_hint=a', '/goodbye?x=1&id_token_hint=a', '/goodbye/..//evil.test'])
			assert.equal(await locationOf(`/user/logout${more}`), '/', more)
		assert.equal(await locationOf('/user/logout/goodbye'), '/goodbye')
		for (const target of targets) assert.ok(['/', '/goodbye'].includes(target), target)
	})

	it('is the provider to sign in, with the configured redirect URI, whatever is asked for', async () => {
		await inTurns(sampleOf(corpus, 500), async (input) => {
			const location = await locationOf(`/user/login${barely(input.startsWith('/') ? input : `/${input}`)}`)
			if (location === '') return
			const url = new URL(location)
			assert.equal(url.origin, world.standIn.pagesOrigin, input)
			assert.equal(url.searchParams.get('redirect_uri'), `${app.origin}/user/authorized`, input)
		})
	})

	it('C2: is not what the Referer says', async () => {
		for (const referer of [
			'',
			'https://evil.test/',
			'https://evil.test/?localhost',
			`${app.origin}@evil.test/`,
		])
			for (const [path, leads] of [
				['/user/logout', '/'],
				['/user/logout/goodbye', '/goodbye'],
			] as const)
				assert.equal(await locationOf(path, referer ? { referer } : {}), leads, referer)
	})

	it('is local after a sign-in, for 200 inputs of the corpus', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		for (const input of sample) {
			const path = `/user/login/${encodeURIComponent(input.startsWith('/') ? input : `/${input}`)}`
			const said = await deliver(browser, app, await answers.answerOf(browser, app, { path }), {
				referer: 'https://evil.test/?localhost',
			})
			assert.equal(said.status, 303, said.text)
			const location = said.headers.get('location') ?? ''
			assertLocal(location, input)
			landings.set(input, location)
		}
		await answers.close()
	})

	it('is local to Chromium, which goes there', async () => {
		assert.equal(landings.size, sample.length)
		const { page, alarms, close } = await openWatchedPage(chromium, [app.origin])
		await page.goto(app.origin)
		const all = [...new Set([...landings.values(), ...corpus.map((input) => toLocalPath(input))])]
		// As text, for it runs where there is a document.
		const origins = await page.evaluate<string[]>(`(() => {
			const link = document.createElement('a')
			return ${JSON.stringify(all)}.map((location) => {
				link.setAttribute('href', location)
				return link.origin + ' ' + new URL(location, document.baseURI).origin
			})
		})()`)
		assert.equal(origins.length, all.length)
		assert.deepEqual([...new Set(origins)], [`${app.origin} ${app.origin}`])
		for (const [index, [input]] of [...landings].entries()) {
			// Routes of the library's among them send it on: to the provider, which is not asked here.
			if (landings.get(input)?.startsWith('/user/')) continue
			await page.goto(`${app.origin}/land/${index}`, { waitUntil: 'commit' })
			assert.equal(new URL(page.url()).origin, app.origin, JSON.stringify(input))
			assert.ok(!page.url().includes('/land/'), 'it has gone there')
		}
		assert.deepEqual(alarms, [])
		await close()
	})
})

/** Some at a time, over connections that are kept. */
async function inTurns<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
	const rest = [...all]
	await Promise.all(
		Array.from({ length: 8 }, async () => {
			for (let one = rest.pop(); one !== undefined; one = rest.pop()) await work(one)
		}),
	)
}
