import assert from 'node:assert/strict'
import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import { decodeJwt } from 'jose'
import { type Browser, createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds, createDirectory } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn } from '../../dev/entra-stand-in.js'
import { people } from '../../dev/people.js'
import { createClient, createStandInBrowser, REDIRECT_URI, signIn } from './support/msal.js'

const SIGNED_OUT = 'http://localhost:3000/signed-out'

describe('the pages that a person sees', () => {
	let standIn: EntraStandIn
	let application: Server
	let received: { method: string; url: string; cookie: string }[]
	let applicationOrigin: string
	let browser: Browser

	before(async () => {
		received = []
		application = createServer((request, response) => {
			received.push(describeRequest(request))
			const cookies = ['lax=1; SameSite=Lax; Path=/', 'none=1; SameSite=None; Secure; Path=/']
			response.writeHead(200, { 'set-cookie': cookies, 'content-type': 'text/plain' }).end('the application')
		})
		await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve))
		applicationOrigin = `http://localhost:${(application.address() as AddressInfo).port}`
		standIn = await createEntraStandIn(
			createDirectory({
				postLogoutRedirectUris: [SIGNED_OUT],
				frontchannelLogoutUri: `${applicationOrigin}/front-channel-logout`,
			}),
		)
	})
	after(async () => {
		await standIn.close()
		application.closeAllConnections()
		application.close()
	})
	beforeEach(() => {
		received.length = 0
		browser = createStandInBrowser(standIn)
	})

	const pages = (path: string, query: Record<string, string> = {}) =>
		`${standIn.pagesOrigin}/${standIn.tenantId}/oauth2/v2.0/${path}?${new URLSearchParams(query)}`
	const authorize = (query: Record<string, string> = {}) =>
		pages('authorize', {
			client_id: clientIds.web,
			redirect_uri: REDIRECT_URI,
			response_type: 'code',
			response_mode: 'form_post',
			scope: 'openid User.Read',
			...query,
		})

	test('are on plain http, on another site than the application, from the first to the last', async () => {
		const picker = await browser.follow(authorize())
		assert.equal(new URL(picker.url).origin, standIn.pagesOrigin)
		assert.match(standIn.pagesOrigin, /^http:\/\/127\.0\.0\.1:/)
		const formPost = await browser.press('Ada Lovelace')
		assert.equal(new URL(formPost.url).origin, standIn.pagesOrigin)
		assert.equal(formPost.form?.action, REDIRECT_URI)
		assert.equal(standIn.log.filter(({ status }) => status === 404).length, 0)
	})

	test('post the code across sites: Lax cookies of the application stay at home', async () => {
		const wanderer = createBrowser({ ca: standIn.ca })
		await wanderer.get(`${applicationOrigin}/`)
		const redirect_uri = `${applicationOrigin}/auth/redirect`
		await wanderer.follow(authorize({ redirect_uri }))
		const landed = await wanderer.press('Ada Lovelace')
		assert.equal(landed.html, 'the application')
		assert.deepEqual(
			received.map(({ method, cookie }) => ({ method, cookie })),
			[
				{ method: 'GET', cookie: '' },
				{ method: 'POST', cookie: 'none=1' },
			],
		)
	})

	test('say what they are, load nothing and list everybody', async () => {
		const { html, headers } = await browser.follow(authorize())
		assert.match(html, /Stand-in for development<\/strong> – not Microsoft/)
		assert.doesNotMatch(html, /<(script|link|img)\b|url\(|@import/)
		assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/)
		for (const person of Object.values(people)) assert.ok(html.includes(person.name), person.name)
	})

	test('take a typed user name, and say so when nobody has it', async () => {
		await browser.follow(authorize())
		const unknown = await browser.press('Sign in', { username: 'n<b>body@contoso.example' })
		assert.equal(unknown.status, 400)
		assert.match(unknown.html, /role="alert">There is nobody called “n&#60;b&#62;body@contoso\.example” here/)
		const known = await browser.press('Sign in', { username: ' ADA@contoso.example ' })
		assert.ok(known.form?.fields.code)
	})

	test('cancel into access_denied', async () => {
		await browser.follow(authorize())
		const cancelled = await browser.press('Cancel')
		assert.equal(cancelled.form?.fields.error, 'access_denied')
		assert.match(cancelled.form?.fields.error_description ?? '', /AADSTS65004/)
	})

	test('ask for consent to what was not granted before, once', async () => {
		await browser.follow(authorize({ scope: 'openid User.Read Files.Read' }))
		const consent = await browser.press('Ada Lovelace')
		assert.match(consent.html, /Files\.Read/)
		assert.doesNotMatch(consent.html, /Mail\.Read/)
		assert.ok((await browser.press('Accept')).form?.fields.code)
		const again = await browser.follow(authorize({ scope: 'openid User.Read Files.Read' }))
		assert.ok(again.form?.fields.code)
	})

	test('answer an interaction that has ended with a page', async () => {
		const stale = await browser.get(`${standIn.pagesOrigin}/interaction/gone`)
		assert.equal(stale.status, 400)
		assert.match(stale.html, /Start again from the application/)
	})

	test('sign out with a hint: every application in a frame, then back', async () => {
		const app = createClient(standIn)
		const wanderer = createBrowser({ ca: standIn.ca, origins: [standIn.pagesOrigin, applicationOrigin] })
		await wanderer.follow(authorize())
		await wanderer.press('Ada Lovelace')
		const { idToken } = await (await signIn(app, standIn, { browser: wanderer })).redeem()
		const query = { id_token_hint: idToken, post_logout_redirect_uri: SIGNED_OUT, state: 'xyz' }
		const end = await wanderer.follow(pages('logout', query))
		assert.equal(end.left, `${SIGNED_OUT}?state=xyz`)
		const [frame] = received
		const { searchParams, pathname } = new URL(frame?.url ?? '', applicationOrigin)
		assert.equal(pathname, '/front-channel-logout')
		assert.equal(searchParams.get('iss'), standIn.issuer)
		assert.equal(searchParams.get('sid'), decodeJwt(idToken).sid)
		const next = await wanderer.follow(authorize())
		assert.match(next.html, /Who are you today/)
	})

	test('ask before a sign-out that names nobody, and know whose redirect it is all the same', async () => {
		await browser.follow(authorize())
		await browser.press('Ada Lovelace')
		const question = await browser.follow(pages('logout', { post_logout_redirect_uri: SIGNED_OUT }))
		assert.match(question.html, /signed in as Ada Lovelace/)
		assert.equal((await browser.press('Sign out')).left, SIGNED_OUT)
		const signedOut = await browser.follow(pages('logout'))
		assert.match(signedOut.html, /You signed out/)
	})
})

