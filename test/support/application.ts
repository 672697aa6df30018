import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Koa, { type Context } from 'koa'
import { type ClientCertificate, createClientCertificate } from '../../dev/certificates.js'
import { type Browser, createBrowser, type Page } from '../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets, createDirectory } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn, type EntraStandInOptions } from '../../dev/entra-stand-in.js'
import { createGraphStub, type GraphStub } from '../../dev/graph-stub.js'
import { type KoaMsal, type KoaMsalOptions, koaMsal, requireSignedIn } from '../../src/index.js'

/** The provider and Graph, for a whole test file. */
export interface World {
	readonly standIn: EntraStandIn
	readonly graph: GraphStub
	readonly certificate: ClientCertificate
	readonly caFile: string
	close(): Promise<void>
}

/** One for all worlds of a process: an RSA key takes long to find. */
let ofClient: Promise<ClientCertificate> | undefined

export async function createWorld(options: Partial<EntraStandInOptions> = {}): Promise<World> {
	ofClient ??= createClientCertificate()
	const certificate = await ofClient
	const directory = createDirectory({
		redirectUris: ['http://localhost/user/authorized', 'https://localhost/user/authorized'],
		postLogoutRedirectUris: ['http://localhost/', 'http://localhost/goodbye'],
		certificateJwk: certificate.publicJwk,
	})
	const standIn = await createEntraStandIn({ clients: directory.clients, autoLogin: 'hinted', ...options })
	const graph = await createGraphStub({ standIn })
	const directoryOfFiles = await mkdtemp(join(tmpdir(), 'koa-msal-'))
	const caFile = join(directoryOfFiles, 'ca.pem')
	writeFileSync(caFile, standIn.ca)
	return {
		standIn,
		graph,
		certificate,
		caFile,
		async close() {
			await Promise.all([standIn.close(), graph.close()])
			await rm(directoryOfFiles, { recursive: true })
		},
	}
}

/** A Koa application that signs people in, on a port of its own. */
export interface Application extends KoaMsal {
	readonly app: Koa
	readonly server: Server
	readonly origin: string
	/** Errors that reached Koa. */
	readonly errors: Error[]
	/** Session data, as a handler saw it last. */
	readonly seen: { session?: Record<string, unknown> | null }
	browser(): Browser
	/** Signs somebody in, in this browser, and returns the page they end on. */
	signIn(browser: Browser, name?: string, returnTo?: string): Promise<Page>
	close(): Promise<void>
}

/** What a test can change: any setting but those that tie the application to its world. */
export type Overrides = Partial<Omit<KoaMsalOptions, 'auth'>> & {
	readonly auth?: Partial<KoaMsalOptions['auth']>
	readonly configure?: (app: Koa, parts: KoaMsal) => void
}

export async function createApplication(world: World, overrides: Overrides = {}): Promise<Application> {
	const { configure, auth, ...settings } = overrides
	const app = new Koa()
	const errors: Error[] = []
	app.on('error', (error: Error) => errors.push(error))
	// The port is known before the middleware is, and Koa composes it when asked for its callback.
	const server = createServer((request, response) => app.callback()(request, response))
	const origin = await listen(server)
	const ownCredential = auth?.clientCertificate || auth?.clientAssertion || auth?.clientSecret
	const parts = await koaMsal({
		network: { caFile: world.caFile },
		graph: { endpoint: `${world.graph.origin}/v1.0` },
		...settings,
		auth: {
			clientId: clientIds.web,
			authority: world.standIn.authority,
			knownAuthorities: [world.standIn.host],
			redirectUri: `${origin}/user/authorized`,
			...(!ownCredential && { clientSecret: clientSecrets.web }),
			...auth,
		},
	}).catch((error: unknown) => {
		server.close()
		throw error
	})
	const seen: Application['seen'] = {}
	app.use(parts.msalSession)
	app.use(parts.msalRoutes)
	configure?.(app, parts)
	app.use(async (ctx, next) => {
		await next()
		seen.session = ctx.session ? JSON.parse(JSON.stringify(ctx.session)) : null
	})
	app.use(async (ctx, next) => (ctx.path.startsWith('/private') ? requireSignedIn()(ctx, next) : next()))
	app.use((ctx) => handle(ctx, parts))
	const browsers: Browser[] = []
	return {
		...parts,
		app,
		server,
		origin,
		errors,
		seen,
		browser() {
			const browser = createBrowser()
			browsers.push(browser)
			return browser
		},
		async signIn(browser, name = 'Ada Lovelace', returnTo = '') {
			await browser.follow(`${origin}/user/login${returnTo}`)
			return browser.press(name)
		},
		async close() {
			await Promise.all(browsers.map((browser) => browser.close()))
			server.closeAllConnections()
			await new Promise((resolve) => server.close(resolve))
			await parts.broker.close()
		},
	}
}

/** `/token[?force]` acquires, `/anonymous` touches nothing, everything else says where one is. */
async function handle(ctx: Context, { broker }: KoaMsal): Promise<void> {
	if (ctx.path === '/token' || ctx.path === '/private/token') {
		const scope = ctx.query.scope
		const { outcome, account, accessToken } = await broker.acquireSilent(ctx.session, {
			forceRefresh: ctx.query.force !== undefined,
			...(typeof scope === 'string' && { scopes: [scope] }),
		})
		ctx.body = { outcome, username: account.username, objectId: account.objectId, length: accessToken.length }
	} else if (ctx.path === '/keep') {
		ctx.session.kept = ctx.query.value
		ctx.body = 'kept'
	} else if (ctx.path === '/kept') ctx.body = { kept: ctx.session.kept ?? null }
	else ctx.body = { path: ctx.path, search: ctx.search }
}

export async function listen(server: Server): Promise<string> {
	await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
	return `http://localhost:${(server.address() as AddressInfo).port}`
}

/** The settings of the web application at the stand-in, as the environment of a process that runs with them. */
export function environmentOf({ standIn, caFile }: World, origin: string): Record<string, string> {
	return {
		AZURE_CLIENT_ID: clientIds.web,
		AZURE_CLIENT_SECRET: clientSecrets.web,
		AZURE_TENANT_ID: standIn.tenantId,
		AZURE_AUTHORITY_HOST: standIn.origin,
		MSAL_REDIRECT_URI: `${origin}/user/authorized`,
		MSAL_SECRETS: 'a test secret of more than 32 bytes: 0123456789',
		NODE_EXTRA_CA_CERTS: caFile,
	}
}
