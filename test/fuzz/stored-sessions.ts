import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import type { Target } from './fuzz.js'
import { applyChange, type Change, changes, type Deep, deep, deepJson, oddNames, oddValues } from './odd.js'
import { createPerson } from './person.js'

type Stored =
	/** A session whose data are these names and values. */
	| {
			readonly kind: 'data'
			readonly entries: readonly (readonly [string, unknown])[]
			readonly ticket: unknown
			/** In place of the ticket's partition, that of the first or second person who is signed in. */
			readonly of: 0 | 1 | undefined
	  }
	/** Something else in the place of a session, or of its data. */
	| { readonly kind: 'value'; readonly value: unknown; readonly asData: boolean }
	| { readonly kind: 'changed'; readonly change: Change }
	| { readonly kind: 'deep'; readonly json: Deep; readonly name: string }

interface Input {
	readonly stored: Stored
	readonly deadline: unknown
	readonly path: string
}

const ticket = {
	partition: 'A'.repeat(43),
	account: { homeAccountId: 'a.b', tenantId: 'b', objectId: 'a', username: 'ada@example.test' },
}

/** A ticket of a sign-in with odd fields, or something else. */
const tickets = fc.oneof(
	fc.constant(undefined),
	fc
		.record({ field: fc.constantFrom('partition', 'account', 'manager'), value: oddValues })
		.map(({ field, value }) => ({ ...ticket, [field]: value })),
	fc
		.record({
			field: fc.constantFrom(
				'homeAccountId',
				'tenantId',
				'objectId',
				'username',
				'upn',
				'mail',
				'name',
				'loginHint',
			),
			value: oddValues,
		})
		.map(({ field, value }) => ({ ...ticket, account: { ...ticket.account, [field]: value } })),
	oddValues,
)

/** Data that somebody who has the secrets has sealed, or an older version: an answer comes of it, and no fault. */
export const storedSessions: Target<Input> = async (world) => {
	const [app, provider] = [await world.application(), await world.provider()]
	const people = await Promise.all([createPerson(provider, 31), createPerson(provider, 32)])
	/** What each of them has in their session. */
	const alive: (typeof ticket)[] = []
	for (const { tenantId, objectId, answerTo } of people) {
		const { cookie, state, nonce } = await app.begin()
		provider.answer({ status: 200, body: await answerTo(nonce) })
		const done = await app.complete(cookie, `state=${state}&code=x`)
		assert.equal(done?.status, 303, done?.body)
		const [found] = await app.ticketsOf(tenantId, objectId)
		assert.ok(found)
		alive.push({ partition: found.partition, account: found.account as typeof ticket.account })
	}
	provider.answer({ status: 400, body: '{"error":"invalid_grant"}' })
	/** The ticket that is stored; of somebody who is signed in their own, but for what is odd about it. */
	const ticketIn = ({ ticket: odd, of }: Stored & { kind: 'data' }, path: string): unknown => {
		// One ends it for all inputs to come, the other asks Microsoft Graph.
		if (of === undefined || path === '/user/logout' || path === '/user/photo') return odd
		const whose = alive[of] as typeof ticket
		if (typeof odd !== 'object' || odd === null || !('account' in odd)) return whose
		const changed = Object.entries(odd).filter(([name, value]) => value !== ticket[name as 'partition'])
		// A text has a field for each of its characters.
		if (typeof odd.account !== 'object' || odd.account === null)
			return { ...whose, ...Object.fromEntries(changed) }
		const account = Object.entries(odd.account).filter(
			([name, value]) => value !== ticket.account[name as 'objectId'],
		)
		return {
			...whose,
			...Object.fromEntries(changed),
			account: { ...whose.account, ...Object.fromEntries(account) },
		}
	}
	const id = randomBytes(32).toString('base64url')
	const cookie = `${app.sessionCookie}=${id}.${app.signatures.sign(id)}`
	const textOf = ({ stored, deadline, path }: Input): string => {
		// An own name, whatever it is.
		const objectOf = (entries: readonly (readonly [string, unknown])[]) =>
			`{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`).join()}}`
		const until = JSON.stringify(deadline === 'later' ? Date.now() + 60_000 : deadline) ?? 'null'
		const whole = (data: string) => `{"deadline":${until},"data":${data}}`
		if (stored.kind === 'data') {
			const { entries } = stored
			const ticket = ticketIn(stored, path)
			return whole(objectOf(ticket === undefined ? entries : [...entries, ['msal', ticket]]))
		}
		if (stored.kind === 'value') {
			const value = JSON.stringify(stored.value) ?? 'undefined'
			return stored.asData ? whole(value) : value
		}
		if (stored.kind === 'deep') return whole(`{${JSON.stringify(stored.name)}:${deepJson(stored.json)}}`)
		return applyChange(whole(JSON.stringify({ kept: 'here', msal: ticket })), stored.change)
	}
	return {
		inputs: fc.record({
			stored: fc.oneof(
				{
					weight: 60,
					arbitrary: fc.record({
						kind: fc.constant('data' as const),
						entries: fc.array(fc.tuple(oddNames, oddValues), { maxLength: 5 }),
						ticket: tickets,
						of: fc.option(fc.constantFrom(0 as const, 1 as const), { nil: undefined }),
					}),
				},
				{
					weight: 20,
					arbitrary: fc.record({
						kind: fc.constant('value' as const),
						value: oddValues,
						asData: fc.boolean(),
					}),
				},
				{ weight: 30, arbitrary: fc.record({ kind: fc.constant('changed' as const), change: changes }) },
				{
					weight: 1,
					arbitrary: fc.record({ kind: fc.constant('deep' as const), json: deep, name: oddNames }),
				},
			),
			deadline: fc.oneof(
				{ weight: 5, arbitrary: fc.constant<unknown>('later') },
				{ weight: 1, arbitrary: oddValues },
			),
			path: fc.constantFrom(
				'/session',
				'/write',
				'/private',
				'/token',
				'/user/info',
				'/user/photo',
				'/user/login',
				'/user/logout',
			),
		}),
		reaches: [
			'/session 200',
			'/write 200',
			'/private 401',
			'/private 200',
			'/token 401',
			'/token 200',
			'/user/info 200',
			'/user/login 303',
		],
		async attempt(input) {
			app.plant(id, textOf(input))
			app.errors.length = 0
			const answer = await app.get(input.path, cookie)
			app.forget(id)
			assert.ok(answer, 'the connection was cut')
			const why = app.errors.map((error) => `${error}`).join()
			const { stored } = input
			const { partition } =
				(stored.kind === 'data' ? (ticketIn(stored, input.path) as typeof ticket) : undefined) ?? {}
			// Whose partition is there is signed in; nobody else is.
			const whose = people[alive.findIndex((one) => one.partition === partition)]
			const needsPerson = /^\/(?:private|token|user\/photo)$/.test(input.path)
			const accepted = !needsPerson ? [200, 303] : whose ? [200, 401] : [401]
			if (input.path === '/token' && answer.status === 200)
				assert.equal(JSON.parse(answer.body).tenantId, whose?.tenantId, 'the token of another person')
			assert.ok(accepted.includes(answer.status), `${input.path} → ${answer.status} ${why}`)
			if (input.path === '/session' || input.path === '/write') {
				const { polluted } = JSON.parse(answer.body) as { polluted: unknown }
				assert.equal(polluted, false)
			}
			return `${input.path} ${answer.status}`
		},
	}
}
