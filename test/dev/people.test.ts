import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { AuthenticationResult } from '@azure/msal-node'
import { decodeJwt } from 'jose'
import { createEntraStandIn, type EntraStandIn } from '../../dev/entra-stand-in.js'
import { type Person, people, userNameOf } from '../../dev/people.js'
import { createClient, signIn } from './support/msal.js'

describe('the people of the directory', () => {
	let standIn: EntraStandIn
	before(async () => {
		standIn = await createEntraStandIn({ autoLogin: 'hinted' })
	})
	after(() => standIn.close())

	async function signInAs(person: Person): Promise<AuthenticationResult> {
		return (await signIn(createClient(standIn), standIn, { loginHint: userNameOf(person) })).redeem()
	}

	test('an administrator has roles, an employee has none', async () => {
		assert.deepEqual(decodeJwt((await signInAs(people.grace)).idToken).roles, people.grace.roles)
		const ada = decodeJwt((await signInAs(people.ada)).idToken)
		assert.equal(ada.roles, undefined)
		assert.deepEqual(ada.groups, people.ada.groups)
	})

	test("a guest's home account is in another tenant, the object id in this one", async () => {
		const { account, idToken } = await signInAs(people.emmy)
		const { home, oid } = people.emmy
		assert.equal(account?.homeAccountId, `${home.oid}.${home.tid}`)
		assert.equal(account?.localAccountId, oid)
		assert.equal(account?.tenantId, standIn.tenantId)
		const claims = decodeJwt(idToken)
		assert.equal(claims.tid, standIn.tenantId)
		assert.equal(claims.idp, `https://sts.windows.net/${home.tid}/`)
		assert.equal(claims.preferred_username, people.emmy.mail)
	})

	test('a person without a mailbox has no email claim', async () => {
		const claims = decodeJwt((await signInAs(people.alan)).idToken)
		assert.equal(claims.email, undefined)
		assert.equal(claims.preferred_username, people.alan.upn)
	})

	test('more than 200 groups become a reference to them', async () => {
		const claims = decodeJwt((await signInAs(people.radia)).idToken)
		assert.equal(claims.groups, undefined)
		assert.deepEqual(claims._claim_names, { groups: 'src1' })
		const endpoint = `https://graph.microsoft.com/v1.0/users/${people.radia.oid}/getMemberObjects`
		assert.deepEqual(claims._claim_sources, { src1: { endpoint } })
	})
})
