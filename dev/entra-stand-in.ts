import { randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { JSONWebKeySet, JWTPayload } from 'jose'
import { createDevCertificates, type DevCertificates } from './certificates.js'
import { type ApiResource, createDirectory, type DevClient } from './directory.js'
import { createFaultQueue } from './faults.js'
import { createFrontDoor, type Fault, type FaultTarget } from './front-door.js'
import { type AsyncHandler, guardHandler } from './guard-handler.js'
import { close, listen } from './listen.js'
import { loadOidcProvider, quietly } from './load-oidc-provider.js'
import { createMemoryStore, forgetTokens } from './memory-adapter.js'
import { defaultPeople, type Person } from './people.js'
import { buildProvider } from './provider.js'
import { assertDevelopmentOnly } from './refusals.js'
import { createRequestLog, type LogEntry, type RequestLog } from './request-log.js'
import { createSigningKey, type ForgedKey, publicKeys, signClaims } from './signing-keys.js'
import { createTenant } from './tenant.js'

export type { RequestKind } from './exchange.js'
export type { TokenRewrite } from './faults.js'
export type { Fault } from './front-door.js'
export type { LogEntry } from './request-log.js'
export type { ForgedKey } from './signing-keys.js'

/** How a stand-in is set up; everything has a default. */
export interface EntraStandInOptions {
	/** Default: made for this run. */
	readonly tls?: DevCertificates
	/** Default `createDirectory().tenantId`. */
	readonly tenantId?: string
	/** Host of the https listener (token endpoint, keys, discovery). Default `localhost`. */
	readonly host?: string
	/** Port of the https listener. Default 0: any. */
	readonly port?: number
	/** Host of the pages. Default `127.0.0.1`, cross-site to an application on `localhost`, as Entra is. */
	readonly pagesHost?: string
	/** Port of the pages. Default 0: any. */
	readonly pagesPort?: number
	/** Default `createDirectory().clients`. */
	readonly clients?: readonly DevClient[]
	/** Default `defaultPeople`. */
	readonly people?: readonly Person[]
	/** APIs besides Graph. Default `createDirectory().resources`. */
	readonly resources?: Readonly<Record<string, ApiResource>>
	/** Seconds. Default 3600. */
	readonly accessTokenTtl?: number
	/** Seconds after which clients are told to refresh (`refresh_in`). Default: not told. */
	readonly refreshIn?: number
	/** `entra` (default): used refresh tokens stay good. `strict`: a reused one ends the whole grant. */
	readonly rotation?: 'entra' | 'strict'
	/**
	 * Signs in without asking: `true` the person hinted at, else the first; `'hinted'` only the hinted. Consent is
	 * then given and sign-out not confirmed either. Default false.
	 */
	readonly autoLogin?: boolean | 'hinted'
}

/** A running stand-in. */
export interface EntraStandIn {
	/** `https://localhost:port`. */
	readonly origin: string
	/** `http://127.0.0.1:port`. */
	readonly pagesOrigin: string
	/** `host:port` for MSAL's `knownAuthorities`. */
	readonly host: string
	readonly tenantId: string
	/** `origin/tenantId`, for MSAL. */
	readonly authority: string
	readonly issuer: string
	readonly jwksUri: string
	/** What a client has to trust, PEM. */
	readonly ca: string
	readonly tls: DevCertificates
	readonly people: readonly Person[]
	/** The published keys. */
	jwks(): JSONWebKeySet
	readonly log: readonly LogEntry[]
	readonly count: RequestLog['count']
	clearLog(): void
	/** Adds faults; each strikes its next request, in order. */
	inject(...faults: Fault[]): void
	clearFaults(): void
	/** Signs claims as they are: with the current key, with one that is not the provider's or not at all. */
	signIdToken(claims: JWTPayload, options?: { readonly key?: ForgedKey }): Promise<string>
	/** A new signing key. Sessions and tokens stay; `keepOld: false` withdraws the old keys. */
	rotateKeys(options?: { readonly keepOld?: boolean }): Promise<void>
	/** Ends every code and token of a person. */
	revokeUserTokens(oid: string): void
	/** Disables an account. */
	disablePerson(oid: string): void
	close(): Promise<void>
}

/**
 * Starts an Entra-like authority on loopback.
 * @throws {Error} code `STAND_IN_IN_PRODUCTION`, `STAND_IN_NOT_LOOPBACK` or `EADDRINUSE`
 */
export async function createEntraStandIn(options: EntraStandInOptions = {}): Promise<EntraStandIn> {
	const { host = 'localhost', port = 0, pagesHost = '127.0.0.1', pagesPort = 0 } = options
	assertDevelopmentOnly('The Entra stand-in', [host, pagesHost])
	const [oidc, tls, firstKey] = await Promise.all([
		loadOidcProvider(),
		options.tls ?? createDevCertificates(),
		createSigningKey(),
	])

	let serveTls: AsyncHandler
	let servePages: AsyncHandler
	const keepAliveTimeout = 60_000
	const tlsServer = createHttpsServer(
		{ key: tls.key, cert: tls.cert, keepAliveTimeout },
		guardHandler((q, r) => serveTls(q, r)),
	)
	const pagesServer = createHttpServer(
		{ keepAliveTimeout },
		guardHandler((q, r) => servePages(q, r)),
	)
	const tlsAddress = await listen(tlsServer, { host, port, variable: 'IDP_PORT' })
	const pagesPlace = { host: pagesHost, port: pagesPort, variable: 'IDP_PAGES_PORT' }
	const pagesAddress = await listen(pagesServer, pagesPlace).catch(async (error: unknown) => {
		await close(tlsServer)
		throw error
	})

	const directory = createDirectory()
	const tenantId = options.tenantId ?? directory.tenantId
	const origin = `https://${tlsAddress}`
	const authority = `${origin}/${tenantId}`
	const addresses = { origin, pagesOrigin: `http://${pagesAddress}`, authority, issuer: `${authority}/v2.0` }
	const tenant = createTenant({
		...addresses,
		tenantId,
		clients: options.clients ?? directory.clients,
		people: options.people ?? defaultPeople,
		resources: options.resources ?? directory.resources,
		keys: [firstKey],
	})
	const store = createMemoryStore()
	const log = createRequestLog()
	const faults = createFaultQueue<Fault, FaultTarget>(
		({ on = 'token', grant }, request) =>
			(on === '*' || on === request.kind) && (grant === undefined || grant === request.grant),
	)
	const providerOptions = {
		accessTokenTtl: options.accessTokenTtl ?? 3600,
		refreshIn: options.refreshIn,
		rotation: options.rotation ?? 'entra',
		autoLogin: options.autoLogin ?? false,
		cookieKeys: [randomUUID()],
	}
	const build = () => quietly(() => buildProvider(oidc, tenant, store, providerOptions).callback())
	let callback = build()
	const doorOptions = {
		tenant,
		faults,
		log,
		provide: (request: IncomingMessage, response: ServerResponse) => void callback(request, response),
	}
	serveTls = createFrontDoor(doorOptions, 'tls')
	servePages = createFrontDoor(doorOptions, 'pages')

	return {
		...addresses,
		host: tlsAddress,
		tenantId,
		jwksUri: `${authority}/discovery/v2.0/keys`,
		ca: tls.ca,
		tls,
		people: tenant.people,
		jwks: () => publicKeys(tenant.keys),
		log: log.entries,
		count: log.count,
		clearLog: log.clear,
		inject: faults.add,
		clearFaults: faults.clear,
		signIdToken: (claims, { key } = {}) => signClaims(claims, tenant.keys[0] ?? firstKey, key),
		async rotateKeys({ keepOld = true } = {}) {
			tenant.keys = [await createSigningKey(), ...(keepOld ? tenant.keys : [])]
			callback = build()
		},
		revokeUserTokens: (oid) => forgetTokens(store, oid),
		disablePerson: tenant.disable,
		async close() {
			await Promise.all([close(tlsServer), close(pagesServer)])
		},
	}
}
