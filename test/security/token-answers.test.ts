import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { monotonic } from '../../src/monotonic.js'
import type { IdTokenKind, Person } from '../fuzz/person.js'
import { createPerson } from '../fuzz/person.js'
import { createFuzzWorld, type FuzzWorld } from '../fuzz/world.js'

/** What becomes of one answer: of a code, and of a refresh token. `done`, or the code of the error. */
interface Row {
	readonly what: string
	readonly status?: number
	/** Fields of a good answer that are others, or are not there. */
	readonly set?: Readonly<Record<string, unknown>>
	readonly drop?: readonly string[]
	readonly idToken?: IdTokenKind
	/** In place of all: `@good@` is a good answer, `@inner@` what is in it. */
	readonly raw?: string
	readonly base64?: string
	/** Characters of a field that nobody knows. */
	readonly pad?: number
	readonly redeem: string
	readonly refresh: string
}

const rows = JSON.parse(
	readFileSync(new URL('../../../test/corpora/token-answers.json', import.meta.url), 'utf8'),
) as readonly Row[]

function bodyOf(person: Person, { set = {}, drop = [], idToken = 'own', raw, base64, pad }: Row): Buffer {
	if (base64 !== undefined) return Buffer.from(base64, 'base64')
	const answer = {
		...person.answer,
		...person.idToken(idToken),
		...set,
		...(pad && { pad: 'x'.repeat(pad) }),
	}
	const good = JSON.stringify(
		Object.fromEntries(Object.entries(answer).filter(([name]) => !drop.includes(name))),
	)
	return Buffer.from(
		raw?.replaceAll('@good@', () => good).replaceAll('@inner@', () => good.slice(1, -1)) ?? good,
	)
}

describe('the provider’s answer to a token request, through the worker’s own code', () => {
	let world: FuzzWorld
	before(() => {
		world = createFuzzWorld()
	})
	after(() => world.close())

	it('is tried in more than 150 shapes, no two the same', () => {
		assert.ok(rows.length >= 250, `${rows.length}`)
		assert.equal(new Set(rows.map(({ what: _, ...shape }) => JSON.stringify(shape))).size, rows.length)
	})

	it('is a token of this person’s, or an error that says which kind; of a refusal nothing is stored', async () => {
		const [worker, provider] = [await world.worker(), await world.provider()]
		const wrong: string[] = []
		let person = await createPerson(provider, 0)
		let tenants = 0
		for (const row of rows) {
			const partition = createHash('sha256').update(row.what).digest('base64url')
			const body = bodyOf(person, row)
			provider.answer({ status: row.status ?? 200, body })
			const common = { partition, scopes: ['User.Read'], correlationId: randomUUID() }
			const redeemed = await worker.run('redeem', {
				...common,
				code: 'code',
				codeVerifier: 'v'.repeat(43),
				nonce: person.nonce,
				redirectUri: 'https://app.example/user/authorized',
				lifetime: 60_000,
			})
			const refreshed = await worker.run('acquire', {
				...common,
				homeAccountId: person.homeAccountId,
				forceRefresh: true,
				sentAt: monotonic(),
				lease: 'always',
				stored: {
					version: 1,
					sealed: worker.sealer.seal('tokens', partition, JSON.stringify(person.cache)),
				},
			})
			const seen = { redeem: '', refresh: '' }
			const messages: string[] = []
			let throttled = false
			if ('error' in redeemed) {
				seen.redeem = redeemed.error.code
				messages.push(redeemed.error.message)
				assert.ok(!('value' in redeemed), row.what)
			} else if ('value' in redeemed && redeemed.value.claimed) {
				seen.redeem = 'done'
				const { account, token } = redeemed.value
				assert.deepEqual([account.tenantId, account.objectId], [person.tenantId, person.objectId], row.what)
				assert.match(token.accessToken, /^canary-access-token$|^\ufffd$|^\ud800$/, row.what)
			}
			assert.ok('value' in refreshed, row.what)
			const { value } = refreshed
			if (value.state === 'failed') {
				seen.refresh = value.error.code
				messages.push(value.error.message)
				// A tenant that is throttled is not asked for again.
				throttled = value.holdOff?.whose === 'tenant'
				// But for a refresh token that is dead, which is taken out.
				if (value.sealed !== undefined) {
					const opened = worker.sealer.open('tokens', partition, value.sealed)
					assert.ok(opened.ok)
					assert.deepEqual(JSON.parse(opened.plaintext), { ...person.cache, RefreshToken: {} }, row.what)
				}
			} else if (value.state === 'done') {
				seen.refresh = 'done'
				const { account, token } = value
				assert.deepEqual([account.tenantId, account.objectId], [person.tenantId, person.objectId], row.what)
				assert.equal(token.accessToken, 'canary-access-token', row.what)
			}
			if (throttled) person = await createPerson(provider, ++tenants)
			assert.doesNotMatch(messages.join(), /canary|script|Wi-Fi/, row.what)
			if (seen.redeem !== row.redeem || seen.refresh !== row.refresh)
				wrong.push(`${row.what}: ${JSON.stringify(seen)}`)
		}
		assert.deepEqual(wrong, [])
	})
})
