import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BrokerError, type BrokerErrorCode } from '../src/errors.js'
import type { Http, HttpAnswer } from '../src/network.js'
import { ProviderCall, readTokenAnswer } from '../workers/provider-call.js'

const good = {
	token_type: 'Bearer',
	scope: 'User.Read openid',
	expires_in: 3600,
	ext_expires_in: 3600,
	access_token: 'canary-access-token',
	refresh_token: 'canary-refresh-token',
	id_token: 'a.b.c',
	client_info: 'eyJ1aWQiOiJhIn0',
}
const without = (...names: (keyof typeof good)[]) =>
	Object.fromEntries(Object.entries(good).filter(([name]) => !(names as string[]).includes(name)))

/** `passes`: MSAL sees it. Else the code; with seconds, when to come back. */
type Expected = 'passes' | BrokerErrorCode | readonly ['ERR_IDP_UNAVAILABLE', number]
type Row = readonly [
	what: string,
	status: number,
	body: unknown,
	expected: Expected,
	headers?: Record<string, string>,
]

const unavailable = 'ERR_IDP_UNAVAILABLE'
const protocol = 'ERR_IDP_PROTOCOL'
const tooOften = {
	error: 'invalid_grant',
	error_codes: [50196],
	error_description:
		'AADSTS50196: The server terminated an operation because it encountered a client request loop',
}
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toUTCString()

