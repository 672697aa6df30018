import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { monotonic } from '../../src/monotonic.js'
import type { Target } from './fuzz.js'
import { applyChange, type Change, changes, type Deep, deep, deepJson, oddNames, oddValues } from './odd.js'
import { createPerson } from './person.js'

type Blob =
	/** The sealed text is not what was written. */
	| { readonly kind: 'tampered'; readonly changes: readonly Change[] }
	/** Sealed for another purpose, another session, or by another application. */
	| { readonly kind: 'moved'; readonly purpose: string; readonly elsewhere: boolean }
	/** Sealed well: a cache with odd fields. */
	| { readonly kind: 'odd'; readonly oddities: readonly Oddity[] }
	/** Sealed well: another text, or a text that was changed. */
	| { readonly kind: 'text'; readonly text: string }
	| { readonly kind: 'changed'; readonly change: Change }
	| { readonly kind: 'deep'; readonly json: Deep; readonly at: 'section' | 'entry' | 'field' }

interface Oddity {
	readonly section: string
	/** Of an entry: one that is there, all, or another. */
	readonly entry: 'all' | 'none' | 'new'
	readonly field: string
	readonly value: unknown
}

interface Input {
	readonly blob: Blob
	readonly lease: 'never' | 'if-expired' | 'always'
}

const sections = ['Account', 'IdToken', 'AccessToken', 'RefreshToken', 'AppMetadata', 'DirectoryUser']
const fields = [
	...[
		'home_account_id',
		'environment',
		'realm',
		'credential_type',
		'client_id',
		'secret',
		'target',
		'token_type',
	],
	...['expires_on', 'refresh_on', 'cached_at', 'requestedClaims', 'requestedClaimsHash', 'mail', 'username'],
	...['local_account_id', 'authority_type', 'tenantProfiles', 'family_id', 'keyId'],
]
const values = fc.oneof(
	{ weight: 2, arbitrary: oddValues },
	{
		weight: 1,
		arbitrary: fc.constantFrom<unknown>(
			...[
				'evil.example',
				'a.b.c',
				'e30.e30.',
				'e30.bnVsbA.x',
				'e30.W10.x',
				'User.Read',
				'RefreshToken',
				'pop',
			],
			...[
				'0',
				'1e300',
				'NaN',
				'-1',
				'99999999999',
				'__proto__',
				'somebody.else',
				['null'],
				['{"tenantId":7}'],
			],
		),
	},
)
const oddities: fc.Arbitrary<Oddity> = fc.record({
	section: fc.oneof(
		{ weight: 6, arbitrary: fc.constantFrom(...sections) },
		{ weight: 1, arbitrary: oddNames },
	),
	entry: fc.constantFrom('all', 'none', 'new'),
	field: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...fields) }, { weight: 1, arbitrary: oddNames }),
	value: values,
})

type Cache = Record<string, Record<string, Record<string, unknown>>>

/** JSON in which `__proto__` is a name as any other. */
function write(value: unknown): string {
	if (typeof value !== 'object' || value === null || Array.isArray(value))
		return JSON.stringify(value) ?? 'null'
	return `{${Object.entries(value)
		.map(([name, inner]) => `${JSON.stringify(name)}:${write(inner)}`)
		.join()}}`
}

const own = (target: object, name: string, value: unknown) =>
	Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })

/**
 * Sealed token caches, as a worker opens them: one that was changed never opens, and whatever one says that was sealed
 * well, it is the person's token, or they sign in again.
 */