describe('the two listeners', () => {
	let standIn: EntraStandIn
	let browser: Browser
	before(async () => {
		standIn = await createEntraStandIn({ pagesHost: 'localhost' })
		browser = createStandInBrowser(standIn)
	})
	after(() => standIn.close())

	test('are both told by the discovery document', async () => {
		const page = await browser.get(`${standIn.authority}/v2.0/.well-known/openid-configuration`)
		const document = page.json<Record<string, string>>()
		const origins = [
			'issuer',
			'token_endpoint',
			'jwks_uri',
			'authorization_endpoint',
			'end_session_endpoint',
		].map((name) => new URL(document[name] ?? '').origin)
		const { origin, pagesOrigin } = standIn
		assert.deepEqual(origins, [origin, origin, origin, pagesOrigin, pagesOrigin])
		assert.match(pagesOrigin, /^http:\/\/localhost:/)
	})

	test("answer 404 to what is the other's business", async () => {
		const path = (name: string) => `/${standIn.tenantId}/oauth2/v2.0/${name}`
		assert.equal((await browser.post(standIn.pagesOrigin + path('token'), { grant_type: 'x' })).status, 404)
		assert.equal(
			(await browser.get(`${standIn.pagesOrigin}/${standIn.tenantId}/discovery/v2.0/keys`)).status,
			404,
		)
		assert.equal((await browser.get(standIn.origin + path('authorize'))).status, 404)
		assert.equal((await browser.get(standIn.origin + path('logout'))).status, 404)
	})

	test('answer to no name but those of loopback', async () => {
		const status = await new Promise<number | undefined>((resolve, reject) => {
			get(standIn.pagesOrigin, { headers: { host: 'rebound.example' } }, (response) => {
				response.resume()
				resolve(response.statusCode)
			}).on('error', reject)
		})
		assert.equal(status, 421)
	})

	test('answer MSAL which hosts are one cloud', async () => {
		const page = await browser.get(`${standIn.origin}/common/discovery/instance`)
		const { metadata } = page.json<{ metadata: { aliases: string[] }[] }>()
		assert.deepEqual(metadata[0]?.aliases, [standIn.host])
	})
})

function describeRequest({ method = '', url = '', headers }: IncomingMessage) {
	return { method, url, cookie: headers.cookie ?? '' }
}
