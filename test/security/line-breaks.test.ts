import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { answersOf, cookiesFor, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { type RawAnswer, sendRaw } from '../support/raw-request.js'

/** What would begin a header, a line of a log, or a terminal's escape; raw and encoded. */
const breaks = [
	'\r\nX-Evil: 1',
	'\nX-Evil: 1',
	'\rX-Evil: 1',
	'\x1b[2J\x1b]0;evil\x07',
	'\x85X-Evil: 1',
	'\x9b31m',
	'\0',
]
const encoded = breaks.map((text) => encodeURIComponent(text))
const all = [
	...breaks,
	...encoded,
	...encoded.map((text) => encodeURIComponent(text)),
	'%E5%98%8D%E5%98%8AX-Evil:1',
]

describe('C6: line breaks and escapes, byte by byte', () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld({ autoLogin: true })
		app = await createApplication(world, {
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			trustedProxies: ['127.0.0.1', '::1'],
		})
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	function assertOneLineEach(answer: RawAnswer, what: string): void {
		for (const line of answer.lines.slice(1)) {
			assert.match(line, /^[\w-]+: ?[\x20-\x7e]*$/, `${JSON.stringify(what)}: ${JSON.stringify(line)}`)
			assert.doesNotMatch(line, /^X-Evil/i, JSON.stringify(what))
		}
		assert.ok(answer.status !== 500, `${JSON.stringify(what)}: ${answer.body}`)
	}

	/** Each event is one line, and the lines of its stack are all our own. */
	function assertLogIsClean(): void {
		for (const { message, stack = '' } of app.errors) {
			assert.match(message, /^[\x20-\x7e’–]+$/, JSON.stringify(message))
			assert.ok(!/evil|\p{Cc}/iu.test(stack.replaceAll('\n', '')), JSON.stringify(stack))
		}
	}

	it('in paths, queries, cookies and headers begin no header and no line', async () => {
		const { host } = new URL(app.origin)
		for (const text of all) {
			const request = (path: string, ...headers: string[]) =>
				sendRaw(
					app.origin,
					[
						`GET ${path} HTTP/1.1`,
						`Host: ${host}`,
						'Accept: text/html',
						'Connection: close',
						...headers,
						'',
						'',
					].join('\r\n'),
				)
			const plain = !/[\r\n\0]/.test(text)
			for (const [path, ...headers] of [
				[`/user/login/${text}`],
				[`/user/login/orders?a=${text}`],
				[`/user/logout/${text}?${text}`],
				[`/user/authorized?state=${text}&error=${text}&error_description=${text}`],
				[`/private/${text}?a=${text}`],
				// Whoever can put a line break into a request's header has sent two, and both are their own.
				...(plain
					? [
							['/user/login', `X-Forwarded-Host: ${text}`, `X-Forwarded-Proto: ${text}`],
							['/user/login', `Cookie: msal-tx-${text}=${text}; ${text}`, `Referer: ${text}`],
							['/user/logout', `Sec-Fetch-Site: ${text}`, `Origin: ${text}`],
							['/user/photo', `If-None-Match: ${text}`, `Authorization: ${text}`, `User-Agent: ${text}`],
						]
					: []),
			] as [string, ...string[]][])
				assertOneLineEach(await request(path, ...headers), path + headers.join())
		}
		assertLogIsClean()
	})

	it('in the fields of an answer, and in what the provider says, begin no header and no line', async () => {
		const answers = answersOf(world.standIn)
		const browser = answers.browser()
		for (const text of all) {
			const { state = '', iss = '' } = await answers.answerOf(browser, app)
			const body = new URLSearchParams({
				state,
				iss,
				error: text,
				error_description: text,
				[text]: text,
			}).toString()
			const answer = await sendRaw(
				app.origin,
				`POST /user/authorized HTTP/1.1\r\nHost: ${new URL(app.origin).host}\r\nConnection: close\r\nCookie: ${cookiesFor(browser, app)}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
			)
			assert.equal(answer.status, 400, answer.body)
			assertOneLineEach(answer, text)
			world.standIn.inject({ grant: 'authorization_code', error: { error: text, code: 0 } })
			const failed = await deliver(browser, app, await answers.answerOf(browser, app))
			assert.equal(failed.status, 400, failed.text)
			assert.ok(!/evil|\p{Cc}/iu.test(failed.text.replaceAll('\n', '')), failed.text)
		}
		assert.ok(app.errors.length >= all.length, 'what is refused is logged')
		assertLogIsClean()
		await answers.close()
	})
})
