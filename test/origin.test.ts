import assert from 'node:assert/strict'
import {
	createServer as createHttpServer,
	type IncomingMessage,
	type RequestListener,
	request,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { createBrowser } from '../dev/cookie-jar-browser.js'
import { people } from '../dev/people.js'
import { BrokerError } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { sendRaw } from './support/raw-request.js'
import { createShopApplication } from './support/shop-application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const loopback = ['127.0.0.0/8', '::1']

/** Headers with which somebody says that they are somebody else. */
const forwarded = {
	forwarded: 'for=10.0.0.1;host=evil.example;proto=https',
	'x-forwarded-for': '10.0.0.1',
	'x-forwarded-host': 'evil.example',
	'x-forwarded-proto': 'https',
	'x-forwarded-port': '444',
	'x-forwarded-prefix': '/evil',
	'x-original-url': '//evil.example',
	'x-rewrite-url': '//evil.example',
	'x-original-host': 'evil.example',
}

describe('where a sign-in begins (get_url, get_route, DOMAIN)', () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, { secrets })
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	/** A GET with exactly these headers; `Host` too. */
	async function ask(at: Application, headers: Record<string, string>, path = '/user/login/orders') {
		const { hostname, port } = new URL(at.origin)
		const answer = await new Promise<IncomingMessage>((resolve, reject) =>
			request({ host: hostname, port, path, headers, agent: false }, resolve).once('error', reject).end(),
		)
		answer.resume()
		const location = answer.headers.location ?? ''
		return { status: answer.statusCode, location, cookies: answer.headers['set-cookie'] ?? [] }
	}

	/** The redirect URI that the provider is told, when a browser is sent there. */
	function redirectUriOf(location: string): string | null {
		return location.startsWith(`${world.standIn.pagesOrigin}/`)
			? new URL(location).searchParams.get('redirect_uri')
			: null
	}

	describe('C5: with headers of a proxy from a peer that is none', () => {
		it('is where the request is, whatever they say', async () => {
			const plain = await ask(app, {})
			const lying = await ask(app, forwarded)
			assert.equal(redirectUriOf(lying.location), `${app.origin}/user/authorized`)
			const attributes = ({ cookies }: typeof plain) => cookies.map((line) => line.replace(/^[^;]*/, ''))
			assert.deepEqual(attributes(lying), attributes(plain))
		})

		it('is that also when the application believes them (app.proxy)', async () => {
			const proxied = await createApplication(world, {
				secrets,
				configure: (koa) => {
					koa.proxy = true
				},
			})
			try {
				const { location } = await ask(proxied, forwarded)
				assert.equal(redirectUriOf(location), `${proxied.origin}/user/authorized`)
			} finally {
				await proxied.close()
			}
		})

		it('leads back where the address says', async () => {
			const browser = createBrowser({ headers: forwarded })
			const page = await app.signIn(browser, 'Ada Lovelace', '/orders')
			assert.equal(page.url, `${app.origin}/orders`)
			await browser.close()
		})
	})

	describe('C4: with a Host that is not ours', () => {
		for (const host of [
			'evil.example',
			'localhost.evil.example',
			'EVIL.example:1',
			'[2001:db8::1]:80',
			'127.1',
		])
			it(`tells the provider the configured address (${host})`, async () => {
				const { status, location } = await ask(app, { host })
				assert.equal(status, 303)
				assert.equal(redirectUriOf(location), `${app.origin}/user/authorized`)
			})

		/** What a raw request is answered: its status, and the redirect URI that the provider is told. */
		async function send(head: string, at = app): Promise<[number, string | null]> {
			const answer = await sendRaw(at.origin, `${head}Connection: close\r\n\r\n`)
			return [answer.status, redirectUriOf(answer.get('location'))]
		}
		const line = 'GET /user/login HTTP/1.1\r\n'
		const refused = [400, null]

		it('refuses one that is malformed, or comes twice, or not at all', async () => {
			const { host } = new URL(app.origin)
			assert.deepEqual(await send(`${line}Host: ${host}\r\n`), [303, `${app.origin}/user/authorized`])
			assert.deepEqual(await send(line), refused, 'no Host')
			for (const two of [
				`${host}\r\nHost: evil.example`,
				`evil.example\r\nHost: ${host}`,
				`${host}\r\nHOST: ${host}`,
			])
				assert.deepEqual(await send(`${line}Host: ${two}\r\n`), refused, two)
			const malformed = [
				'',
				'a@b',
				`${host}@evil.example`,
				'evil example',
				`${host}, evil.example`,
				'a/b',
				'a?b',
				'a#b',
			]
			const more = [
				'a\\b',
				'a:b',
				':80',
				'a:123456',
				'a:65536',
				'[::1',
				'::1',
				'[::g]',
				'1.2.3.4.5',
				'a%00b',
				'\xe9',
				'<a>',
			]
			for (const bad of [...malformed, ...more])
				for (const path of ['/user/login', '/user/info', '/private', '/elsewhere'])
					assert.deepEqual(await send(`GET ${path} HTTP/1.1\r\nHost: ${bad}\r\n`), refused, `${path} ${bad}`)
			assert.deepEqual(
				app.errors.filter((error) => !(error instanceof BrokerError)),
				[],
			)
		})

		it('needs none in HTTP/1.0', async () => {
			assert.deepEqual(await send('GET /user/login HTTP/1.0\r\n'), [303, `${app.origin}/user/authorized`])
		})

		it('believes no address in the request line', async () => {
			const { host } = new URL(app.origin)
			const ask = (address: string, said = host) => send(`GET ${address} HTTP/1.1\r\nHost: ${said}\r\n`)
			const configured = [303, `${app.origin}/user/authorized`]
			assert.deepEqual(await ask(`http://${host}/user/login`), configured)
			assert.deepEqual(await ask(`HTTP://${host.toUpperCase()}/user/login/orders?a=b`), configured)
			assert.deepEqual(await ask('http://evil.example/user/login', 'evil.example'), configured)
			const bad = ['http://evil.example/user/login', `http://a@${host}/user/login`, 'http://]/user/login']
			const more = ['http:///user/login', 'http://[/user/login', `https://${host}.evil.example/user/login`]
			const other = [
				`ftp://${host}/user/login`,
				'a://b/user/login',
				'http://%/user/login',
				'//a@]/user/login#x',
			]
			for (const address of [...bad, ...more, ...other, 'http://xn--0/user/login', 'http://a:b/user/login'])
				assert.deepEqual(await ask(address), refused, address)
			for (const address of ['http://]/private', 'http://[/', 'http://xn--0/x', '//a@]/x#y'])
				assert.deepEqual(await ask(address), refused, address)
			assert.deepEqual(
				app.errors.filter((error) => !(error instanceof BrokerError)),
				[],
			)
		})

		it('is refused by the routes alone too, where the session is the application’s own', async () => {
			const shop = await createShopApplication(world)
			try {
				const { origin, host } = new URL(shop.address)
				for (const head of [
					`GET http://]/user/login HTTP/1.1\r\nHost: ${host}\r\n`,
					`${line}Host: a\r\nHost: b\r\n`,
				]) {
					const { status, body } = await sendRaw(origin, `${head}Connection: close\r\n\r\n`)
					assert.deepEqual([status, JSON.parse(body).error], [400, 'ERR_BAD_REQUEST'])
				}
			} finally {
				await shop.close()
			}
		})
	})

	describe('on a developer’s machine', () => {
		it('goes from 127.0.0.1 to localhost when that is where the provider sends people back to', async () => {
			const { port } = new URL(app.origin)
			const answer = await ask(app, { host: `127.0.0.1:${port}` }, '/user/login/orders?page=2')
			assert.deepEqual([answer.status, answer.location], [303, `${app.origin}/user/login/orders?page=2`])
			assert.ok(!answer.cookies.some((line) => line.includes('msal-tx')), 'nothing has begun')
		})

		it('goes there too when a page asks for somebody who is signed in', async () => {
			const { port } = new URL(app.origin)
			const headers = { host: `127.0.0.1:${port}`, accept: 'text/html' }
			const answer = await ask(app, headers, '/private/token?x=1')
			assert.deepEqual([answer.status, answer.location], [303, `${app.origin}/private/token?x=1`])
			assert.ok(!answer.cookies.some((line) => line.includes('msal-tx')), 'nothing has begun')
			const there = await ask(app, { ...headers, host: new URL(app.origin).host }, '/private/token?x=1')
			assert.equal(redirectUriOf(there.location), `${app.origin}/user/authorized`)
		})

		it('goes from localhost to 127.0.0.1 when it is the other way around', async () => {
			const { host, port } = new URL(app.origin)
			const configured = `http://127.0.0.1:${port}`
			const other = await createApplication(world, {
				secrets,
				auth: { redirectUri: `${configured}/user/authorized` },
			})
			try {
				const { location } = await ask(other, { host })
				assert.equal(location, `${configured}/user/login/orders`)
				const there = await ask(other, { host: `127.0.0.1:${port}` })
				assert.ok(there.location.startsWith(world.standIn.pagesOrigin), there.location)
			} finally {
				await other.close()
			}
		})

		it('does not go round in circles behind a proxy that changes the Host', async () => {
			const proxy = await startProxy((listener) => createHttpServer(listener), 'http', { host: 'changed' })
			const behind = await createApplication(world, {
				secrets,
				auth: { redirectUri: `${proxy.origin}/user/authorized` },
			})
			proxy.target = behind.origin
			const browser = createBrowser()
			try {
				await browser.follow(`${proxy.origin}/user/login/orders`)
				assert.equal((await browser.press('Ada Lovelace')).url, `${proxy.origin}/orders`)
			} finally {
				await browser.close()
				await proxy.close()
				await behind.close()
			}
		})
	})

	describe('behind a proxy that ends TLS and is trusted', () => {
		let proxy: Awaited<ReturnType<typeof startProxy>>
		let behind: Application
		let configured: string
		before(async () => {
			proxy = await startProxy((listener) => createHttpsServer(world.standIn.tls, listener), 'https')
			configured = proxy.origin
			behind = await createApplication(world, {
				secrets,
				trustedProxies: loopback,
				auth: { redirectUri: `${configured}/user/authorized` },
			})
			proxy.target = behind.origin
		})
		after(async () => {
			await proxy.close()
			await behind.close()
		})

		const by = (host: string, proto = 'https') => ({
			host: 'internal',
			'x-forwarded-host': host,
			'x-forwarded-proto': proto,
		})

		it('B3: signs in and out, with Secure cookies that only this host gets', async () => {
			const browser = createBrowser({ ca: `${world.standIn.ca}` })
			const { hostname } = new URL(configured)
			assert.equal(hostname, 'localhost')
			await browser.follow(`${configured}/user/login/orders`)
			const page = await browser.press('Ada Lovelace')
			assert.deepEqual([page.status, page.url], [200, `${configured}/orders`])
			const token = (await browser.get(`${configured}/token`)).json<{ username: string }>()
			assert.equal(token.username, people.ada.upn)
			const set = browser.setCookies.filter(({ url }) => url.startsWith(configured))
			for (const { name, attributes } of set) {
				assert.match(name, /^__Host-msal-/)
				assert.ok('secure' in attributes && 'httponly' in attributes && !('domain' in attributes), name)
				assert.equal(attributes.path, '/')
				assert.equal(attributes.samesite, name.includes('-tx-') ? 'None' : 'Lax')
			}
			assert.equal(set.filter(({ name }) => !name.includes('-tx-')).length, 1)
			const before = browser.setCookies.length
			await browser.get(`${configured}/user/logout`)
			const [deleted, ...more] = browser.setCookies.slice(before)
			assert.match(
				deleted?.raw ?? '',
				/^__Host-msal-\w+=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
			)
			assert.deepEqual(more, [])
			assert.equal((await browser.get(`${configured}/token`)).status, 401)
			await browser.close()
		})

		it('goes to the configured address from another name or scheme, and begins there', async () => {
			const { host } = new URL(configured)
			for (const headers of [
				by('www.example'),
				by('www.example, internal'),
				by(host, 'http'),
				by(host, 'http, https'),
			]) {
				const answer = await ask(behind, headers)
				assert.deepEqual([answer.status, answer.location], [303, `${configured}/user/login/orders`])
				assert.ok(!answer.cookies.some((line) => line.includes('msal-tx')))
			}
			for (const headers of [
				by(host),
				by(host.toUpperCase(), 'HTTPS'),
				by(`${host}, internal`),
				{ host: 'internal' },
			]) {
				const answer = await ask(behind, headers)
				assert.equal(redirectUriOf(answer.location), `${configured}/user/authorized`, JSON.stringify(headers))
			}
		})

		it('takes a port that goes without saying for none', async () => {
			const standard = await createApplication(world, {
				secrets,
				trustedProxies: loopback,
				auth: { redirectUri: 'https://app.example/user/authorized' },
			})
			try {
				for (const host of ['app.example', 'app.example:443', 'APP.example'])
					assert.equal(
						redirectUriOf((await ask(standard, by(host))).location),
						'https://app.example/user/authorized',
						host,
					)
				const other = await ask(standard, by('app.example:444'))
				assert.equal(other.location, 'https://app.example/user/login/orders')
			} finally {
				await standard.close()
			}
		})

		it('does not go round in circles when the proxy always says another name', async () => {
			proxy.headers = by('internal.example', 'http')
			const browser = createBrowser({ ca: world.standIn.ca })
			try {
				await browser.follow(`${configured}/user/login/orders`)
				assert.equal((await browser.press('Ada Lovelace')).url, `${configured}/orders`)
			} finally {
				proxy.headers = {}
				await browser.close()
			}
		})

		it('never goes anywhere else, whatever the proxy passes on', async () => {
			for (const host of ['evil.example', '//evil.example', 'a@b', 'x y', '[', ',', 'evil.example/..'])
				for (const proto of ['https', 'http', 'javascript', 'x y', ',']) {
					const { location } = await ask(behind, by(host, proto))
					const goes = [`${configured}/user/login/orders`, world.standIn.pagesOrigin]
					assert.ok(
						goes.some((address) => location.startsWith(address)),
						location,
					)
				}
		})
	})

	/** A reverse proxy on a port of its own. */
	async function startProxy(
		create: (listener: RequestListener) => Server,
		scheme: 'http' | 'https',
		{ host = 'kept' }: { host?: 'kept' | 'changed' } = {},
	) {
		const proxy = {
			origin: '',
			target: '',
			/** Sent along, in place of the browser's. */
			headers: {} as Record<string, string>,
			async close() {
				await new Promise((resolve) => server.close(resolve))
			},
		}
		const server = create((incoming, outgoing) => {
			const target = new URL(proxy.target)
			const headers = {
				...incoming.headers,
				...(host === 'changed' && { host: target.host }),
				...proxy.headers,
				connection: 'close',
			}
			const onward = request(
				{
					host: target.hostname,
					port: target.port,
					method: incoming.method,
					path: incoming.url,
					headers,
					agent: false,
				},
				(answer) => {
					outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
					answer.pipe(outgoing)
				},
			)
			onward.once('error', () => outgoing.destroy())
			incoming.pipe(onward)
		})
		await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
		proxy.origin = `${scheme}://localhost:${(server.address() as AddressInfo).port}`
		return proxy
	}
})
