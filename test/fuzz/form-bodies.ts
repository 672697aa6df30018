import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Target } from './fuzz.js'
import { applyChange, type Change, changes, oddNames, oddValues, temptingText } from './odd.js'
import { createPerson } from './person.js'

interface Input {
	/** A body parser of the application’s has read it. */
	readonly parsed: boolean
	readonly fields: readonly (readonly [string, unknown])[]
	/** How often all fields come. */
	readonly times: number
	/** What comes after them, again and again. */
	readonly padding: { readonly text: string; readonly times: number }
	readonly change: Change | undefined
	readonly type: string
	readonly framing: 'length' | 'chunks' | 'nothing'
	/** What becomes of the cookie of the sign-in that is under way. */
	readonly transaction: 'none' | 'kept' | Change
	readonly accept: string
	/** The provider knows the code, and says who has signed in. */
	readonly redeems: boolean
}

/** In place of a value: the state of the sign-in under way. */
const ownState = 'the state of this sign-in'

const values = fc.oneof(
	fc.constantFrom<unknown>(
		ownState,
		'code',
		'access_denied',
		'server_error',
		'https://evil.example',
		'<script>alert(1)</script>',
	),
	temptingText,
	oddValues,
)
const names = fc.oneof(
	{
		weight: 6,
		arbitrary: fc.constantFrom(
			'state',
			'code',
			'iss',
			'error',
			'error_description',
			'session_state',
			'id_token',
		),
	},
	{ weight: 1, arbitrary: oddNames.map((name) => `${name}[__proto__][a]`) },
	{ weight: 1, arbitrary: oddNames },
)

const form = 'application/x-www-form-urlencoded'

const good: Input = {
	parsed: false,
	fields: [
		['state', ownState],
		['code', 'code'],
	],
	times: 1,
	padding: { text: '', times: 0 },
	change: undefined,
	type: form,
	framing: 'length',
	transaction: 'kept',
	accept: 'text/html',
	redeems: true,
}

