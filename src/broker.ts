import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { AccessTokenCache, type HeldToken } from './access-token-cache.js'
import { type AcquiredToken, type Outcome, toAcquiredToken, withOutcome } from './acquired-token.js'
import { type AuthorizationRequest, buildAuthorizationUrl } from './authorization-url.js'
import { createAssertionCache } from './client-assertion.js'
import { BrokerError } from './errors.js'
import { createHttp, type Http } from './network.js'
import { type NormalisedScopes, normaliseScopes } from './scopes.js'
import { createSealer, type Sealer } from './sealing.js'
import { requireTicket, type SessionLike, type SessionTicket, ticketOf } from './session.js'
import { type KoaMsalOptions, resolveSettings, type Settings } from './settings.js'
import { checkClaims, checkSilentRequest, type SilentRequest } from './silent-request.js'
import { SingleFlight } from './single-flight.js'
import type { ProviderMetadata, WireToken } from './wire.js'
import { WorkerPool } from './worker-pool.js'

/** What a sign-in has to remember until the provider answers. Secret: sealed, in the browser, for 15 minutes. */
export interface LoginTransaction {
	readonly state: string
	readonly nonce: string
	readonly codeVerifier: string
	readonly scopes: readonly string[]
	readonly claims?: string
	/** A local path. */
	readonly returnTo: string
	/** Milliseconds since the epoch. */
	readonly createdAt: number
	/** The web session that the sign-in started from, and who was signed in there. */
	readonly sessionId?: string
	readonly partition?: string
}

/** The provider's answer to a sign-in: the fields of the form post, or of the query. */
export interface AuthorizationAnswer {
	readonly state?: string
	readonly code?: string
	readonly iss?: string
	readonly error?: string
}

/** A sign-in that is done, or that was done before: the same form was posted twice. */
export type SignIn =
	| {
			readonly repeated: false
			readonly ticket: SessionTicket
			readonly token: AcquiredToken
	  }
	| { readonly repeated: true; readonly returnTo: string }

/** Milliseconds a sign-in may take at the provider. */
export const transactionLifetime = 15 * 60_000

/** Milliseconds without a refresh behind a held token after one has failed. */
const refreshCooldown = 30_000

/**
 * Brokers the tokens of everybody who is signed in. This class is the policy: what is answered from memory, who
 * waits for whom, what a sign-out ends. The work is done in the worker threads.
 */
export class TokenBroker {
	readonly #settings: Settings
	readonly #pool: WorkerPool
	readonly #held: AccessTokenCache
	readonly #flights = new SingleFlight<AcquiredToken>()
	readonly #defaultScopes: NormalisedScopes
	readonly #sealer: Sealer
	readonly #assertion: ((tokenEndpoint: string) => Promise<string>) | undefined
	#metadata: Promise<ProviderMetadata> | undefined
	readonly #http: Http
	readonly #closeToo: (() => Promise<void>)[] = []
	#closing: Promise<void> | undefined

	private constructor(settings: Settings, pool: WorkerPool) {
		this.#settings = settings
		this.#pool = pool
		this.#held = new AccessTokenCache(settings.cache)
		this.#http = createHttp(settings.network)
		this.#defaultScopes = normaliseScopes(settings.scopes)
		this.#sealer = createSealer(settings.secrets, settings.auth.clientId)
		const { clientAssertion, clientId } = settings.auth
		this.#assertion = clientAssertion && createAssertionCache(clientAssertion, clientId)
	}

	/** Starts the worker threads. @throws ERR_WORKER_FAILED */
	static async start(settings: Settings): Promise<TokenBroker> {
		return new TokenBroker(settings, await WorkerPool.start(settings))
	}

	/** The settings of a broker, for the parts of this library that go with it. */
	static settingsOf(broker: TokenBroker): Settings {
		return broker.#settings
	}

	/** The HTTP client of the parts that call Microsoft Graph. */
	static httpOf(broker: TokenBroker): Http {
		return broker.#http
	}

	/** Has something closed together with the broker. */
	static closeWith(broker: TokenBroker, close: () => Promise<void>): void {
		broker.#closeToo.push(close)
	}

