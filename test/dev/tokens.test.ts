import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { AccountInfo } from '@azure/msal-node'
import { decodeJwt } from 'jose'
import { type ClientCertificate, createClientCertificate } from '../../dev/certificates.js'
import { API, clientIds, clientSecrets, createDirectory, GRAPH } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn } from '../../dev/entra-stand-in.js'
import { people } from '../../dev/people.js'
import { createClient, refreshTokenOf, signIn } from './support/msal.js'

const GRAPH_DEFAULT = `${GRAPH}/.default`

describe('tokens', () => {
	let standIn: EntraStandIn
	let certificate: ClientCertificate
	before(async () => {
		certificate = await createClientCertificate()
		const directory = createDirectory({ certificateJwk: certificate.publicJwk })
		standIn = await createEntraStandIn({ ...directory, autoLogin: true, refreshIn: 1800 })
	})
	after(() => standIn.close())

	async function signedIn() {
		const app = createClient(standIn)
		const result = await (await signIn(app, standIn)).redeem()
		standIn.clearLog()
		return { app, account: result.account as AccountInfo, result }
	}

	test('a refresh answers with another refresh token, and the old one stays good, as Entra has it', async () => {
		const { app, account } = await signedIn()
		const old = refreshTokenOf(app)
		const refreshed = await app.acquireTokenSilent({ account, scopes: ['User.Read'], forceRefresh: true })
		assert.equal(refreshed.fromCache, false)
		assert.notEqual(refreshTokenOf(app), old)
		assert.equal(standIn.count('token', 'refresh_token'), 1)
		await app.acquireTokenByRefreshToken({ refreshToken: old, scopes: ['User.Read'] })
		await app.acquireTokenByRefreshToken({ refreshToken: old, scopes: ['User.Read'] })
	})

	test('one refresh token is good for every consented resource', async () => {
		const { app, account } = await signedIn()
		const forApi = await app.acquireTokenSilent({ account, scopes: [`${API}/access_as_user`] })
		const { aud, scp } = decodeJwt(forApi.accessToken)
		assert.deepEqual({ aud, scp }, { aud: clientIds.api, scp: 'access_as_user' })
		const everything = await app.acquireTokenSilent({ account, scopes: [GRAPH_DEFAULT] })
		assert.equal(decodeJwt(everything.accessToken).scp, 'User.Read Mail.Read')
	})

	test('a refresh for a scope that nobody consented to asks for consent', async () => {
		const { app, account } = await signedIn()
		const asked = app.acquireTokenSilent({ account, scopes: ['Files.Read'] })
		await assert.rejects(asked, { name: 'InteractionRequiredAuthError', subError: 'consent_required' })
	})

	test('refresh_in is told when it is set', async () => {
		const { result } = await signedIn()
		const { refreshOn, expiresOn } = result
		assert.equal((expiresOn?.getTime() ?? 0) - (refreshOn?.getTime() ?? 0), 1800_000)
	})

	test('revoked tokens and disabled accounts end a refresh with their own codes', async () => {
		const { app, account } = await signedIn()
		const refresh = () => app.acquireTokenSilent({ account, scopes: ['User.Read'], forceRefresh: true })
		standIn.revokeUserTokens(people.ada.oid)
		await assert.rejects(refresh(), {
			name: 'ServerError',
			errorCode: 'invalid_grant',
			message: /AADSTS50173/,
		})

		const guest = createClient(standIn)
		const attempt = await signIn(guest, standIn, { loginHint: people.charles.upn })
		const charles = (await attempt.redeem()).account as AccountInfo
		standIn.disablePerson(people.charles.oid)
		const request = { account: charles, scopes: ['User.Read'], forceRefresh: true }
		await assert.rejects(guest.acquireTokenSilent(request), /AADSTS50057/)
	})

	test('a rotated signing key is published beside the old one, and sessions survive it', async () => {
		const { app, account } = await signedIn()
		const [before] = standIn.jwks().keys
		await standIn.rotateKeys()
		assert.equal(standIn.jwks().keys.length, 2)
		assert.equal(standIn.jwks().keys[1]?.kid, before?.kid)
		await app.acquireTokenSilent({ account, scopes: ['User.Read'], forceRefresh: true })
		await standIn.rotateKeys({ keepOld: false })
		assert.equal(standIn.jwks().keys.length, 1)
	})

	test('client credentials bring the application permissions, by secret', async () => {
		const result = await createClient(standIn).acquireTokenByClientCredential({ scopes: [GRAPH_DEFAULT] })
		const claims = decodeJwt(result?.accessToken ?? '')
		assert.equal(claims.idtyp, 'app')
		assert.deepEqual(claims.roles, ['User.Read.All'])
		assert.equal(claims.scp, undefined)
		const wrong = createClient(standIn, { clientSecret: 'wrong' })
		await assert.rejects(wrong.acquireTokenByClientCredential({ scopes: [GRAPH_DEFAULT] }), /AADSTS7000215/)
	})

	test('a certificate is as good as a secret, and one assertion is accepted twice', async () => {
		const { privateKey, thumbprintSha256, certificate: x5c } = certificate
		const clientCertificate = { privateKey, thumbprintSha256, x5c }
		const app = createClient(standIn, { clientId: clientIds.certificate, clientCertificate })
		await app.acquireTokenByClientCredential({ scopes: [GRAPH_DEFAULT] })
		const again = await app.acquireTokenByClientCredential({ scopes: [GRAPH_DEFAULT], skipCache: true })
		assert.equal(decodeJwt(again?.accessToken ?? '').azpacr, '2')
		const { account } = await (await signIn(app, standIn)).redeem()
		assert.equal(account?.username, people.ada.upn)
	})

	test('a certificate that is not registered is refused', async () => {
		const { privateKey, thumbprintSha256 } = await createClientCertificate()
		const clientCertificate = { privateKey, thumbprintSha256 }
		const app = createClient(standIn, { clientId: clientIds.certificate, clientCertificate })
		await assert.rejects(app.acquireTokenByClientCredential({ scopes: [GRAPH_DEFAULT] }), /AADSTS700027/)
	})

	test('an API acts on behalf of its caller, and only with a token for itself', async () => {
		const { app, account, result } = await signedIn()
		const forApi = await app.acquireTokenSilent({ account, scopes: [`${API}/access_as_user`] })
		const api = createClient(standIn, { clientId: clientIds.api, clientSecret: clientSecrets.api })
		const onBehalf = await api.acquireTokenOnBehalfOf({
			oboAssertion: forApi.accessToken,
			scopes: ['User.Read'],
		})
		const { azp, oid, scp } = decodeJwt(onBehalf?.accessToken ?? '')
		assert.deepEqual({ azp, oid, scp }, { azp: clientIds.api, oid: people.ada.oid, scp: 'User.Read' })
		const wrong = api.acquireTokenOnBehalfOf({ oboAssertion: result.accessToken, scopes: ['User.Read'] })
		await assert.rejects(wrong, /AADSTS500133/)
		const unconsented = api.acquireTokenOnBehalfOf({
			oboAssertion: forApi.accessToken,
			scopes: ['Mail.Read'],
		})
		await assert.rejects(unconsented, /AADSTS65001/)
	})

	test('a claims challenge goes past the cache and into the access token', async () => {
		const { app, account } = await signedIn()
		const claims = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c1' } } })
		const stepped = await app.acquireTokenSilent({ account, scopes: ['User.Read'], claims })
		assert.deepEqual(decodeJwt(stepped.accessToken).acrs, ['c1'])
		assert.equal(standIn.count('token'), 1)
		const signedInAgain = await (await signIn(app, standIn, { claims })).redeem({ claims })
		assert.deepEqual(decodeJwt(signedInAgain.accessToken).acrs, ['c1'])
	})
})

test('with strict rotation, reusing a refresh token ends the whole grant', async () => {
	const standIn = await createEntraStandIn({ autoLogin: true, rotation: 'strict' })
	try {
		const app = createClient(standIn)
		await (await signIn(app, standIn)).redeem()
		const first = refreshTokenOf(app)
		const redeem = (refreshToken: string) =>
			app.acquireTokenByRefreshToken({ refreshToken, scopes: ['User.Read'] })
		await redeem(first)
		const second = refreshTokenOf(app)
		await assert.rejects(redeem(first), /AADSTS50173/)
		await assert.rejects(redeem(second), /AADSTS50173/)
	} finally {
		await standIn.close()
	}
})
