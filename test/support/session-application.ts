import { createServer } from 'node:http'
import Koa, { type Context } from 'koa'
import { createMsalSession, type KoaMsalOptions, type MsalSession } from '../../src/index.js'
import { listen } from './application.js'

export const sessionClientId = '11111111-2222-3333-4444-555555555555'

/** An answer of a {@link SessionApplication}. */
export interface Answer {
	readonly status: number
	readonly headers: Headers
	readonly text: string
	/** `name=value` of the session cookie that was set, `undefined` when none was. */
	readonly cookie: string | undefined
	/** Whether the session cookie was deleted. */
	readonly cleared: boolean
	/** Set-Cookie lines. */
	readonly lines: readonly string[]
}

/** A Koa application with sessions and nothing else: no provider is needed. */
export interface SessionApplication {
	readonly app: Koa
	readonly origin: string
	readonly session: MsalSession
	/** Errors that reached Koa. */
	readonly errors: Error[]
	get(path: string, cookie?: string, headers?: Readonly<Record<string, string>>): Promise<Answer>
	close(): Promise<void>
}

/** What `createMsalSession` needs at least. */
export function sessionOptions(overrides: Partial<KoaMsalOptions> = {}): KoaMsalOptions {
	return {
		auth: {
			clientId: sessionClientId,
			authority: 'https://login.example/tenant',
			redirectUri: 'http://localhost/user/authorized',
			clientSecret: 'no provider is asked',
		},
		secrets: ['a test secret of more than 32 bytes: 0123456789'],
		...overrides,
	}
}

/** @param handle answers every request; what it returns is the body, as JSON */
export async function createSessionApplication(
	overrides: Partial<KoaMsalOptions>,
	handle: (ctx: Context) => unknown,
): Promise<SessionApplication> {
	const session = createMsalSession(sessionOptions(overrides))
	const app = new Koa()
	const errors: Error[] = []
	app.on('error', (error: Error) => errors.push(error))
	app.use(session)
	app.use(async (ctx) => {
		const body = await handle(ctx)
		if (body !== undefined) ctx.body = { body }
	})
	const server = createServer(app.callback())
	const origin = await listen(server)
	return {
		app,
		origin,
		session,
		errors,
		get: (path, cookie, headers) => request(`${origin}${path}`, cookie, headers),
		async close() {
			server.closeAllConnections()
			await new Promise((resolve) => server.close(resolve))
			await session.close()
		},
	}
}

/** One GET; redirects are not followed and no cookie is kept. */
export async function request(
	url: string,
	cookie?: string,
	headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
	const response = await fetch(url, {
		redirect: 'manual',
		headers: { ...headers, ...(cookie !== undefined && { cookie }) },
	})
	const lines = response.headers.getSetCookie()
	const line = lines.find((candidate) => /^(__Host-)?msal-[0-9a-f]{8}=/.test(candidate))
	const pair = line?.split(';')[0]
	return {
		status: response.status,
		headers: response.headers,
		text: await response.text(),
		cookie: pair?.endsWith('=') ? undefined : pair,
		cleared: pair?.endsWith('=') ?? false,
		lines,
	}
}

/** Something to wait for. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
	let open = () => {}
	const opened = new Promise<void>((resolve) => {
		open = resolve
	})
	return { opened, open }
}
