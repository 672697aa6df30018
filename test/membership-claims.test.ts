import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt, type JWTPayload } from 'jose'
import type { Browser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import { claimsOf } from '../src/session.js'
import { toMembershipClaims } from '../workers/membership-claims.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const id = (i: number) => `99999999-0000-4000-8000-${String(i).padStart(12, '0')}`
const many = (length: number) => Array.from({ length }, (_, i) => id(i))

describe('roles and groups of an id_token', () => {
	it('are taken as they are, ids in lower case', () => {
		const groups = [id(1).toUpperCase(), 'ABCDEF00-0000-4000-8000-00000000000F']
		assert.deepEqual(toMembershipClaims({ roles: ['Admin', 'reports.read'], wids: [id(7)], groups }), {
			roles: ['Admin', 'reports.read'],
			wids: [id(7)],
			groups: [id(1), 'abcdef00-0000-4000-8000-00000000000f'],
		})
	})

	it('are none where the token says nothing, or no sense', () => {
		const senseless: JWTPayload[] = [
			{},
			{ roles: [], wids: [], groups: [] },
			{ roles: 'Admin', wids: 'x', groups: id(1) },
			{ roles: { 0: 'Admin', length: 1 }, groups: null, _claim_names: null, hasgroups: 'no' },
			{ roles: [1, null, ['Admin'], { toString: () => 'Admin' }, ''], wids: ['Admin'], groups: [1] },
			{ _claim_names: 'groups', hasgroups: false },
		]
		for (const claims of senseless) assert.deepEqual(toMembershipClaims(claims), {}, JSON.stringify(claims))
	})

	it('leave out groups by name: anybody’s tenant can give anybody’s name', () => {
		assert.deepEqual(toMembershipClaims({ groups: ['Admins', 'CONTOSO\\Admins', id(1), `${id(1)} `] }), {
			groups: [id(1)],
		})
	})

	it('are bounded, whatever comes', () => {
		const roles = Array.from({ length: 1000 }, (_, i) => `role ${i}`)
		const kept = toMembershipClaims({
			roles: ['x'.repeat(10_000), ...roles],
			wids: many(1000),
			groups: many(1000),
		})
		assert.deepEqual([kept.roles?.length, kept.roles?.[0], kept.wids?.length], [100, 'role 0', 100])
		assert.deepEqual([kept.groups?.length, kept.groupsOverage], [200, true])
		assert.ok(JSON.stringify(kept).length < 32 * 1024)
		assert.equal(toMembershipClaims({ groups: many(200) }).groupsOverage, undefined)
	})

	it('say when there are more groups than a token holds', () => {
		for (const claims of [
			{ _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://evil.example' } } },
			{ hasgroups: true },
			{ hasgroups: 'true' },
		])
			assert.deepEqual(toMembershipClaims(claims), { groupsOverage: true })
	})

	it('count beside their own ticket alone', () => {
		const partition = 'p'.repeat(43)
		const account = { homeAccountId: 'h', tenantId: 't', objectId: 'o', username: 'u' }
		const msalClaims = { partition, roles: ['Admin'] }
		assert.deepEqual(claimsOf({ msal: { partition, account }, msalClaims }), { roles: ['Admin'] })
		for (const session of [
			null,
			{ msalClaims },
			{ msal: { partition: 'q'.repeat(43), account }, msalClaims },
			{ msal: { partition, account }, msalClaims: { roles: ['Admin'] } },
			{ msal: { partition, account }, msalClaims: { partition, roles: 'Admin' } },
			{ msal: { partition, account }, msalClaims: 'Admin' },
		])
			assert.deepEqual(claimsOf(session), {}, JSON.stringify(session))
	})
})

describe('roles and groups in a session', () => {
	let world: World
	let app: Application
	let browser: Browser
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
		browser = app.browser()
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	/** The session of who signs in over the one that is there. */
	async function sessionOf(name: string): Promise<Record<string, unknown>> {
		for (const cookie of browser.jar.cookies)
			if (cookie.name.startsWith('idp_')) browser.jar.clear(cookie.name)
		await app.signIn(browser, name)
		await browser.get(`${app.origin}/`)
		return app.seen.session as Record<string, unknown>
	}

	it('come from the sign-in, and go with the next one', async () => {
		const grace = await sessionOf('Grace Hopper')
		assert.deepEqual(claimsOf(grace), { roles: people.grace.roles, groups: people.grace.groups })
		assert.ok(JSON.stringify(grace.msal).length < 1024)
		assert.ok(!JSON.stringify(grace.msal).includes('Admin'), 'beside the ticket')
		assert.deepEqual(claimsOf(await sessionOf('Radia Perlman')), { groupsOverage: true })
		assert.ok(!('msalClaims' in (await sessionOf('Alan Turing'))))
	})

	it('are what the same person’s last sign-in said', async () => {
		await sessionOf('Grace Hopper')
		world.standIn.inject({
			grant: 'authorization_code',
			rewrite: async (answer) => {
				const { roles: _, groups: __, ...claims } = decodeJwt(String(answer.id_token))
				return { ...answer, id_token: await world.standIn.signIdToken(claims) }
			},
		})
		const again = await sessionOf('Grace Hopper')
		assert.deepEqual(claimsOf(again), {})
		assert.ok(!('msalClaims' in again), 'a role that was taken away')
	})
})
