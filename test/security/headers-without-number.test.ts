import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it } from 'node:test'
import { createSessionApplication } from '../support/session-application.js'

describe('I4: headers and cookies without number', () => {
	it('I4: are refused over 16 KiB; below, the one session cookie that is signed is found among them', async () => {
		const app = await createSessionApplication({}, (ctx) => {
			if (ctx.path === '/set') ctx.session.value = 'mine'
			return ctx.session.value
		})
		const status = (headers: Record<string, string>) =>
			new Promise((resolve, reject) => {
				request(`${app.origin}/`, { headers, agent: false }, (answer) => resolve(answer.resume().statusCode))
					.once('error', reject)
					.end()
			})
		const { cookie = '' } = await app.get('/set')
		const name = cookie.split('=')[0]
		const wrong = `${name}=${'x'.repeat(43)}.${'y'.repeat(43)}`
		assert.equal(await status({ 'x-a': 'a'.repeat(17_000) }), 431)
		assert.equal(await status({ cookie: `${cookie}; a=${'a'.repeat(17_000)}` }), 431)
		assert.equal(
			await status(Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`x-${i}`, 'a'.repeat(30)]))),
			431,
		)
		const others = Array.from({ length: 100 }, (_, i) => `c${i}=${'v'.repeat(40)}`)
		const wrongs = Array.from({ length: 100 }, () => wrong)
		for (const all of [
			[...others, cookie],
			[cookie, ...others],
			[...wrongs, cookie],
			[...wrongs, cookie, wrong, ...others.slice(0, 20)],
		])
			assert.equal((await app.get('/', all.join('; '))).text, '{"body":"mine"}')
		assert.equal((await app.get('/', wrongs.join('; '))).text, 'Not Found')
		assert.deepEqual(app.errors, [])
		await app.close()
	})
})
