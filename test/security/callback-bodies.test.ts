import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { redisTokenStore } from '../../src/index.js'
import { callbackBodies } from '../corpora/callback-bodies.js'
import { answersOf, assertSignedIn, cookiesFor, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { sendRaw } from '../support/raw-request.js'
import { startRedis, type TestRedis } from '../support/redis.js'

describe('C6, I3: a request to the redirect URI that is no answer of a provider', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	const answers = () => answersOf(world.standIn)
	before(async () => {
		;[world, redis] = await Promise.all([createWorld({ autoLogin: true }), startRedis()])
		app = await createApplication(world, {
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			store: redisTokenStore({ path: redis.path }),
		})
	})
	after(async () => {
		await app.close()
		await redis.stop()
		await world.close()
	})

	/** Sessions, tokens, and where they are found, byte by byte. Sign-ins that have ended may be told. */
	async function stored(): Promise<string[]> {
		return (await redis.dump()).filter((line) => /^koa-msal:[^:]+:[sti]:/.test(line))
	}

	it('are at least 60, each another', () => {
		assert.ok(callbackBodies.length >= 60, String(callbackBodies.length))
		assert.equal(new Set(callbackBodies.map(({ what }) => what)).size, callbackBodies.length)
	})

	it('is refused with the status that says why, and changes nothing', async () => {
		const all = answers()
		const browser = all.browser()
		assertSignedIn(await deliver(browser, app, await all.answerOf(browser, app)))
		const before = await stored()
		assert.ok(before.length >= 2, 'a session and its tokens')
		world.standIn.clearLog()
		const url = new URL(app.origin)
		for (const { what, method = 'POST', headers, body = '', length, status } of callbackBodies) {
			// A request that can't be read ends the sign-in that it may be for, so each has one of its own.
			const fields = await all.answerOf(browser, app)
			const cookie = browser.jar.headerFor(url, { method: 'GET', crossSite: false, topLevel: true })
			assert.ok(cookie.includes(cookiesFor(browser, app)) && /msal-[0-9a-f]{8}=/.test(cookie))
			const text = body.replaceAll('STATE', fields.state ?? '').replaceAll('CODE', fields.code ?? '')
			const lines = [
				`${method} /user/authorized HTTP/1.1`,
				`Host: ${url.host}`,
				`Cookie: ${cookie}`,
				'Connection: close',
				...(headers ?? ['Content-Type: application/x-www-form-urlencoded']),
				...(length === 'none' ? [] : [`Content-Length: ${length ?? Buffer.byteLength(text, 'latin1')}`]),
			]
			const ends = status.includes(0)
			const answer = await sendRaw(app.origin, `${lines.join('\r\n')}\r\n\r\n${text}`, ends ? 300 : 15_000)
			assert.ok(status.includes(answer.status), `${what}: ${answer.status} ${answer.body.slice(0, 200)}`)
			assert.ok(!answer.lines.some((line) => /evil/i.test(line)), what)
			for (const line of answer.all('set-cookie'))
				assert.match(line, /^(?:__Host-)?msal-tx-[^=]+=;/, `${what}: no session begins or ends`)
			if (answer.get('referrer-policy') !== '') assert.equal(answer.get('cache-control'), 'no-store', what)
		}
		assert.deepEqual(
			world.standIn.log.filter(({ kind }) => kind === 'token'),
			[],
			'no code was tried',
		)
		assert.deepEqual(await stored(), before)
		assertSignedIn(await deliver(browser, app, await all.answerOf(browser, app)), '/')
		await all.close()
	})

	it('leaves in the log that connections broke off, and nothing that was sent', () => {
		for (const { message, stack } of app.errors) {
			assert.match(message, /^[\x20-\x7e]+$/)
			assert.ok(!/evil|STATE|state=/i.test(String(stack)), stack)
		}
	})
})