	/** Counts of the work handed to the worker threads and of what is held, since the start. */
	get statistics(): { readonly tasks: number; readonly heldTokens: number } {
		return { tasks: this.#pool.tasks, heldTokens: this.#held.size }
	}

	/**
	 * A valid access token of the person who is signed in.
	 *
	 * A held token is answered from memory: no thread hop, no network. Past its `refreshOn` it is still answered
	 * at once, and one refresh runs behind it. Otherwise one worker task reads the stored blob and, if need be,
	 * refreshes; everybody who asks for the same meanwhile joins that task.
	 *
	 * @param session `ctx.session`, or anything that carries its `msal`
	 * @throws ERR_SIGNED_OUT nobody is signed in, or not any more
	 * @throws ERR_INTERACTION_REQUIRED the provider wants the person back; carries `claims` and `scopes`
	 * @throws ERR_IDP_UNAVAILABLE, ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED try again after `retryAfter`
	 * @throws ERR_CLIENT_REJECTED, ERR_IDP_PROTOCOL, ERR_BAD_REQUEST, ERR_BROKER_CLOSED
	 */
	async acquireSilent(session: SessionLike, request?: SilentRequest): Promise<AcquiredToken> {
		if (this.#closing) throw closed()
		const ticket = requireTicket(session)
		return this.#answer(ticket, request === undefined ? {} : checkSilentRequest(request))
	}

	async #answer(ticket: SessionTicket, request: SilentRequest): Promise<AcquiredToken> {
		request.signal?.throwIfAborted()
		const scopes = request.scopes === undefined ? this.#defaultScopes : normaliseScopes(request.scopes)

		if (!request.forceRefresh) {
			const now = Date.now()
			const held = this.#held.get(ticket.partition, scopes.key, scopes.wanted, request.claims, now)
			if (held) {
				if (now < held.refreshOn) return held.token
				if (now >= held.cooldownUntil) this.#refreshBehind(ticket, scopes, held)
				return withOutcome(held.token, 'stale')
			}
		}
		const { result, joined } = this.#acquire(ticket, scopes, request)
		const token = await abortable(result, request.signal)
		return joined ? withOutcome(token, 'inflight') : token
	}

	/**
	 * The address to send a browser to, and what has to be remembered until it comes back.
	 * @throws ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL when the authority's metadata is needed and can't be had
	 */
	async getAuthCodeUrl(
		request: AuthorizationRequest & {
			readonly returnTo?: string
			readonly session?: SessionLike
			readonly sessionId?: string
		} = {},
	): Promise<{ readonly url: string; readonly transaction: LoginTransaction }> {
		if (this.#closing) throw closed()
		if (request.claims !== undefined) checkClaims(request.claims)
		const metadata = await this.#provider()
		const scopes = request.scopes ?? this.#settings.scopes
		const codeVerifier = randomText()
		const partition = ticketOf(request.session)?.partition
		const transaction: LoginTransaction = {
			state: randomText(),
			nonce: randomText(),
			codeVerifier,
			scopes,
			returnTo: request.returnTo ?? '/',
			createdAt: Date.now(),
			...(request.claims !== undefined && { claims: request.claims }),
			...(request.sessionId !== undefined && { sessionId: request.sessionId }),
			...(partition !== undefined && { partition }),
		}
		const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url')
		const url = buildAuthorizationUrl(
			this.#settings,
			metadata,
			{ ...request, scopes },
			{ ...transaction, codeChallenge },
		)
		return { url, transaction }
	}

	/**
	 * Completes a sign-in: checks the answer against its transaction, redeems the code, once, verifies who it
	 * is, and stores the tokens in a new partition.
	 * @throws ERR_LOGIN_REJECTED, ERR_IDP_DENIED, ERR_CLIENT_REJECTED, ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL,
	 * ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED, ERR_BROKER_CLOSED
	 */
	async acquireByCode(answer: AuthorizationAnswer, transaction: LoginTransaction): Promise<SignIn> {
		if (this.#closing) throw closed()
		if (!sameText(answer.state, transaction.state))
			throw rejected('It does not belong to a sign-in of this browser.')
		const age = Date.now() - transaction.createdAt
		if (age < -transactionLifetime || age > transactionLifetime) throw rejected('It took too long.')
		const metadata = await this.#provider()
		checkIssuer(answer.iss, metadata)
		if (answer.error !== undefined) throw providerRefusal(answer.error)
		if (!answer.code) throw rejected('It brought no code.')

		const { store, session, auth } = this.#settings
		const partition = randomText()
		const used = hashOf(transaction.state)
		const mark = this.#sealer.seal('used-transaction', used, transaction.returnTo)
		const previous = transaction.partition
		if (store.kind === 'memory') {
			const earlier = store.claim(used, mark, transactionLifetime)
			if (earlier !== undefined) return this.#repeated(used, earlier)
		}
		const stored = previous === undefined || store.kind === 'redis' ? undefined : store.read(previous)
		try {
			const result = await this.#pool.run('redeem', {
				code: answer.code,
				codeVerifier: transaction.codeVerifier,
				nonce: transaction.nonce,
				redirectUri: auth.redirectUri.href,
				scopes: transaction.scopes,
				...(transaction.claims !== undefined && { claims: transaction.claims }),
				partition,
				...(previous !== undefined && { previous: { partition: previous, ...(stored && { stored }) } }),
				lifetime: session.absoluteTimeout,
				correlationId: randomUUID(),
				...(await this.#clientAssertion()),
				...(store.kind === 'redis' && {
					claim: { transaction: used, value: mark, lifetime: transactionLifetime },
				}),
			})
			if (!result.claimed) return this.#repeated(used, result.value)
			if (store.kind === 'memory' && result.sealed !== undefined)
				store.create(partition, result.sealed, session.absoluteTimeout)
			if (previous !== undefined) this.#forget(previous)
			const { account } = result
			const token = this.#keep(
				{ partition, account },
				normaliseScopes(transaction.scopes),
				result.token,
				'refreshed',
			)
			return { repeated: false, ticket: { partition, account }, token }
		} catch (error) {
			if (store.kind === 'memory') store.failClaim(used)
			throw error
		}
	}

	/** Where a sign-in that is done has led, for a form that comes again after its transaction is gone. */
	async findReturnTo(state: string): Promise<string | undefined> {
		const { store } = this.#settings
		const used = hashOf(state)
		const mark =
			store.kind === 'memory'
				? store.findClaim(used)
				: (await this.#pool.run('findClaim', { transaction: used })).value
		if (!mark) return undefined
		const opened = this.#sealer.open('used-transaction', used, mark)
		return opened.ok ? opened.plaintext : undefined
	}

	/**
	 * Ends a session's tokens: in memory, in the store, and for whatever is under way.
	 * @returns where the provider's own session is ended, when that is known
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED when the store could not be told
	 */
	async signOut(session: SessionLike): Promise<{ readonly endSessionEndpoint?: string }> {
		if (this.#closing) throw closed()
		const ticket = ticketOf(session)
		if (ticket) this.#forget(ticket.partition)
		return this.#pool.run('signOut', { partitions: ticket ? [ticket.partition] : [] })
	}

	/** Takes no more calls, waits for what is under way, ends the worker threads. */
	close(): Promise<void> {
		this.#closing ??= this.#close()
		return this.#closing
	}

	async #close(): Promise<void> {
		await this.#flights.settled()
		await this.#pool.close()
		await Promise.all([this.#http.close(), ...this.#closeToo.map((close) => close())])
		this.#held.clear()
	}

	#acquire(ticket: SessionTicket, scopes: NormalisedScopes, request: SilentRequest) {
		const { partition, account } = ticket
		const forceRefresh = request.forceRefresh === true
		const key = JSON.stringify([scopes.key, request.claims ?? null, forceRefresh])
		return this.#flights.join(partition, key, async (flight) => {
			const { store } = this.#settings
			const run = async () => {
				const stored = store.kind === 'memory' ? store.read(partition) : undefined
				const result = await this.#pool.run('acquire', {
					partition,
					homeAccountId: account.homeAccountId,
					scopes: scopes.asked,
					forceRefresh,
					correlationId: request.correlationId ?? randomUUID(),
					...(request.claims !== undefined && { claims: request.claims }),
					...(stored && { stored }),
					...(await this.#clientAssertion()),
				})
				if (store.kind === 'memory' && result.sealed !== undefined) store.commit(partition, result.sealed)
				return result
			}
			const {
				token,
				outcome,
				account: stored,
			} = await (store.kind === 'memory' ? store.inTurn(partition, run) : run())
			if (flight.abandoned) throw new BrokerError('ERR_SIGNED_OUT', 'The session was signed out meanwhile.')
			return this.#keep({ partition, account: stored }, scopes, token, outcome, request.claims)
		})
	}

