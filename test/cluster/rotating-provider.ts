import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientId, clientSecret, grantedScopes, peopleCount, tenantId, tokensOf } from '../../bench/people.js'
import { createSessionMaker } from '../../bench/sessions.js'
import { createDevCertificates } from '../../dev/certificates.js'
import { listen } from '../../dev/listen.js'
import type { AuthOptions } from '../../src/index.js'
import type { Cache } from '../support/expire.js'
import type { Session } from './setting.js'

/** A session that never signed in, and its tokens, which end at the same second as everybody's. */
export interface Seeded {
	readonly session: Session
	readonly cache: Cache
}

/** A token endpoint for thousands of refreshes, which takes each refresh token once. */
export interface RotatingProvider {
	readonly caFile: string
	readonly posts: number
	/** Connections that they came by. */
	readonly connections: number
	/** When each of them came, in milliseconds since the epoch. */
	readonly postedAt: readonly number[]
	/** Refresh tokens that were used before, or that it does not know. */
	readonly refused: number
	/** The most refreshes that one process had under way at a time, by its name. */
	readonly mostInFlight: ReadonlyMap<string, number>
	/** The refresh token of a session that it takes next. */
	refreshToken(index: number): string
	/** The registration of a process whose refreshes are counted under this name. */
	auth(process: string): AuthOptions
	close(): Promise<void>
}

const tokenPath = `/${tenantId}/oauth2/v2.0/token`
const nowInSeconds = () => Math.floor(Date.now() / 1000)

/** @param count of sessions @param life of an access token, in seconds */
export async function createRotatingProvider(count: number, latency: number, life = 3600) {
	const certificates = await createDevCertificates()
	const folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
	const caFile = join(folder, 'ca.pem')
	await writeFile(caFile, certificates.ca)
	const generations = new Array<number>(count).fill(0)
	const inFlight = new Map<string, number>()
	const mostInFlight = new Map<string, number>()
	const postedAt: number[] = []
	let refused = 0
	let connections = 0

	async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const process = request.url?.split('?')[0]?.split('/').pop() ?? ''
		const now = (inFlight.get(process) ?? 0) + 1
		inFlight.set(process, now)
		mostInFlight.set(process, Math.max(now, mostInFlight.get(process) ?? 0))
		postedAt.push(Date.now())
		const sent = new URLSearchParams(await text(request)).get('refresh_token') ?? ''
		const index = Number(sent.split('.')[0])
		const good = sent === refreshToken(index)
		if (good) generations[index] = (generations[index] ?? 0) + 1
		else refused++
		await sleep(latency)
		inFlight.set(process, (inFlight.get(process) ?? 0) - 1)
		response.writeHead(good ? 200 : 400, { 'content-type': 'application/json' })
		response.end(JSON.stringify(good ? tokens(index) : { error: 'invalid_grant' }))
	}

	const refreshToken = (index: number) => `${index}.${generations[index]}`
	function tokens(index: number) {
		const made = tokensOf(index % peopleCount, 'refreshed', `${origin}/${tenantId}/v2.0`, startedAt)
		return {
			token_type: 'Bearer',
			scope: grantedScopes,
			expires_in: life,
			access_token: `${made.accessToken}-${index}-${generations[index]}`,
			refresh_token: refreshToken(index),
			id_token: made.idToken,
			client_info: made.clientInfo,
		}
	}

	const startedAt = nowInSeconds()
	const { key, cert } = certificates
	const server = createServer({ key, cert, keepAliveTimeout: 60_000 }, (request, response) => {
		answer(request, response).catch(() => response.destroy())
	})
	server.on('secureConnection', () => connections++)
	const host = await listen(server, { host: 'localhost', port: 0, variable: 'PORT' })
	const origin = `https://${host}`
	const authority = `${origin}/${tenantId}`

	const provider: RotatingProvider = {
		caFile,
		get posts() {
			return postedAt.length
		},
		get connections() {
			return connections
		},
		postedAt,
		get refused() {
			return refused
		},
		mostInFlight,
		refreshToken,
		auth: (process) => ({
			clientId,
			clientSecret,
			authority,
			redirectUri: 'http://localhost/user/authorized',
			authorityMetadata: JSON.stringify({
				issuer: `${authority}/v2.0`,
				authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
				token_endpoint: `${origin}${tokenPath}/${process}`,
				end_session_endpoint: `${authority}/oauth2/v2.0/logout`,
				jwks_uri: `${authority}/discovery/v2.0/keys`,
			}),
		}),
		async close() {
			server.closeAllConnections()
			await new Promise((done) => server.close(done))
			await rm(folder, { recursive: true })
		},
	}

	const world = { origin, host, authority, authorityMetadata: '', caFile, startedAt }
	const maker = createSessionMaker({ operation: 'refresh' }, world)
	const seeded = generations.map((_, index): Seeded => {
		const { msal, cache: json } = maker.session(index)
		const cache = JSON.parse(json) as Cache
		for (const [name, entries] of Object.entries(cache)) cache[name] = renamed(entries)
		for (const entry of Object.values(cache.RefreshToken ?? {})) entry.secret = refreshToken(index)
		return { session: { msal }, cache }
	})
	return { provider, seeded }
}

/** As MSAL names its entries today, so that what it writes replaces what was there: one dash fewer. */
function renamed(entries: Cache[string]): Cache[string] {
	return Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name.replace(/--$/, '-'), entry]))
}