const rows: readonly Row[] = [
	// Good answers (RFC 6749, 5.1).
	['a whole answer', 200, good, 'passes'],
	['no refresh token', 200, without('refresh_token'), 'passes'],
	['no id_token', 200, without('id_token'), 'passes'],
	['no client_info', 200, without('client_info'), 'passes'],
	['no scope', 200, without('scope'), 'passes'],
	['the least there is', 200, { access_token: 'a', token_type: 'bearer', expires_in: 1 }, 'passes'],
	['BEARER', 200, { ...good, token_type: 'BEARER' }, 'passes'],
	['expires_in as text', 200, { ...good, expires_in: '3599' }, 'passes'],
	['refresh_in', 200, { ...good, refresh_in: 1800 }, 'passes'],
	['refresh_in as text', 200, { ...good, refresh_in: '1800' }, 'passes'],
	['28 hours', 200, { ...good, expires_in: 28 * 3600 }, 'passes'],
	['7 days', 200, { ...good, expires_in: 7 * 86_400 }, 'passes'],
	['fields nobody knows', 200, { ...good, foci: '1', spa_code: 'x', later: { a: [1] } }, 'passes'],
	['a byte more of white space', 200, ` ${JSON.stringify(good)}\n`, 'passes'],
	['an empty scope', 200, { ...good, scope: '' }, 'passes'],
	['another content type', 200, good, 'passes', { 'content-type': 'text/plain' }],
	['a Retry-After that means nothing here', 200, good, 'passes', { 'retry-after': '100' }],

	// 200 with something else.
	['nothing', 200, '', protocol],
	['white space', 200, ' \r\n', protocol],
	['HTML', 200, '<!doctype html><title>Welcome</title>', protocol],
	['a captive portal', 200, '<html><body><a href="/login">Wi-Fi', protocol],
	['half a body', 200, JSON.stringify(good).slice(0, 60), protocol],
	['two bodies', 200, JSON.stringify(good) + JSON.stringify(good), protocol],
	['a form', 200, 'access_token=a&token_type=bearer&expires_in=3600', protocol],
	['bytes that are no UTF-8', 200, Buffer.from([0xff, 0xfe, 0x00, 0x80]), protocol],
	['a byte order mark', 200, `\uFEFF${JSON.stringify(good)}`, protocol],
	['null', 200, 'null', protocol],
	['true', 200, 'true', protocol],
	['a number', 200, '42', protocol],
	['a text', 200, '"token"', protocol],
	['a list', 200, '[]', protocol],
	['a list of answers', 200, [good], protocol],
	['an empty object', 200, {}, protocol],
	['32 levels', 200, { ...good, later: JSON.parse('['.repeat(31) + ']'.repeat(31)) }, 'passes'],
	['33 levels', 200, { ...good, later: JSON.parse('['.repeat(32) + ']'.repeat(32)) }, protocol],
	['brackets in a text', 200, { ...good, scope: `"${'['.repeat(99)}\\"{` }, 'passes'],
	['a megabyte of brackets', 200, '{"a":'.repeat(170_000), protocol],
	['lists after lists', 200, { ...good, later: Array.from({ length: 99 }, () => []) }, 'passes'],
	['an error with status 200', 200, { error: 'invalid_grant' }, protocol],
	['no access token', 200, without('access_token'), protocol],
	['an empty access token', 200, { ...good, access_token: '' }, protocol],
	['null for a token', 200, { ...good, access_token: null }, protocol],
	['a number for a token', 200, { ...good, access_token: 7 }, protocol],
	['an object for a token', 200, { ...good, access_token: { toString: 1 } }, protocol],
	['a list for a token', 200, { ...good, access_token: ['t'] }, protocol],
	['no token type', 200, without('token_type'), protocol],
	['a proof-of-possession token', 200, { ...good, token_type: 'pop' }, protocol],
	['a MAC token', 200, { ...good, token_type: 'mac' }, protocol],
	['null for a type', 200, { ...good, token_type: null }, protocol],
	['a list for a type', 200, { ...good, token_type: ['Bearer'] }, protocol],
	['an object for a type', 200, { ...good, token_type: { toString: 1, valueOf: 1 } }, protocol],
	['no expires_in', 200, without('expires_in'), protocol],
	['expires_in banana', 200, { ...good, expires_in: 'banana' }, protocol],
	['expires_in empty', 200, { ...good, expires_in: '' }, protocol],
	['expires_in null', 200, { ...good, expires_in: null }, protocol],
	['expires_in 0', 200, { ...good, expires_in: 0 }, protocol],
	['expires_in negative', 200, { ...good, expires_in: -3600 }, protocol],
	['expires_in with a fraction', 200, { ...good, expires_in: 3599.5 }, protocol],
	['expires_in huge', 200, { ...good, expires_in: 1e18 }, protocol],
	['expires_in infinite', 200, JSON.stringify(good).replace('3600', '1e999'), protocol],
	['expires_in in milliseconds', 200, { ...good, expires_in: 3_600_000 }, protocol],
	['expires_in a second beyond 7 days', 200, { ...good, expires_in: 7 * 86_400 + 1 }, protocol],
	['expires_in true', 200, { ...good, expires_in: true }, protocol],
	['expires_in a list', 200, { ...good, expires_in: [3600] }, protocol],
	['expires_in an object', 200, { ...good, expires_in: { toString: 1, valueOf: 1 } }, protocol],
	['a list for a refresh token', 200, { ...good, refresh_token: ['r'] }, protocol],
	['null for a refresh token', 200, { ...good, refresh_token: null }, protocol],
	['an object for an id_token', 200, { ...good, id_token: { sub: 'x' } }, protocol],
	['a list of scopes', 200, { ...good, scope: ['User.Read'] }, protocol],
	['a number for client_info', 200, { ...good, client_info: 1 }, protocol],

	// Errors (RFC 6749, 5.2): MSAL reads them.
	['invalid_grant', 400, { error: 'invalid_grant' }, 'passes'],
	[
		'invalid_grant with codes',
		400,
		{ error: 'invalid_grant', error_codes: [50173], suberror: 'bad_token' },
		'passes',
	],
	['interaction_required', 400, { error: 'interaction_required', claims: '{}' }, 'passes'],
	['invalid_client', 401, { error: 'invalid_client' }, 'passes'],
	['unauthorized_client', 400, { error: 'unauthorized_client' }, 'passes'],
	['a refusal with 403', 403, { error: 'access_denied' }, 'passes'],
	['codes as texts', 400, { error: 'invalid_grant', error_codes: ['65001'] }, 'passes'],
	['400 and no error', 400, {}, protocol],
	['400 and null', 400, 'null', protocol],
	['400 and HTML', 400, '<h1>Bad request</h1>', protocol],
	['400 and an error that is no text', 400, { error: { code: 'invalid_grant' } }, protocol],
	['400 and nothing', 400, '', protocol],
	['401 and HTML', 401, '<h1>Proxy authentication</h1>', protocol],
	['403 and a firewall', 403, 'Request blocked', protocol],
	['404', 404, 'Not found', protocol],
	['404 with a good token', 404, good, protocol],
	['407', 407, '', protocol],
	['204', 204, '', protocol],
	['201 with a good token', 201, good, protocol],
	['206 with a good token', 206, good, protocol],
	['301', 301, '', protocol, { location: 'https://evil.example/' }],
	['302 with a good token', 302, good, protocol, { location: 'https://evil.example/' }],
	['307', 307, '', protocol, { location: 'https://evil.example/' }],
	['100', 100, '', protocol],

	// Throttling and outages.
	['500', 500, '', unavailable],
	['500 with a good token', 500, good, unavailable],
	['500 with invalid_grant', 500, { error: 'invalid_grant' }, unavailable],
	['501', 501, '', unavailable],
	['502 and HTML', 502, '<h1>Bad gateway</h1>', unavailable],
	['503', 503, '', unavailable],
	['503, temporarily_unavailable', 503, { error: 'temporarily_unavailable' }, unavailable],
	['504', 504, 'null', unavailable],
	['599', 599, '', unavailable],
	['429', 429, '', unavailable],
	['429 with a good token', 429, good, unavailable],
	['429 with invalid_grant', 429, { error: 'invalid_grant' }, unavailable],
	['503 and seconds', 503, '', [unavailable, 17], { 'retry-after': '17' }],
	['429 and seconds', 429, '', [unavailable, 120], { 'retry-after': '120' }],
	['429 and 0', 429, '', [unavailable, 1], { 'retry-after': '0' }],
	['429 and a day', 429, '', [unavailable, 3600], { 'retry-after': '86400' }],
	['429 and more digits than a number has', 429, '', unavailable, { 'retry-after': '9'.repeat(400) }],
	[
		'429 and a date',
		429,
		'',
		[unavailable, 90],
		// Counted from when it is answered.
		{
			get 'retry-after'() {
				return inSeconds(90)
			},
		},
	],
	['429 and a date that is over', 429, '', [unavailable, 1], { 'retry-after': inSeconds(-1000) }],
	['429 and a date of next year', 429, '', [unavailable, 3600], { 'retry-after': inSeconds(3e7) }],
	['429 and soon', 429, '', unavailable, { 'retry-after': 'soon' }],
	['429 and nothing', 429, '', unavailable, { 'retry-after': '' }],
	['429 and two values', 429, '', unavailable, { 'retry-after': '17, 30' }],
	['500 and seconds', 500, '', [unavailable, 9], { 'retry-after': '9' }],
	['AADSTS50196', 400, tooOften, [unavailable, 60]],
	['AADSTS50196 among others', 400, { ...tooOften, error_codes: [1, 50196] }, [unavailable, 60]],
	['AADSTS50196 as 401', 401, tooOften, [unavailable, 60]],
	[
		'AADSTS50196 in the text alone',
		400,
		{ error: 'invalid_grant', error_description: tooOften.error_description },
		[unavailable, 60],
	],
	[
		'AADSTS50196 in the codes alone',
		400,
		{ error: 'invalid_grant', error_codes: [50196] },
		[unavailable, 60],
	],
]