	/** Nobody waits for this one, and nobody hears of its failure: the held token is still good. */
	#refreshBehind(ticket: SessionTicket, scopes: NormalisedScopes, held: HeldToken): void {
		held.cooldownUntil = Date.now() + refreshCooldown
		this.#acquire(ticket, scopes, { forceRefresh: true }).result.catch(() => {})
	}

	#keep(
		{ partition, account }: SessionTicket,
		scopes: NormalisedScopes,
		token: WireToken,
		outcome: Outcome,
		claims?: string,
	): AcquiredToken {
		const now = Date.now()
		const life = token.expiresOn - now
		// Spread by 10 %, so that sessions that began together do not refresh together.
		const refreshOn = (token.refreshOn ?? now + life / 2) - (Math.random() * life) / 10
		const acquired = toAcquiredToken(token, account, refreshOn, outcome)
		this.#held.put(partition, {
			token: withOutcome(acquired, 'hit'),
			scopesKey: scopes.key,
			granted: new Set(token.scopes.map((scope) => scope.toLowerCase())),
			...(claims !== undefined && { claims }),
			refreshOn,
			usableUntil: token.expiresOn - this.#settings.cache.expiryMargin,
			cooldownUntil: 0,
		})
		return acquired
	}

	/** In this process nothing of the partition is answered any more, whatever is still under way. */
	#forget(partition: string): void {
		this.#flights.abandon(partition)
		this.#held.drop(partition)
		const { store } = this.#settings
		if (store.kind === 'memory') store.remove(partition)
	}

	#repeated(used: string, mark: string): SignIn {
		const opened = this.#sealer.open('used-transaction', used, mark)
		if (!opened.ok) throw rejected('It was used before.')
		return { repeated: true, returnTo: opened.plaintext }
	}

	/** The provider's endpoints, asked of a worker when first needed and kept. */
	#provider(): Promise<ProviderMetadata> {
		this.#metadata ??= this.#pool.run('metadata', {}).catch((error) => {
			this.#metadata = undefined
			throw error
		})
		return this.#metadata
	}

	async #clientAssertion(): Promise<{ readonly clientAssertion?: string }> {
		if (!this.#assertion) return {}
		return { clientAssertion: await this.#assertion((await this.#provider()).tokenEndpoint) }
	}
}

