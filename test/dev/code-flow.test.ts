import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createRemoteJWKSet, customFetch, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { Agent, fetch } from 'undici'
import { clientIds, GRAPH_AUDIENCE } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn } from '../../dev/entra-stand-in.js'
import { people } from '../../dev/people.js'
import { createClient, createStandInBrowser, REDIRECT_URI, signIn } from './support/msal.js'

describe('the authorization code flow', () => {
	let standIn: EntraStandIn
	before(async () => {
		standIn = await createEntraStandIn({ autoLogin: true })
	})
	after(() => standIn.close())

	test('ends in a form_post to the application, and its code is worth tokens', async () => {
		const attempt = await signIn(createClient(standIn), standIn)
		assert.equal(attempt.form?.action, REDIRECT_URI)
		const result = await attempt.redeem()
		assert.equal(result.account?.homeAccountId, `${people.ada.oid}.${standIn.tenantId}`)
		assert.equal(result.account?.username, people.ada.upn)
		assert.equal(result.tenantId, standIn.tenantId)
		assert.ok(result.scopes.includes('User.Read'))
	})

	test('signs id_token and access token with a published key', async () => {
		const result = await (await signIn(createClient(standIn), standIn)).redeem()
		const dispatcher = new Agent({ connect: { ca: standIn.ca } })
		const keys = createRemoteJWKSet(new URL(standIn.jwksUri), {
			[customFetch]: (url, init) =>
				fetch(url, { headers: Object.fromEntries(init.headers), dispatcher }) as never,
		})
		const { issuer } = standIn
		await jwtVerify(result.idToken, keys, { issuer, audience: clientIds.web })
		const { payload } = await jwtVerify(result.accessToken, keys, { issuer, audience: GRAPH_AUDIENCE })
		assert.equal(decodeProtectedHeader(result.accessToken).typ, 'JWT')
		assert.equal(payload.oid, people.ada.oid)
		assert.match(String(payload.scp), /\bUser\.Read\b/)
		await dispatcher.close()
	})

	test('refuses a code that was redeemed before, and the wrong PKCE verifier', async () => {
		const attempt = await signIn(createClient(standIn), standIn)
		await attempt.redeem()
		await assert.rejects(attempt.redeem(), /AADSTS54005/)
		const other = await signIn(createClient(standIn), standIn)
		await assert.rejects(other.redeem({ codeVerifier: 'x'.repeat(50) }), /AADSTS501481/)
	})

	test('works for the authority "common"', async () => {
		const app = createClient(standIn, { authority: `${standIn.origin}/common` })
		const result = await (await signIn(app, standIn)).redeem()
		assert.equal(result.tenantId, standIn.tenantId)
		standIn.clearLog()
		const silent = await app.acquireTokenSilent({ account: result.account as never, scopes: ['User.Read'] })
		assert.equal(silent.fromCache, true)
		assert.equal(standIn.count('token'), 0)
	})

	test('prompt=none succeeds with a session and says login_required without', async () => {
		const app = createClient(standIn)
		const { browser } = await signIn(app, standIn)
		await (await signIn(app, standIn, { browser, prompt: 'none' })).redeem()
		const stranger = await signIn(app, standIn, { prompt: 'none' })
		assert.equal(stranger.form?.fields.error, 'login_required')
	})

	test('every prompt of Entra leads to a code', async () => {
		const app = createClient(standIn)
		const browser = createStandInBrowser(standIn)
		for (const prompt of ['login', 'consent', 'select_account', 'create']) {
			const attempt = await signIn(app, standIn, { browser, prompt })
			assert.ok(attempt.form?.fields.code, `prompt=${prompt}: ${attempt.page.html}`)
		}
	})

	test('another person can sign in with the same browser', async () => {
		const app = createClient(standIn)
		const browser = createStandInBrowser(standIn)
		await (await signIn(app, standIn, { browser })).redeem()
		const loginHint = people.grace.upn
		const second = await (await signIn(app, standIn, { browser, prompt: 'login', loginHint })).redeem()
		assert.equal(second.account?.username, people.grace.upn)
		assert.deepEqual(second.account?.idTokenClaims?.roles, people.grace.roles)
	})

	test('a redirect URI on another loopback port is as good, any other difference is not', async () => {
		const browser = createStandInBrowser(standIn)
		const query = {
			client_id: clientIds.web,
			response_type: 'code',
			response_mode: 'form_post',
			scope: 'openid',
		}
		const authorize = (redirect_uri: string) =>
			browser.follow(
				`${standIn.pagesOrigin}/${standIn.tenantId}/oauth2/v2.0/authorize?${new URLSearchParams({ ...query, redirect_uri })}`,
			)
		assert.ok((await authorize(REDIRECT_URI.replace('3000', '45678'))).form?.fields.code)
		const refused = await authorize(`${REDIRECT_URI}/elsewhere`)
		assert.equal(refused.status, 400)
		assert.match(refused.html, /AADSTS50011/)
	})

	test('the client capability CP1 arrives in the access token', async () => {
		const app = createClient(standIn, { clientCapabilities: ['CP1'] })
		const result = await (await signIn(app, standIn)).redeem()
		assert.deepEqual(decodeJwt(result.accessToken).xms_cc, ['CP1'])
	})
})