const answer = ([, status, body, , headers = {}]: Row): HttpAnswer => ({
	status,
	headers,
	body: Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
})

function check(error: unknown, [what, , , expected]: Row): void {
	assert.ok(error instanceof BrokerError, `${what}: ${error}`)
	const [code, seconds] = typeof expected === 'string' ? [expected] : expected
	assert.equal(error.code, code)
	if (seconds !== undefined) assert.ok(Math.abs((error.retryAfter ?? 0) - seconds) < 3, `${error.retryAfter}`)
	else assert.equal(error.retryAfter, code === unavailable ? 5 : undefined, 'none but the default')
	// The message may be shown and logged.
	assert.doesNotMatch(`${error.message} ${error.cause}`, /canary|html|Wi-Fi|Request blocked|<h1>/)
}

describe('the provider’s answer to a token request', () => {
	it('is tried in more than 80 forms', () => assert.ok(rows.length > 80, `${rows.length}`))

	for (const row of rows)
		it(`${row[0]} → ${row[3]}`, () => {
			if (row[3] === 'passes') {
				const { body } = answer(row)
				assert.deepEqual(readTokenAnswer(answer(row)), JSON.parse(body.toString()))
			} else
				assert.throws(
					() => readTokenAnswer(answer(row)),
					(error) => {
						check(error, row)
						return true
					},
				)
		})
})

