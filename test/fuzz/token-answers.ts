import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { statusByCode } from '../../src/errors.js'
import { monotonic } from '../../src/monotonic.js'
import type { CannedAnswer } from './canned-provider.js'
import type { Target } from './fuzz.js'
import { applyChange, type Change, changes, type Deep, deep, deepJson, oddNames, oddValues } from './odd.js'
import { createPerson, type IdTokenKind, idTokenKinds } from './person.js'

type Wrapping =
	| { readonly kind: 'plain' | 'byte order mark' | 'HTML' | 'twice' | 'in a list' | 'a name twice' }
	| { readonly kind: 'changed'; readonly change: Change }
	| { readonly kind: 'bytes'; readonly bytes: Uint8Array }
	| { readonly kind: 'deep'; readonly json: Deep; readonly name: string }
	| { readonly kind: 'long'; readonly length: number; readonly name: string }

interface Input {
	readonly task: 'redeem' | 'refresh'
	readonly status: number
	readonly headers: Readonly<Record<string, string>>
	readonly idToken: IdTokenKind
	/** In place of tokens, with a status that is none of success. */
	readonly refusal: { readonly error: unknown; readonly codes: unknown; readonly claims: unknown }
	/** Fields in place of good ones; `undefined`: left out. */
	readonly fields: readonly (readonly [name: string, value: unknown])[]
	readonly wrapping: Wrapping
}

const fieldNames = fc.oneof(
	{
		weight: 4,
		arbitrary: fc.constantFrom(
			...['access_token', 'token_type', 'expires_in', 'refresh_in', 'refresh_token', 'id_token', 'scope'],
			...['client_info', 'error', 'error_codes', 'error_description', 'suberror', 'claims', 'ext_expires_in'],
			...['foci', 'correlation_id', 'trace_id', 'timestamp', 'key_id', 'spa_code', 'not_before', 'status'],
		),
	},
	{ weight: 1, arbitrary: oddNames },
)
const fieldValues = fc.oneof(
	{ weight: 3, arbitrary: oddValues },
	{
		weight: 2,
		arbitrary: fc.constantFrom<unknown>(
			...[
				'invalid_grant',
				'interaction_required',
				'invalid_client',
				'unauthorized_client',
				'temporarily_unavailable',
			],
			...[
				'Bearer',
				'pop',
				3600,
				'3600',
				-3600,
				604_801,
				[50173],
				[50196],
				['x'],
				'a.b.c',
				'e30.e30.',
				'eyJ1aWQiOiJ4In0',
			],
			...[
				'{"access_token":{"essential":true}}',
				'User.Read',
				'openid profile offline_access',
				'message_only',
				'1',
			],
		),
	},
)
const wrappings: fc.Arbitrary<Wrapping> = fc.oneof(
	{ weight: 60, arbitrary: fc.constant({ kind: 'plain' as const }) },
	{
		weight: 10,
		arbitrary: fc.record({
			kind: fc.constantFrom(
				'byte order mark' as const,
				'HTML' as const,
				'twice' as const,
				'in a list' as const,
				'a name twice' as const,
			),
		}),
	},
	{ weight: 20, arbitrary: fc.record({ kind: fc.constant('changed' as const), change: changes }) },
	{
		weight: 3,
		arbitrary: fc.record({ kind: fc.constant('bytes' as const), bytes: fc.uint8Array({ maxLength: 200 }) }),
	},
	{
		weight: 2,
		arbitrary: fc.record({ kind: fc.constant('deep' as const), json: deep, name: fieldNames }),
	},
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant('long' as const),
			length: fc.constantFrom(10_000, 100_000, 1_048_577),
			name: fieldNames,
		}),
	},
)

/** What may come of an answer that is no good. */
const refusals = {
	redeem: ['ERR_LOGIN_REJECTED', 'ERR_IDP_PROTOCOL', 'ERR_IDP_UNAVAILABLE', 'ERR_CLIENT_REJECTED'],
	refresh: ['ERR_INTERACTION_REQUIRED', 'ERR_IDP_PROTOCOL', 'ERR_IDP_UNAVAILABLE', 'ERR_CLIENT_REJECTED'],
}

/**
 * The provider's answers to a code and to a refresh token, through the worker's own code and msal-node, from the
 * network on: either a token of this person's and nobody else's, or an error that says which kind, and nothing kept.
 */
