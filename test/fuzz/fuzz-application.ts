import { createHmac, createSecretKey } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { close } from '../../dev/listen.js'
import { koaMsal, memoryTokenStore, requireSignedIn, startSignIn, type TokenBroker } from '../../src/index.js'
import { type CookieSignatures, createCookieSignatures } from '../../src/koa/cookie-signatures.js'
import { sessionCookie, transactionCookie } from '../../src/koa/cookies.js'
import { createSealer, type Sealer } from '../../src/sealing.js'
import { resolveSettings } from '../../src/settings.js'
import type { CannedProvider } from './canned-provider.js'
import { createRawClient, type RawAnswer } from './raw-client.js'

/** A running application, and its secrets: what it left in a store or a cookie can be read, and odd things put there. */
export interface FuzzApplication {
	readonly host: string
	readonly origin: string
	readonly sealer: Sealer
	/** Of session ids, under the secret of the application; and under another. */
	readonly signatures: CookieSignatures
	readonly foreignSignatures: CookieSignatures
	readonly sessionCookie: string
	/** Begins the names of the cookies of sign-ins under way. */
	readonly transactionCookie: string
	/** Stores a session under an id, sealed well, whatever its text is. */
	plant(id: string, text: string): void
	forget(id: string): void
	/** What a body parser in front has made of the next request. */
	parsed: { readonly value: unknown } | undefined
	/** Where the next request to `/start` wants to go after its sign-in. */
	returnTo: unknown
	/** Errors that reached Koa, those that are the client's own fault apart. */
	readonly errors: Error[]
	send(request: string | Buffer): Promise<RawAnswer | undefined>
	get(path: string, cookie?: string): Promise<RawAnswer | undefined>
	/** Begins a sign-in. */
	begin(): Promise<{ readonly cookie: string; readonly state: string; readonly nonce: string }>
	/** Posts a provider's answer to it. */
	complete(cookie: string, body: string): Promise<RawAnswer | undefined>
	/** The sessions of somebody. */
	ticketsOf(tenantId: string, objectId: string): ReturnType<TokenBroker['sessions']['find']>
	close(): Promise<void>
}

const secret = 'the secret of an application under fuzz, 0123456789'
export const clientId = '22222222-3333-4444-8555-666666666666'

export async function createFuzzApplication(provider: CannedProvider): Promise<FuzzApplication> {
	const app = new Koa()
	const errors: Error[] = []
	app.on('error', (error: Error) => errors.push(error))
	const server = createServer((request, response) => handle(request, response))
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
	const { port } = server.address() as AddressInfo
	const host = `localhost:${port}`
	const store = memoryTokenStore()
	const options = {
		auth: {
			clientId,
			authority: provider.authority,
			knownAuthorities: [provider.host],
			authorityMetadata: provider.metadata,
			redirectUri: `http://${host}/user/authorized`,
			allowedTenants: 'any' as const,
			clientSecret: 'no-secret',
		},
		store,
		secrets: [secret],
		pool: { threads: 1 },
		network: { caFile: provider.caFile },
	}
	const { broker, msalSession, msalRoutes } = await koaMsal(options)
	const settings = resolveSettings(options)
	const signaturesUnder = (text: string) =>
		createCookieSignatures({ ...settings, secrets: [createSecretKey(Buffer.from(text))] })
	const keyOf = (id: string) =>
		`${settings.namespace}:s:${createHmac('sha256', clientId).update(id).digest('base64url')}`
	const sealer = createSealer(settings.secrets, clientId)

	app.use((ctx, next) => {
		if (fuzzed.parsed) (ctx.request as { body?: unknown }).body = fuzzed.parsed.value
		return next()
	})
	app.use(msalSession)
	app.use(msalRoutes)
	app.use(async (ctx) => {
		if (ctx.path === '/write') ctx.session.written = 'here'
		if (ctx.path === '/start') return startSignIn(ctx, { returnTo: fuzzed.returnTo as string })
		if (ctx.path === '/private') await requireSignedIn()(ctx, async () => {})
		const token = ctx.path === '/token' ? await broker.acquireSilent(ctx.session) : undefined
		ctx.body = {
			tenantId: token?.account.tenantId,
			names: Object.keys(ctx.session),
			polluted: ({} as { polluted?: unknown }).polluted ?? false,
		}
	})
	const handle = app.callback()
	const client = createRawClient(port)
	const fuzzed: FuzzApplication = {
		host,
		origin: `http://${host}`,
		sealer,
		signatures: createCookieSignatures(settings),
		foreignSignatures: signaturesUnder('another secret, which this application has never had'),
		sessionCookie: sessionCookie(settings).name,
		transactionCookie: transactionCookie(settings, '').name,
		plant: (id, text) =>
			void store.sessions.set(keyOf(id), sealer.seal('session', keyOf(id), text), { ttl: 60_000 }),
		forget: (id) => void store.sessions.delete(keyOf(id)),
		parsed: undefined,
		returnTo: undefined,
		errors,
		send: (request) => client.send(request),
		get: (path, cookie) =>
			client.send(
				`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n${cookie === undefined ? '' : `cookie: ${cookie}\r\n`}\r\n`,
			),
		async begin() {
			const answer = await fuzzed.get('/user/login')
			const [line = ''] = answer?.headers.get('set-cookie') ?? []
			const [cookie = ''] = line.split(';')
			const { searchParams } = new URL(answer?.headers.get('location')?.[0] ?? '')
			return { cookie, state: searchParams.get('state') ?? '', nonce: searchParams.get('nonce') ?? '' }
		},
		complete: (cookie, body) =>
			client.send(
				`POST /user/authorized HTTP/1.1\r\nhost: ${host}\r\ncookie: ${cookie}\r\n` +
					`content-type: application/x-www-form-urlencoded\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
			),
		ticketsOf: (tenantId, objectId) => broker.sessions.find({ tenantId, objectId }),
		async close() {
			client.close()
			await close(server)
			await msalSession.close()
			await broker.close()
		},
	}
	return fuzzed
}
