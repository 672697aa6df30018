import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Response } from 'undici'
import type { AcquiredToken } from '../../src/acquired-token.js'
import { createDownstream } from '../../src/downstream.js'
import { BrokerError } from '../../src/errors.js'
import type { StreamedRequest, StreamingHttp } from '../../src/network.js'
import { resolveSettings } from '../../src/settings.js'
import type { Target } from './fuzz.js'
import { oddValues, temptingText } from './odd.js'

interface Answer {
	readonly status: number
	readonly location: string | undefined
	readonly retryAfter: string | undefined
	readonly challenge: string | undefined
}

interface Input {
	readonly address: unknown
	readonly scopes: 'of the API' | 'of Graph' | 'default'
	readonly method: 'GET' | 'HEAD' | 'POST'
	readonly headers: readonly (readonly [string, string])[]
	readonly answers: readonly Answer[]
}

const graph = 'graph.microsoft.com'
const allowed = ['api.example', 'api.example:8443', 'xn--bcher-kva.example']

const hosts = fc.constantFrom(
	...allowed,
	graph,
	'evil.example',
	'localhost',
	'127.0.0.1',
	'bücher.example',
	'API.EXAMPLE',
	'api.example.evil.example',
	'evil-api.example',
	'evil.example#api.example',
	'api.example\\.evil.example',
	'api.example@evil.example',
	'api%2eexample',
	'api.example.',
	'api。example',
)
const addresses = fc.oneof(
	{
		weight: 4,
		arbitrary: fc
			.tuple(
				fc.constantFrom(...allowed, graph),
				fc.oneof(fc.constantFrom('/', '/v1.0/me', '?a=1'), temptingText),
			)
			.map(([host, rest]) => `https://${host}/${rest}`),
	},
	{
		weight: 6,
		arbitrary: fc
			.tuple(
				fc.constantFrom(
					'https://',
					'https:',
					'https:\\\\',
					'HTTPS://',
					'http://',
					'//',
					'ftp://',
					'blob:https://',
					'https:///',
					' https://',
					'https://\t',
				),
				fc.constantFrom('', '', '', 'user@', 'user:password@', ':@', 'api.example@', 'api.example:443@', '@'),
				hosts,
				fc.constantFrom(
					'',
					'',
					':443',
					':8443',
					':80',
					':',
					':0',
					':99999',
					':8443@evil.example',
					'.',
					'..',
					'\t',
					'%00',
				),
				fc.oneof(
					fc.constantFrom('', '/', '/v1.0/me', '?a', '#a', '\\@evil.example', '/../..//evil.example'),
					temptingText,
				),
			)
			.map((parts) => parts.join('')),
	},
	{ weight: 1, arbitrary: fc.webUrl() },
	{ weight: 1, arbitrary: temptingText },
	{ weight: 1, arbitrary: temptingText.map((text) => `https://${text}`) },
)

/** An address or odd text, where a Location header takes it. */
const latin = (text: string) => text.replace(/[^\x20-\x7e\x80-\xff]/g, '')
const retryAfters = fc.oneof(
	fc.constantFrom(
		'0',
		'1',
		'-1',
		'1e3',
		'99999999999999999999',
		'soon',
		'',
		'Thu, 01 Jan 1970 00:00:00 GMT',
		'Fri, 31 Dec 9999 23:59:59 GMT',
		'1, 2',
		'0x10',
	),
	fc.string({ maxLength: 10 }).map(latin),
)
const answers: fc.Arbitrary<Answer> = fc.record({
	status: fc.oneof(
		{ weight: 2, arbitrary: fc.constantFrom(200, 204, 401, 429, 503) },
		{ weight: 4, arbitrary: fc.constantFrom(301, 302, 303, 307, 308) },
		fc.integer({ min: 200, max: 599 }),
	),
	location: fc.option(
		fc.oneof(
			addresses,
			temptingText,
			fc.constantFrom(
				'/next',
				'https://api.example/next',
				'//evil.example/',
				'https://api.example@evil.example/',
			),
		),
		{ nil: undefined, freq: 8 },
	),
	retryAfter: fc.option(retryAfters, { nil: undefined, freq: 1 }),
	challenge: fc.option(
		fc.oneof(
			fc.constantFrom(
				'Bearer error="insufficient_claims", claims="eyJhIjoxfQ=="',
				'Bearer claims="x"',
				'Basic realm="x"',
			),
			fc
				.string({ maxLength: 40 })
				.map((text) => latin(`Bearer error="insufficient_claims", claims="${text}"`)),
		),
		{ nil: undefined, freq: 1 },
	),
})

