import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { createCookieJar } from '../../dev/cookie-jar.js'
import { createBrowser } from '../../dev/cookie-jar-browser.js'

const TOP_LEVEL_GET = { method: 'GET', crossSite: false, topLevel: true }

describe('the cookie jar', () => {
	test('keeps cookies by host name and path, whatever the port', () => {
		const jar = createCookieJar()
		jar.store(new URL('http://localhost:1/a/b'), ['here=1', 'everywhere=2; Path=/', 'deep=3; Path=/a/b/c'])
		const sent = (url: string) => jar.headerFor(new URL(url), TOP_LEVEL_GET)
		assert.equal(sent('http://localhost:2/a/x'), 'here=1; everywhere=2')
		assert.equal(sent('http://localhost:2/ab'), 'everywhere=2')
		assert.equal(sent('http://127.0.0.1:1/a/b'), '')
	})

	test('forgets what has expired, and remembers that it was set', () => {
		const jar = createCookieJar()
		const url = new URL('http://localhost/')
		jar.store(url, ['a=1', 'b=1; Max-Age=100', 'c=1'])
		jar.store(url, ['a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'c=; Max-Age=0'])
		assert.equal(jar.headerFor(url, TOP_LEVEL_GET), 'b=1')
		assert.equal(jar.seen.length, 5)
	})

	test('refuses what a browser refuses', () => {
		const jar = createCookieJar()
		const refused = [
			'__Host-a=1; Path=/',
			'__Host-b=1; Secure',
			'__Host-c=1; Secure; Path=/; Domain=localhost',
			'__Secure-d=1',
			'e=1; SameSite=None',
			'f=1; Domain=other.example',
		]
		jar.store(new URL('http://localhost/x'), [...refused, '__Host-ok=1; Secure; Path=/'])
		assert.deepEqual(
			jar.cookies.map(({ name }) => name),
			['__Host-ok'],
		)
	})

	test('sends across sites what SameSite lets it', () => {
		const jar = createCookieJar()
		const url = new URL('http://localhost/')
		jar.store(url, ['none=1; SameSite=None; Secure', 'lax=1; SameSite=Lax', 'strict=1; SameSite=Strict'])
		const sent = (method: string, topLevel = true) =>
			jar.headerFor(url, { method, crossSite: true, topLevel })
		assert.equal(sent('GET'), 'none=1; lax=1')
		assert.equal(sent('POST'), 'none=1')
		assert.equal(sent('GET', false), '', 'a frame of another site')
	})
})

describe('the browser', () => {
	let server: Server
	let origin: string
	before(async () => {
		server = createServer((request, response) => {
			const html = (body: string) => response.writeHead(200, { 'content-type': 'text/html' }).end(body)
			const { pathname } = new URL(request.url ?? '/', 'http://localhost')
			if (pathname === '/away')
				return response.writeHead(302, { location: 'http://elsewhere.example/x' }).end()
			if (pathname === '/loop') return response.writeHead(302, { location: '/loop' }).end()
			if (pathname === '/redirect')
				return response.writeHead(303, { location: '/form?a=1', 'set-cookie': 's=1' }).end()
			if (pathname === '/form') {
				return html(`<form method="post" action="/echo?q=1&amp;r=2"><input name=x value="&quot;1&#x22;">
					<button name="go" value="no">No</button><button name="go" value="yes"><b>Yes</b>, go</button></form>`)
			}
			let body = ''
			request.on('data', (chunk) => {
				body += chunk
			})
			request.on('end', () => {
				response.setHeader('content-type', 'application/json')
				response.end(
					JSON.stringify({ url: request.url, method: request.method, body, cookie: request.headers.cookie }),
				)
			})
		})
		await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
		origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
	})
	after(() => {
		server.closeAllConnections()
		server.close()
	})

	test('follows redirects, reads forms and presses their buttons', async () => {
		const browser = createBrowser()
		const page = await browser.follow(`${origin}/redirect`)
		assert.equal(page.url, `${origin}/form?a=1`)
		assert.deepEqual(page.form?.fields, { x: '"1"' })
		const echo = (await browser.press('Yes, go')).json<Record<string, string>>()
		assert.deepEqual(echo, { url: '/echo?q=1&r=2', method: 'POST', body: 'x=%221%22&go=yes', cookie: 's=1' })
		assert.deepEqual(
			browser.setCookies.map(({ raw }) => raw),
			['s=1'],
		)
		await browser.close()
	})

	test('get and post go one step', async () => {
		const browser = createBrowser()
		const redirect = await browser.get(`${origin}/redirect`)
		assert.equal(redirect.status, 303)
		assert.equal(redirect.headers.get('location'), '/form?a=1')
		assert.equal((await browser.post(`${origin}/echo`, { a: 'b c' })).json<{ body: string }>().body, 'a=b+c')
		await browser.close()
	})

	test('stops in front of an origin that is not allowed, and after too many redirects', async () => {
		const browser = createBrowser()
		const page = await browser.follow(`${origin}/away`)
		assert.equal(page.left, 'http://elsewhere.example/x')
		await assert.rejects(browser.follow(`${origin}/loop`), /More than 25 redirects/)
		await assert.rejects(browser.press('Nothing'), /No button "Nothing"/)
		await browser.close()
	})
})