/**
 * Starts a broker.
 * @throws ERR_CONFIG naming every setting that is missing or wrong
 * @throws ERR_WORKER_FAILED when the worker threads do not start
 */
export async function createTokenBroker(options: KoaMsalOptions): Promise<TokenBroker> {
	return TokenBroker.start(resolveSettings(options))
}

/** 256 random bits, as text: a state, a nonce, a code verifier (RFC 7636, 4.1), a partition's name. */
function randomText(): string {
	return randomBytes(32).toString('base64url')
}

function hashOf(text: string): string {
	return createHash('sha256').update(text).digest('base64url')
}

function sameText(answered: string | undefined, expected: string): boolean {
	return (
		answered !== undefined && timingSafeEqual(Buffer.from(hashOf(answered)), Buffer.from(hashOf(expected)))
	)
}

/** RFC 9207, 2.4. The issuer of a multi-tenant authority is a template, and its answers come from a tenant. */
function checkIssuer(iss: string | undefined, { issuer, issParameterSupported }: ProviderMetadata): void {
	if (iss === undefined) {
		if (issParameterSupported) throw rejected('It does not say which provider it comes from.')
		return
	}
	const [before = '', after] = issuer.split('{tenantid}')
	const matches =
		after === undefined
			? iss === issuer
			: iss.startsWith(before) &&
				iss.endsWith(after) &&
				/^[\w-]+$/.test(iss.slice(before.length, iss.length - after.length))
	if (!matches) throw rejected('It comes from another provider.')
}

/** RFC 6749, 4.1.2.1, and OpenID Connect Core, 3.1.2.6. */
function providerRefusal(error: string): BrokerError {
	if (error === 'server_error' || error === 'temporarily_unavailable')
		return new BrokerError('ERR_IDP_UNAVAILABLE', 'The provider has trouble signing people in. Try again.')
	if (/^(access_denied|(interaction|login|consent|account_selection)_required)$/.test(error))
		return new BrokerError('ERR_IDP_DENIED', 'The provider did not let you in, or you cancelled.')
	return rejected('The provider refused it.')
}

function rejected(why: string): BrokerError {
	return new BrokerError('ERR_LOGIN_REJECTED', `This sign-in cannot be completed. ${why}`)
}

function closed(): BrokerError {
	return new BrokerError('ERR_BROKER_CLOSED', 'The broker was closed.')
}

async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	if (!signal) return work
	let stop: (() => void) | undefined
	const aborted = new Promise<never>((_, reject) => {
		stop = () => reject(signal.reason)
		signal.addEventListener('abort', stop, { once: true })
	})
	try {
		return await Promise.race([work, aborted])
	} finally {
		if (stop) signal.removeEventListener('abort', stop)
	}
}
