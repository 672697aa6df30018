import assert from 'node:assert/strict'
import { type IncomingMessage, request } from 'node:http'
import { after, before, describe, it } from 'node:test'
import type { Http } from '../../src/network.js'
import { ProviderCall } from '../../workers/provider-call.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

/** Milliseconds of processor time, the least of some tries: the collector and other threads take theirs when they like. */
async function cost(work: () => unknown, tries = 4): Promise<number> {
	let least = Number.POSITIVE_INFINITY
	for (let i = 0; i < tries; i++) {
		const { user, system } = process.cpuUsage()
		await work()
		const used = process.cpuUsage({ user, system })
		least = Math.min(least, (used.user + used.system) / 1000)
	}
	return least
}

const form = { 'content-type': 'application/x-www-form-urlencoded' }
const long = 7000

/** Texts in which an expression that goes back on its steps never comes to an end, each as long as it is let. */
const hard: readonly string[] = [
	'a',
	' ',
	'\t',
	',',
	', ',
	';',
	'; ',
	'=',
	'"',
	'\\"',
	'%',
	'%2f',
	'%2F..',
	'/',
	'/../',
	'/./',
	'//',
	'.',
	'..',
	'-',
	'_',
	'@',
	':',
	'a:',
	'a.',
	'a=',
	'a=b; ',
	'a=b&',
	'[',
	'[]',
	'a[b]',
	'(',
	'0',
	'1.',
	'text/html',
	'text/',
	'text/html;q=0.1,',
	'Bearer ',
	'claims="',
	'http://',
	'__Host-',
	'msal-',
	'eyJ.',
	'A-',
	'&amp;',
	'<a ',
	'?',
	'#',
	'\u00e9',
].map((piece) => piece.repeat(Math.ceil(long / piece.length)).slice(0, long))
const endings = ['', '!', '\\', '<']