export const cacheBlobs: Target<Input> = async (world) => {
	const [worker, provider] = [await world.worker(), await world.provider()]
	const person = await createPerson(provider, 0)
	const partition = createHash('sha256').update('partition').digest('base64url')
	const elsewhere = createHash('sha256').update('another partition').digest('base64url')
	const text = JSON.stringify(person.cache)
	const sealed = worker.sealer.seal('tokens', partition, text)
	const oddCache = (oddities: readonly Oddity[]): string => {
		const cache = JSON.parse(text) as Cache
		for (const { section, entry, field, value: given } of oddities) {
			// A copy: what is put into itself has no end.
			const value = given === undefined ? undefined : JSON.parse(write(given))
			if (entry === 'none') {
				own(cache, section, value)
				continue
			}
			if (typeof cache[section] !== 'object' || cache[section] === null || !Object.hasOwn(cache, section))
				own(cache, section, {})
			const entries = cache[section] as Record<string, Record<string, unknown>>
			if (entry === 'new') own(entries, field, value)
			else
				for (const one of Object.values(entries))
					if (typeof one === 'object' && one !== null) own(one, field, value)
		}
		return write(cache)
	}
	const textOf = (blob: Exclude<Blob, { kind: 'tampered' | 'moved' }>): string => {
		if (blob.kind === 'odd') return oddCache(blob.oddities)
		if (blob.kind === 'text') return blob.text
		if (blob.kind === 'changed') return applyChange(text, blob.change)
		const { at, json } = blob
		if (at === 'section') return text.replace('{', () => `{"Later":${deepJson(json)},`)
		if (at === 'entry') return text.replace('{', () => `{"Later":{"a":${deepJson(json)}},`)
		return text.replace('"home_account_id"', () => `"later":${deepJson(json)},"home_account_id"`)
	}
	const blobOf = (blob: Blob): string => {
		if (blob.kind === 'tampered') return blob.changes.reduce(applyChange, sealed)
		if (blob.kind === 'moved')
			return worker.sealer.seal(blob.purpose, blob.elsewhere ? elsewhere : partition, text)
		return worker.sealer.seal('tokens', partition, textOf(blob))
	}
	return {
		inputs: fc.record({
			blob: fc.oneof(
				{
					weight: 40,
					arbitrary: fc.record({
						kind: fc.constant('tampered' as const),
						changes: fc.array(changes, { minLength: 1, maxLength: 2 }),
					}),
				},
				{
					weight: 5,
					arbitrary: fc.record({
						kind: fc.constant('moved' as const),
						purpose: fc.constantFrom('tokens', 'session', 'transaction', 'used-transaction', 'tokens/'),
						elsewhere: fc.boolean(),
					}),
				},
				{
					weight: 80,
					arbitrary: fc.record({
						kind: fc.constant('odd' as const),
						oddities: fc.array(oddities, { minLength: 1, maxLength: 3 }),
					}),
				},
				{
					weight: 20,
					arbitrary: fc.record({
						kind: fc.constant('text' as const),
						text: fc.oneof(
							fc.json(),
							fc.string(),
							fc.constantFrom('', 'null', '[]', '{}', '42', '{"hasOwnProperty":1}'),
						),
					}),
				},
				{ weight: 20, arbitrary: fc.record({ kind: fc.constant('changed' as const), change: changes }) },
				{
					weight: 2,
					arbitrary: fc.record({
						kind: fc.constant('deep' as const),
						json: deep,
						at: fc.constantFrom('section' as const, 'entry' as const, 'field' as const),
					}),
				},
			),
			lease: fc.constantFrom('never', 'if-expired', 'always'),
		}),
		reaches: [
			'tampered ERR_SIGNED_OUT',
			'moved ERR_SIGNED_OUT',
			'odd cached',
			'odd refreshed',
			'odd ERR_SIGNED_OUT',
			'odd needs-refresh',
		],
		async attempt({ blob, lease }) {
			const given = blobOf(blob)
			provider.asked.length = 0
			provider.answer({ status: 200, body: JSON.stringify({ ...person.answer, ...person.idToken('own') }) })
			const answer = await worker.run('acquire', {
				partition,
				homeAccountId: person.homeAccountId,
				scopes: ['User.Read'],
				forceRefresh: lease === 'always',
				sentAt: monotonic(),
				lease,
				stored: { version: 1, sealed: given },
				correlationId: randomUUID(),
			})
			assert.ok('ok' in answer && answer.ok, JSON.stringify(answer))
			const { value } = answer
			// Two changes can be none.
			const opens =
				blob.kind === 'tampered'
					? given === sealed
					: blob.kind !== 'moved' || (blob.purpose === 'tokens' && !blob.elsewhere)
			if (!opens) {
				assert.ok(value.state === 'failed', 'it opens')
				assert.equal(value.error.code, 'ERR_SIGNED_OUT')
				assert.equal(provider.asked.length, 0)
			}
			const kind = opens && (blob.kind === 'tampered' || blob.kind === 'moved') ? 'whole' : blob.kind
			if (value.state === 'failed') {
				const { code, message } = value.error
				// A cache that says to be about somebody else, and a provider that says to be about this person.
				const disagree = code === 'ERR_IDP_PROTOCOL' && provider.asked.length === 1
				assert.ok(
					disagree || ['ERR_SIGNED_OUT', 'ERR_INTERACTION_REQUIRED'].includes(code),
					`${code}: ${message}`,
				)
				assert.equal(value.sealed, undefined, 'kept of a failure')
				assert.doesNotMatch(message, /canary/)
				return `${kind} ${code}`
			}
			if (value.state === 'needs-refresh') return `${kind} needs-refresh`
			assert.ok(value.state === 'done', value.state)
			assert.equal(value.account.homeAccountId, person.homeAccountId)
			if (value.outcome === 'refreshed') {
				assert.equal(provider.asked.length, 1)
				assert.deepEqual([value.account.tenantId, value.account.objectId], [person.tenantId, person.objectId])
				assert.equal(value.token.accessToken, 'canary-access-token')
				const opened = worker.sealer.open('tokens', partition, value.sealed ?? '')
				assert.ok(opened.ok)
				const cache = JSON.parse(opened.plaintext) as Cache
				for (const section of ['Account', 'IdToken', 'AccessToken', 'RefreshToken'])
					for (const entry of Object.values(cache[section] ?? {}))
						assert.equal(entry.home_account_id, person.homeAccountId, section)
			} else {
				assert.equal(provider.asked.length, 0)
				// One of its own, and of this person.
				const cache = JSON.parse(
					blob.kind === 'tampered' || blob.kind === 'moved' ? text : textOf(blob),
				) as Cache
				const theirs = Object.values(cache.AccessToken ?? {}).filter(
					({ home_account_id }) => home_account_id === person.homeAccountId,
				)
				assert.ok(
					theirs.some(({ secret }) => secret === value.token.accessToken),
					'a token from nowhere',
				)
			}
			return `${kind} ${value.outcome}`
		},
	}
}