/**
 * Where calls with a person's token go, at the network's edge: nothing is called but what is allowed, over https, and a
 * token of Graph's goes to Graph alone. The answers lead elsewhere as well.
 */
export const downstreamUrls: Target<Input> = () => {
	const settings = resolveSettings({
		auth: {
			clientId: '22222222-3333-4444-8555-666666666666',
			authority: 'https://login.example/tenant',
			redirectUri: 'http://localhost/user/authorized',
			clientSecret: 'no-secret',
		},
		secrets: ['the secret of a client under fuzz, 0123456789'],
		// Less than the shortest wait that an API can ask for: nothing here sleeps.
		downstream: { allowedHosts: allowed, timeout: 500 },
	})
	let waiting: Answer[] = []
	let calls: { readonly url: URL; readonly authorization: string }[] = []
	const stream = async (url: URL, { headers }: StreamedRequest): Promise<Response> => {
		calls.push({
			url,
			authorization: headers
				.filter(([name]) => name.toLowerCase() === 'authorization')
				.map(([, value]) => value)
				.join(' and '),
		})
		const { status, location, retryAfter, challenge } = waiting.shift() ?? { status: 200 }
		const fields = new Headers()
		if (location !== undefined) fields.set('location', latin(location))
		if (retryAfter !== undefined) fields.set('retry-after', retryAfter)
		if (challenge !== undefined) fields.set('www-authenticate', challenge)
		const empty = [204, 205, 304].includes(status)
		return new Response(empty ? null : 'answer', { status, headers: [...fields] })
	}
	const http = { stream, reading: () => () => {} } as unknown as StreamingHttp
	const call = createDownstream(settings, http)
	const scopesOf = { 'of the API': ['api://things/read'], 'of Graph': ['User.Read'], default: undefined }
	return {
		inputs: fc.record({
			address: fc.oneof({ weight: 9, arbitrary: addresses }, { weight: 1, arbitrary: oddValues }),
			scopes: fc.constantFrom('of the API', 'of Graph', 'default'),
			method: fc.constantFrom('GET', 'HEAD', 'POST'),
			headers: fc.array(
				fc.tuple(
					fc.constantFrom('authorization', 'Authorization ', 'host', 'x-a', 'Cookie', 'x\r\nauthorization'),
					fc.string({ maxLength: 20 }),
				),
				{ maxLength: 2 },
			),
			answers: fc.array(answers, { maxLength: 7 }),
		}),
		reaches: ['called', 'led on', 'ERR_FORBIDDEN_TARGET'],
		async attempt({ address, scopes, method, headers, answers }) {
			waiting = [...answers]
			calls = []
			let acquired = 0
			const asked = scopesOf[scopes]
			const acquire = async ({ scopes: wanted = [] }: { readonly scopes?: readonly string[] }) => {
				acquired++
				return { accessToken: wanted.includes('User.Read') ? 'graph' : 'api' } as AcquiredToken
			}
			const ended = await call(acquire as never, address as string, {
				...(asked && { scopes: asked }),
				method,
				headers,
			}).then(
				async (answer) => {
					await answer.text()
					return 'called'
				},
				(error: unknown) => {
					assert.ok(error instanceof BrokerError, `${(error as Error)?.stack}`)
					return error.code as string
				},
			)
			assert.equal(acquired, calls.length, 'a token was acquired for a call that was not made')
			for (const { url, authorization } of calls) {
				assert.equal(url.protocol, 'https:')
				assert.equal(url.username + url.password, '')
				assert.ok([...allowed, graph].includes(url.host), url.href)
				assert.equal(authorization, `Bearer ${url.host === graph ? 'graph' : 'api'}`)
				assert.equal(url.origin, calls[0]?.url.origin, 'a token went along to another origin')
			}
			if (ended === 'ERR_FORBIDDEN_TARGET') assert.equal(calls.length, 0)
			assert.ok(calls.length <= 10, 'it goes on and on')
			const paths = new Set(calls.map(({ url }) => url.href))
			return ended === 'called' && paths.size > 1 ? 'led on' : ended
		},
	}
}