describe('input that makes a parser slow', { timeout: 170_000 }, () => {
	let world: World
	let app: Application
	let body: unknown
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, {
			configure: (koa) => {
				koa.middleware.unshift((ctx, next) => {
					if (body !== undefined) (ctx.request as { body?: unknown }).body = body
					return next()
				})
			},
		})
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	async function ask(path: string, headers: Record<string, string> = {}, text?: string): Promise<number> {
		const { hostname, port } = new URL(app.origin)
		const method = text === undefined ? 'GET' : 'POST'
		const answer = await new Promise<IncomingMessage>((resolve, reject) => {
			request({ host: hostname, port, path, method, headers, agent: false }, resolve)
				.once('error', reject)
				.end(text)
		})
		answer.resume()
		return answer.statusCode ?? 0
	}

	const bodies: Readonly<Record<string, string>> = {
		'100,000 fields': 'a=b&'.repeat(100_000),
		'14,000 fields': 'a=b&'.repeat(14_000),
		'50,000 separators': '&'.repeat(50_000),
		'10,000 nested brackets': `state${'[a]'.repeat(10_000)}=b`,
		'10,000 open brackets': `state${'['.repeat(10_000)}=b`,
		'one name of 1 MB': 'a'.repeat(1024 ** 2),
		'one name of 55 KiB': 'a'.repeat(55 * 1024),
		'one value of 1 MB': `state=${'a'.repeat(1024 ** 2)}`,
		'one value of 55 KiB': `state=${'a'.repeat(55 * 1024)}`,
		'percent signs': `state=${'%'.repeat(50_000)}`,
		'encoded bytes': `state=${'%ff'.repeat(18_000)}`,
		'plus signs': `state=${'+'.repeat(50_000)}`,
	}
	for (const [what, text] of Object.entries(bodies))
		it(`I3: of ${what} is refused for less than 50 ms`, async () => {
			let status = 0
			const milliseconds = await cost(async () => {
				status = await ask('/user/authorized', form, text).catch(() => 413)
			})
			assert.ok(status === 400 || status === 413, String(status))
			assert.ok(milliseconds < 50, `${milliseconds} ms`)
		})

	const nested = (levels: number) => {
		let value: unknown = 'x'
		for (let i = 0; i < levels; i++) value = { a: value }
		return value
	}
	const parsed: Readonly<Record<string, () => unknown>> = {
		'14,000 fields': () => Object.fromEntries(Array.from({ length: 14_000 }, (_, i) => [`f${i}`, 'x'])),
		'a field of 100,000 values': () => ({ state: Array.from({ length: 100_000 }, () => 'x') }),
		'10,000 levels': () => ({ state: nested(10_000) }),
		'a name of 1 MB': () => ({ ['a'.repeat(1024 ** 2)]: 'x' }),
		'a text of 1 MB': () => 'a=b&'.repeat(262_144),
		'14,000 fields without a prototype': () =>
			Object.assign(Object.create(null), { ...Array.from({ length: 14_000 }, () => 'x') }),
	}
	for (const [what, make] of Object.entries(parsed))
		it(`I3: of ${what}, which a body parser has made, is refused for less than 50 ms`, async () => {
			body = make()
			try {
				let status = 0
				const milliseconds = await cost(async () => {
					status = await ask('/user/authorized', form, 'x=y')
				})
				assert.ok(status === 400 || status === 413, String(status))
				assert.ok(milliseconds < 50, `${milliseconds} ms`)
			} finally {
				body = undefined
			}
		})

	it('I3: of a length beyond the limit is refused, whatever a body parser has made of it', async () => {
		body = { state: 'x' }
		try {
			assert.equal(await ask('/user/authorized', form, 'x'.repeat(60_000)), 413)
		} finally {
			body = undefined
		}
	})

	const places: Readonly<Record<string, (text: string) => Promise<number>>> = {
		'the path of a page': (text) => ask(`/${encodeURI(text)}`),
		'the path of a sign-in': (text) => ask(`/user/login/${encodeURI(text)}`),
		'the encoded path of a sign-in': (text) =>
			ask(`/user/login/%2F${encodeURIComponent(text).slice(0, 7000)}`),
		'the path of a sign-out': (text) => ask(`/user/logout/${encodeURI(text)}`),
		'a query': (text) => ask(`/user/login?prompt=${encodeURI(text)}`),
		'a state in a query': (text) => ask(`/user/authorized?state=${encodeURI(text)}`),
		'a state in a form': (text) => ask('/user/authorized', form, `state=${encodeURIComponent(text)}`),
		'an error in a form': (text) => ask('/user/authorized', form, `error=${text.replaceAll('&', '')}`),
	}
	for (const name of [
		'Accept',
		'Authorization',
		'Cookie',
		'Content-Type',
		'Forwarded',
		'If-None-Match',
		'Origin',
		'Range',
		'Referer',
		'Sec-Fetch-Site',
		'User-Agent',
		'X-Forwarded-For',
		'X-Forwarded-Host',
		'X-Forwarded-Proto',
	])
		for (const path of ['/user/login', '/private/page'])
			Object.assign(places, {
				[`${name} of ${path}`]: (text: string) => ask(path, { [name]: Buffer.from(text).toString('latin1') }),
			})

	for (const [where, send] of Object.entries(places))
		it(`I7: takes no more than 20 ms, wherever it stands: ${where}`, async () => {
			for (const text of hard)
				for (const ending of endings) {
					let status = 0
					const milliseconds = await cost(async () => {
						status = await send(text.slice(0, 2400) + ending)
					}, 1)
					assert.ok(status > 0 && status < 500, `${status} for ${text.slice(0, 10)}`)
					if (milliseconds < 20) continue
					const again = await cost(() => send(text + ending))
					assert.ok(again < 20, `${again} ms for ${text.slice(0, 10)}…${ending}`)
				}
		})

	const answers: Readonly<Record<string, string>> = {
		'beginnings of lists of codes': '"error_codes":['.repeat(65_000),
		'lists of codes in text': `{"error":"x","a":"${'\\"error_codes\\": [1'.repeat(40_000)}"}`,
		'spaces behind a name': `"error_codes"${' '.repeat(1_000_000)}`,
		'many codes': `{"error":"x","error_codes":[${'50197,'.repeat(160_000)}1]}`,
		'beginnings of a code': 'AADSTS5019'.repeat(100_000),
		markup: '<a href="'.repeat(110_000),
		levels: '['.repeat(1_000_000),
	}
	for (const [what, text] of Object.entries(answers))
		it(`I7: is read once, in an answer of the provider: ${what}`, async () => {
			const body = Buffer.from(text)
			const http = (async () => ({ status: 400, headers: {}, body })) as unknown as Http
			const call = new ProviderCall(http)
			const milliseconds = await cost(() =>
				call.sendPostRequestAsync('https://idp.example/token').catch(() => {}),
			)
			// In a worker thread. What goes back on its steps takes minutes.
			assert.ok(milliseconds < 400, `${milliseconds} ms`)
			assert.equal(call.throttled, undefined)
		})

	it('I7: that is nested too deeply is not parsed, whatever its status', async () => {
		const body = Buffer.from(`{"error":"x","error_codes":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)
		for (const status of [200, 400]) {
			const call = new ProviderCall((async () => ({ status, headers: {}, body })) as unknown as Http)
			const send = () => call.sendPostRequestAsync('https://idp.example/token')
			await assert.rejects(send(), { code: 'ERR_IDP_PROTOCOL' })
			const milliseconds = await cost(() => send().catch(() => {}), 8)
			assert.ok(milliseconds < 5, `${milliseconds} ms`)
		}
	})
})