/** What is posted to the redirect URI: refused as the client's fault, or the provider's no, unless all of it is right. */
export const formBodies: Target<Input> = async (world) => {
	const [app, provider] = [await world.application(), await world.provider()]
	const person = await createPerson(provider, 41)
	const inputs = fc.record({
		parsed: fc.boolean(),
		fields: fc.oneof(
			{ weight: 4, arbitrary: fc.array(fc.tuple(names, values), { maxLength: 8 }) },
			{
				weight: 3,
				arbitrary: fc
					.array(fc.tuple(fc.constantFrom('code', 'iss', 'error', 'session_state'), values), {
						maxLength: 3,
					})
					.map((more) => [['state', ownState] as const, ...more]),
			},
		),
		times: fc.oneof(
			{ weight: 8, arbitrary: fc.constant(1) },
			{ weight: 1, arbitrary: fc.constantFrom(2, 16, 33) },
		),
		padding: fc.record({
			text: fc.constantFrom('x', '&', '&a=1', '&a[b]', '%41', '[', '+', '%', '=', 'é'),
			times: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.nat(60_000)),
		}),
		change: fc.option(changes, { nil: undefined, freq: 3 }),
		type: fc.oneof(
			{
				weight: 8,
				arbitrary: fc.constantFrom(
					form,
					`${form};charset=utf-8`,
					form.toUpperCase(),
					`${form}; charset=utf-16`,
				),
			},
			{
				weight: 1,
				arbitrary: fc.constantFrom(
					'',
					'application/json',
					'multipart/form-data; boundary=x',
					'text/plain',
					`${form}x`,
					';;',
					'/',
				),
			},
		),
		framing: fc.oneof(
			{ weight: 5, arbitrary: fc.constant('length' as const) },
			fc.constantFrom('chunks' as const, 'nothing' as const),
		),
		transaction: fc.oneof(fc.constant('none' as const), fc.constant('kept' as const), changes),
		accept: fc.constantFrom('text/html', 'application/json', '*/*'),
		redeems: fc.boolean(),
	})
	/** An answer of the provider that is as it should be, as it is or with one thing about it that is not. */
	const answers = fc
		.tuple(
			inputs,
			fc.constantFrom('times', 'padding', 'fields', 'type', 'framing', 'transaction', 'parsed', 'accept'),
			fc.nat(200),
		)
		.map(
			([odd, name, more]): Input => ({
				...good,
				[name]: name === 'padding' ? { text: '&a=1', times: more } : odd[name],
			}),
		)
	return {
		inputs: fc.oneof({ weight: 4, arbitrary: inputs }, { weight: 1, arbitrary: answers }),
		reaches: [
			'303 signed in',
			'400 ERR_BAD_REQUEST',
			'400 ERR_LOGIN_REJECTED',
			'403 ERR_IDP_DENIED',
			'413 ERR_BAD_REQUEST',
			'415 ERR_BAD_REQUEST',
		],
		async attempt({ parsed, fields, times, padding, change, type, framing, transaction, accept, redeems }) {
			const begun = transaction === 'none' ? undefined : await app.begin()
			provider.answer(
				begun && redeems
					? { status: 200, body: await person.answerTo(begun.nonce) }
					: { status: 400, body: '{"error":"invalid_grant"}' },
			)
			const cookie =
				begun && typeof transaction === 'object'
					? begun.cookie.replace(
							/=(.*)/s,
							(_, value: string) => `=${applyChange(value, transaction).replace(/[^\x21-\x7e]/g, '')}`,
						)
					: begun?.cookie
			const kept = begun !== undefined && cookie === begun.cookie
			const all = Array.from({ length: times }, () => fields)
				.flat()
				.map(([name, value]): readonly [string, unknown] => [
					name,
					value === ownState ? (begun?.state ?? 'x') : value,
				])
			const textOf = (value: unknown) =>
				encodeURIComponent(
					String(typeof value === 'object' ? JSON.stringify(value) : value).replace(/\p{Surrogate}/gu, ''),
				)
			const plain =
				all.map(([name, value]) => `${textOf(name)}=${textOf(value)}`).join('&') +
				padding.text.repeat(padding.times)
			const body = Buffer.from(change ? applyChange(plain, change) : plain)
			app.parsed = parsed
				? { value: times === 1 ? Object.fromEntries(all) : change ? all : plain }
				: undefined
			provider.asked.length = 0
			app.errors.length = 0
			const head = [
				'POST /user/authorized HTTP/1.1',
				`host: ${app.host}`,
				`accept: ${accept}`,
				...(type === '' ? [] : [`content-type: ${type}`]),
				...(cookie === undefined ? [] : [`cookie: ${cookie}`]),
				...(framing === 'length'
					? [`content-length: ${body.length}`]
					: framing === 'chunks'
						? ['transfer-encoding: chunked']
						: []),
			].join('\r\n')
			const bytes =
				framing === 'length'
					? body
					: framing === 'chunks' && body.length > 0
						? Buffer.concat([
								Buffer.from(`${body.length.toString(16)}\r\n`),
								body,
								Buffer.from('\r\n0\r\n\r\n'),
							])
						: Buffer.from(framing === 'chunks' ? '0\r\n\r\n' : '')
			const answer = await app.send(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), bytes]))
			app.parsed = undefined
			// Who is still sending when a body is refused for its size may not see the answer.
			if (!answer && body.length > 56 * 1024) return 'cut off'
			assert.ok(answer, 'the connection was cut')
			const { status, headers } = answer
			const code = /ERR_[A-Z_]+/.exec(answer.body)?.[0]
			if (status === 303) {
				assert.ok(kept && redeems, 'a sign-in of another browser, or of nobody')
				const posted =
					parsed && times === 1
						? Object.keys(Object.fromEntries(all))
						: [...new URLSearchParams(`${body}`).keys()]
				assert.ok(posted.length <= 32, `${posted.length} fields`)
				for (const name of ['state', 'code', 'iss', 'error'])
					assert.ok(posted.filter((one) => one === name).length <= 1, `${name} came twice`)
				return '303 signed in'
			}
			// The provider's own word of trouble of its own is no fault of the client's.
			const itsTrouble = kept && code === 'ERR_IDP_UNAVAILABLE' && status === 503
			assert.ok(itsTrouble || (status >= 400 && status < 500), `${status} ${code} ${app.errors.join()}`)
			assert.deepEqual(headers.get('x-content-type-options'), ['nosniff'])
			assert.doesNotMatch(answer.body, /<script|<img|javascript:/i)
			if (!kept) assert.equal(provider.asked.length, 0, 'a code was redeemed without its sign-in')
			for (const line of headers.get('set-cookie') ?? []) assert.match(line, /^[^=]+=; /, 'a cookie was set')
			return `${status} ${code}`
		},
	}
}