export const tokenAnswers: Target<Input> = async (world) => {
	const [worker, provider] = [await world.worker(), await world.provider()]
	let tries = 0
	// A provider that throttles a tenant is not asked for it again; the next inputs are of another.
	let person = await createPerson(provider, 0)
	let tenants = 0
	const bodyOf = ({ status, idToken, refusal, fields, wrapping }: Input): Buffer => {
		const { error, codes, claims } = refusal
		const refused = { error, error_description: 'canary: AADSTS0', error_codes: codes, claims }
		const good = { ...person.answer, ...person.idToken(idToken) }
		const answer = new Map<string, unknown>(Object.entries(status >= 400 ? refused : good))
		for (const [name, value] of fields) answer.set(name, value)
		const entries = [...answer].filter(([, value]) => value !== undefined)
		// By hand: `__proto__` is a name as any other.
		const inner = entries
			.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`)
			.join()
		const text = `{${inner}}`
		switch (wrapping.kind) {
			case 'plain':
				return Buffer.from(text)
			case 'byte order mark':
				return Buffer.from(`\ufeff${text}`)
			case 'HTML':
				return Buffer.from(`<!doctype html><title>${text}</title>`)
			case 'twice':
				return Buffer.from(text + text)
			case 'in a list':
				return Buffer.from(`[${text}]`)
			case 'a name twice':
				return Buffer.from(`{"access_token":"canary-first","id_token":"canary.first.token",${inner}}`)
			case 'changed':
				return Buffer.from(applyChange(text, wrapping.change))
			case 'bytes':
				return Buffer.from(wrapping.bytes)
			case 'deep':
				return Buffer.from(`{${inner},${JSON.stringify(wrapping.name)}:${deepJson(wrapping.json)}}`)
			case 'long':
				return Buffer.from(`{${inner},${JSON.stringify(wrapping.name)}:"${'x'.repeat(wrapping.length)}"}`)
		}
	}
	const read = (
		partition: string,
		sealed: string,
	): Record<string, Record<string, Record<string, unknown>>> => {
		const opened = worker.sealer.open('tokens', partition, sealed)
		assert.ok(opened.ok)
		return JSON.parse(opened.plaintext)
	}
	const assertOnlyTheirs = (partition: string, sealed: string | undefined, homeAccountId: string) => {
		assert.ok(sealed !== undefined, 'nothing was kept of a success')
		const cache = read(partition, sealed)
		for (const section of ['Account', 'IdToken', 'AccessToken', 'RefreshToken'])
			for (const entry of Object.values(cache[section] ?? {}))
				assert.equal(entry.home_account_id, homeAccountId, `${section} of somebody else`)
	}
	const assertRefused = (
		task: Input['task'],
		error: { readonly code: string; readonly message: string; readonly claims?: unknown },
	): string => {
		assert.ok(error.claims === undefined || typeof error.claims === 'string', 'claims that are no text')
		assert.ok(
			error.code in statusByCode && refusals[task].includes(error.code),
			`${error.code}: ${error.message}`,
		)
		assert.doesNotMatch(error.message, /canary/)
		return `${task} ${error.code}`
	}
	const assertToken = (
		token: { readonly accessToken: string; readonly expiresOn: number; readonly refreshOn?: number },
		sent: Record<string, unknown>,
	) => {
		assert.equal(token.accessToken, sent.access_token)
		const latest = Date.now() + 7 * 86_400_000 + 60_000
		assert.ok(
			token.expiresOn > Date.now() - 60_000 && token.expiresOn < latest,
			`expires on ${token.expiresOn}`,
		)
		if (token.refreshOn !== undefined) assert.ok(token.refreshOn < latest, `refresh on ${token.refreshOn}`)
	}
	return {
		inputs: fc.record({
			task: fc.constantFrom('redeem', 'refresh'),
			status: fc.oneof(
				{ weight: 10, arbitrary: fc.constant(200) },
				{ weight: 4, arbitrary: fc.constant(400) },
				{ weight: 1, arbitrary: fc.constantFrom(201, 204, 206, 302, 307, 401, 403, 404, 429, 500, 503, 599) },
			),
			headers: fc.record(
				{
					'content-type': fc.constantFrom(
						'application/json',
						'text/html',
						'application/json; charset=utf-16',
						'x',
					),
					'content-encoding': fc.constantFrom('identity', 'gzip', 'x'),
					'retry-after': fc.constantFrom(
						'0',
						'17',
						'-1',
						'soon',
						'99999999999999999999',
						'Fri, 31 Dec 9999 23:59:59 GMT',
					),
					location: fc.constantFrom('https://evil.example/', '/'),
				},
				{ requiredKeys: [] },
			),
			idToken: fc.oneof(
				{ weight: 3, arbitrary: fc.constant<IdTokenKind>('own') },
				fc.constantFrom(...idTokenKinds),
			),
			refusal: fc.record({
				error: fc.constantFrom(
					...['invalid_grant', 'invalid_grant', 'interaction_required', 'login_required', 'invalid_client'],
					...['unauthorized_client', 'access_denied', 'invalid_scope', 'server_error', 'x', undefined],
				),
				codes: fc.constantFrom<unknown>(undefined, [50173], [50196], [65001], [700082, 1], ['50173'], 50173, [
					{},
				]),
				claims: fc.constantFrom<unknown>(undefined, undefined, '{"access_token":{}}', '{', '', 7),
			}),
			fields: fc.oneof(
				{ weight: 1, arbitrary: fc.constant([]) },
				{ weight: 2, arbitrary: fc.array(fc.tuple(fieldNames, fieldValues), { maxLength: 3 }) },
			),
			wrapping: wrappings,
		}),
		reaches: [
			...['redeem', 'refresh'].map((task) => `${task} done`),
			...Object.entries(refusals).flatMap(([task, codes]) => codes.map((code) => `${task} ${code}`)),
		],
		async attempt(input) {
			const { task, status, headers } = input
			const body = bodyOf(input)
			provider.answer({ status, headers, body } satisfies CannedAnswer)
			let parsed: Record<string, unknown> | undefined
			const sent = () => {
				parsed ??= JSON.parse(body.toString()) as Record<string, unknown>
				return parsed
			}
			const partition = createHash('sha256').update(`partition ${tries++}`).digest('base64url')
			const correlationId = randomUUID()
			if (task === 'redeem') {
				const answer = await worker.run('redeem', {
					code: 'code',
					codeVerifier: 'v'.repeat(43),
					nonce: person.nonce,
					redirectUri: 'https://app.example/user/authorized',
					scopes: ['User.Read'],
					correlationId,
					partition,
					lifetime: 60_000,
				})
				assert.ok('ok' in answer)
				if (!answer.ok) {
					assert.ok('error' in answer)
					return assertRefused(task, answer.error)
				}
				assert.ok(answer.value.claimed)
				const { account, token, sealed } = answer.value
				assert.equal(status, 200)
				assert.equal(
					sent().id_token,
					person.idToken('own').id_token,
					'an id_token that is not to be believed',
				)
				assert.deepEqual([account.tenantId, account.objectId], [person.tenantId, person.objectId])
				assertToken(token, sent())
				assertOnlyTheirs(partition, sealed, account.homeAccountId)
				return 'redeem done'
			}
			const stored = worker.sealer.seal('tokens', partition, JSON.stringify(person.cache))
			const answer = await worker.run('acquire', {
				partition,
				homeAccountId: person.homeAccountId,
				scopes: ['User.Read'],
				forceRefresh: true,
				sentAt: monotonic(),
				lease: 'always',
				stored: { version: 1, sealed: stored },
				correlationId,
			})
			assert.ok('ok' in answer && answer.ok, `${JSON.stringify(answer)}`)
			const { value } = answer
			if (value.state === 'failed') {
				if (value.holdOff?.whose === 'tenant') person = await createPerson(provider, ++tenants)
				if (value.sealed !== undefined) {
					assert.equal(value.error.code, 'ERR_INTERACTION_REQUIRED', 'kept of a refusal')
					const { RefreshToken, ...rest } = read(partition, value.sealed)
					const { RefreshToken: _, ...before } = person.cache
					assert.deepEqual([RefreshToken, rest], [{}, before])
				}
				return assertRefused(task, value.error)
			}
			assert.ok(value.state === 'done' && value.outcome === 'refreshed', JSON.stringify(value))
			assert.equal(status, 200)
			const came = sent().id_token
			// Whoever has signed it: at a refresh it comes from the provider itself, and says who it is about.
			if (came !== undefined && came !== '') {
				const claims = JSON.parse(Buffer.from(String(came).split('.')[1] ?? '', 'base64url').toString())
				assert.deepEqual(
					[claims.tid, claims.oid, claims.sub],
					[person.tenantId, person.objectId, person.subject],
				)
			}
			assert.deepEqual(
				[value.account.tenantId, value.account.objectId, value.account.homeAccountId],
				[person.tenantId, person.objectId, person.homeAccountId],
			)
			assertToken(value.token, sent())
			assertOnlyTheirs(partition, value.sealed, person.homeAccountId)
			return 'refresh done'
		},
	}
}
