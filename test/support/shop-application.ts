import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { Context, Middleware } from 'koa'
import { type Browser, createBrowser, type Page } from '../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets, createDirectory } from '../../dev/directory.js'
import { MapStore } from '../../examples/existing-app/map-store.js'
import { createShop } from '../../examples/existing-app/shop.js'
import {
	createMsalRoutes,
	createTokenBroker,
	type KoaMsalOptions,
	type RouteOptions,
	requireSignedIn,
	type SessionStore,
	sealedSessionStore,
	type TokenBroker,
} from '../../src/index.js'
import { createWorld, listen, type World } from './application.js'

const redirectPaths = ['/', '/user/authorized', '/account/back', '/tenant1/app/user/authorized']

/** A world whose provider knows the shop's addresses. */
export function createShopWorld(): Promise<World> {
	const { clients } = createDirectory({
		redirectUris: redirectPaths.map((path) => `http://localhost${path}`),
		postLogoutRedirectUris: ['http://localhost/', 'http://localhost/tenant1/app/'],
	})
	return createWorld({ clients })
}

/** How one shop is put together. */
export interface ShopParts {
	/** What the routes are given. */
	readonly routes?: RouteOptions
	/** Middleware of the application's before the routes. */
	readonly before?: readonly Middleware[]
	/** Middleware behind the guard of `/orders`, before the page. */
	readonly behind?: Middleware
	/** The store as it is, without a seal. */
	readonly unsealed?: boolean
	/** Instead of the shop's own store. */
	readonly sessions?: SessionStore
}

export interface ShopOptions extends ShopParts {
	/** Settings of the broker. */
	readonly settings?: Partial<Omit<KoaMsalOptions, 'auth'>> & {
		readonly auth?: Partial<KoaMsalOptions['auth']>
	}
	/** Where the browser sees the shop; default: where it is. */
	readonly basePath?: string
	/** Where the browser is sent back to. Default `/user/authorized`. */
	readonly redirectPath?: string
}

/** The shop of examples/existing-app, with the broker and the routes, behind an ingress. */
export interface ShopApplication {
	readonly broker: TokenBroker
	readonly store: MapStore
	/** The browser's view, without a slash at the end. */
	readonly address: string
	readonly errors: Error[]
	browser(): Browser
	signIn(browser: Browser, name?: string, path?: string): Promise<Page>
	/** Another shop in the place of this one, with its broker, while the work runs. */
	rebuilt(parts: ShopParts, work: (shop: ShopApplication) => Promise<void>): Promise<void>
	close(): Promise<void>
}

export async function createShopApplication(
	world: World,
	options: ShopOptions = {},
): Promise<ShopApplication> {
	const { settings: { auth, ...settings } = {}, basePath = '', redirectPath = '/user/authorized' } = options
	let handle: (request: IncomingMessage, response: ServerResponse) => unknown = () => {}
	const server = createServer((request, response) => handle(request, response))
	const origin = await listen(server)
	const ingress = basePath === '' ? undefined : startIngress(origin, basePath)
	const outside = ingress ? await listen(ingress) : origin
	const broker = await createTokenBroker({
		secrets: ['a test secret of more than 32 bytes: 0123456789'],
		network: { caFile: world.caFile },
		graph: { endpoint: `${world.graph.origin}/v1.0` },
		...(basePath !== '' && { basePath }),
		...settings,
		auth: {
			clientId: clientIds.web,
			clientSecret: clientSecrets.web,
			authority: world.standIn.authority,
			knownAuthorities: [world.standIn.host],
			redirectUri: `${outside}${basePath}${redirectPath}`,
			...auth,
		},
	})
	const address = `${outside}${basePath}`
	const browsers: Browser[] = []
	const build = (parts: ShopParts): ShopApplication => {
		const { routes, before = [], behind, unsealed, sessions } = parts
		const store = new MapStore()
		const select = routes?.session ?? ((ctx: Context) => ctx.session)
		const guard = requireSignedIn()
		const shop = createShop({
			sessions: unsealed ? ((sessions ?? store) as MapStore) : sealedSessionStore(sessions ?? store, broker),
			signIn: [...before, createMsalRoutes(broker, routes)],
			customersOnly: behind ? (ctx, next) => guard(ctx, () => behind(ctx, next)) : guard,
			customerOf: (ctx) =>
				(select(ctx) as { msal?: { account: { username: string } } } | null)?.msal?.account.username,
		})
		const errors: Error[] = []
		shop.on('error', (error: Error) => errors.push(error))
		handle = shop.callback()
		return {
			broker,
			store,
			address,
			errors,
			browser() {
				const browser = createBrowser()
				browsers.push(browser)
				return browser
			},
			async signIn(browser, name = 'Ada Lovelace', path = '/user/login') {
				const page = await browser.follow(`${address}${path}`)
				return page.url.startsWith(world.standIn.pagesOrigin) ? browser.press(name) : page
			},
			async rebuilt(more, work) {
				const before = handle
				try {
					await work(build(more))
				} finally {
					handle = before
				}
			},
			async close() {
				await Promise.all(browsers.map((browser) => browser.close()))
				for (const one of [server, ingress]) {
					one?.closeAllConnections()
					one?.close()
				}
				await broker.close()
			},
		}
	}
	return build(options)
}

/** What a cluster puts in front: it knows the shop by a path, and takes it away. */
function startIngress(target: string, basePath: string): Server {
	const { hostname, port } = new URL(target)
	return createServer((incoming, outgoing) => {
		const path = incoming.url ?? ''
		if (!path.startsWith(`${basePath}/`)) {
			outgoing.writeHead(404).end('another application')
			return
		}
		const { method, headers } = incoming
		const onward = request(
			{ host: hostname, port, method, headers, path: path.slice(basePath.length), agent: false },
			(answer) => {
				outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
				answer.pipe(outgoing)
			},
		)
		onward.once('error', () => outgoing.destroy())
		incoming.pipe(onward)
	})
}