describe('what an answer need not say', () => {
	const uncallable = { toString: 1, valueOf: 1 }
	for (const name of ['foci', 'key_id', 'suberror', 'claims', 'error_description', 'trace_id', 'timestamp'])
		for (const value of [7, null, ['1'], uncallable])
			it(`is left out where it is no text: ${name} ${JSON.stringify(value)}`, () => {
				const body = Buffer.from(JSON.stringify({ ...good, [name]: value }))
				assert.deepEqual(readTokenAnswer({ status: 200, headers: {}, body }), good)
			})

	for (const error_codes of [50196, '50196', {}, [uncallable], [null], [[50173]], { length: 1 }])
		it(`is left out where it is no list of numbers: error_codes ${JSON.stringify(error_codes)}`, () => {
			const body = Buffer.from(JSON.stringify({ error: 'invalid_grant', error_codes }))
			assert.deepEqual(readTokenAnswer({ status: 400, headers: {}, body }), { error: 'invalid_grant' })
		})

	for (const refresh_token_expires_in of ['soon', -1, 1e300, uncallable])
		it(`is left out where it is no time: ${JSON.stringify(refresh_token_expires_in)}`, () => {
			const body = Buffer.from(JSON.stringify({ ...good, refresh_token_expires_in }))
			assert.deepEqual(readTokenAnswer({ status: 200, headers: {}, body }), good)
		})
})

describe('a suggested time to refresh that makes no sense', () => {
	for (const refresh_in of ['banana', 0, -1, null, 1e18, { toString: 1, valueOf: 1 }])
		it(`is no reason to throw the tokens away: ${JSON.stringify(refresh_in)}`, () => {
			const body = Buffer.from(JSON.stringify({ ...good, refresh_in }))
			assert.deepEqual(readTokenAnswer({ status: 200, headers: {}, body }), good)
		})
})

describe('one call to the provider', () => {
	const over = (answered: HttpAnswer | Error): Http =>
		Object.assign(
			async () => {
				if (answered instanceof Error) throw answered
				return answered
			},
			{ close: async () => {} },
		)
	const url = 'https://login.example/token'

	for (const row of rows)
		it(`remembers why it failed, which MSAL forgets: ${row[0]}`, async () => {
			const call = new ProviderCall(over(answer(row)))
			if (row[3] === 'passes') {
				const { status, body } = await call.sendPostRequestAsync(url)
				assert.deepEqual([status, body], [row[1], JSON.parse(answer(row).body.toString())])
				assert.equal(call.failure, undefined)
			} else {
				await assert.rejects(call.sendPostRequestAsync(url), (error) => error === call.failure)
				check(call.failure, row)
			}
		})

	for (const [what, status, body, headers, expected] of [
		['429 with Retry-After', 429, '', { 'retry-after': '17' }, { whose: 'tenant', seconds: 17 }],
		['503 with Retry-After', 503, '', { 'retry-after': '17' }, { whose: 'tenant', seconds: 17 }],
		['429 for days', 429, '', { 'retry-after': '999999' }, { whose: 'tenant', seconds: 3600 }],
		['AADSTS50196', 400, JSON.stringify(tooOften), {}, { whose: 'session', seconds: 60 }],
		['429 without', 429, '', {}, { whose: 'tenant', seconds: 5 }],
		['503 without', 503, '', {}, undefined],
		['500 with Retry-After', 500, '', { 'retry-after': '17' }, undefined],
		['a good answer', 200, JSON.stringify(good), { 'retry-after': '17' }, undefined],
		['invalid_grant', 400, '{"error":"invalid_grant"}', {}, undefined],
		['AADSTS50196 in a good token', 200, JSON.stringify({ ...good, scope: 'AADSTS50196' }), {}, undefined],
	] as const)
		it(`knows whom ${what} throttles, and for how long`, async () => {
			const call = new ProviderCall(over({ status, headers, body: Buffer.from(body) }))
			await call.sendPostRequestAsync(url).catch(() => {})
			assert.deepEqual(call.throttled, expected)
		})

	it('passes an outage on as it is', async () => {
		const outage = new BrokerError('ERR_IDP_UNAVAILABLE', 'No answer.')
		const call = new ProviderCall(over(outage))
		await assert.rejects(call.sendPostRequestAsync(url), (error) => error === outage)
		assert.equal(call.failure, outage)
	})

	it('asks for nothing: whatever MSAL would still fetch is given to it', async () => {
		let asked = 0
		const call = new ProviderCall(
			Object.assign(
				async () => {
					asked++
					return { status: 200, headers: {}, body: Buffer.from('{}') }
				},
				{ close: async () => {} },
			),
		)
		await assert.rejects(call.sendGetRequestAsync(), (error) => error === call.failure)
		assert.deepEqual([call.failure?.code, asked], ['ERR_IDP_PROTOCOL', 0])
	})
})
