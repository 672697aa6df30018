import { randomUUID } from 'node:crypto'
import { unwatchFile, watchFile } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { AccessTokenCache, type HeldToken } from './access-token-cache.js'
import { type AcquiredToken, type Outcome, toAcquiredToken, withOutcome } from './acquired-token.js'
import { acquireInSteps, type Step } from './acquisition.js'
import { checkConnectivity } from './check-connectivity.js'
import { type AssertionCache, createAssertionCache } from './client-assertion.js'
import { describe, type SettingsDescription } from './describe-settings.js'
import { type Acquisition, publishAcquisition } from './diagnostics.js'
import { createDownstream, type DownstreamCall } from './downstream.js'
import { BrokerError } from './errors.js'
import { type Health, HealthChecks } from './health.js'
import { monotonic } from './monotonic.js'
import { createHttp, type StreamingHttp } from './network.js'
import { acquireOutOfBand, type OutOfBandRequest } from './out-of-band.js'
import { Outbox } from './outbox.js'
import { createTenantCheck } from './own-tenants.js'
import { createAttempt, loadProfile, mailOf, withProfile } from './profile.js'
import { ProviderSlots } from './provider-slots.js'
import { randomText } from './random.js'
import { refreshTime } from './refresh-time.js'
import { grantedScopes, type NormalisedScopes, normaliseScopes } from './scopes.js'
import { createSealer, type Sealer } from './sealing.js'
import {
	requireTicket,
	type SessionClaims,
	type SessionLike,
	type SessionTicket,
	ticketOf,
} from './session.js'
import { createSessionCredential, type SessionCredential } from './session-credential.js'
import { SessionHandle } from './session-handle.js'
import { Sessions } from './sessions.js'
import { type KoaMsalOptions, resolveSettings, type Settings } from './settings.js'
import {
	type AuthorizationAnswer,
	beginSignIn,
	checkAnswer,
	hashOf,
	type LoginTransaction,
	readUse,
	rejected,
	type SignInRequest,
	transactionLifetime,
} from './sign-in.js'
import { listenForSignOuts, type SignOutNotices } from './sign-out-notices.js'
import { checkSilentRequest, type SilentRequest } from './silent-request.js'
import { SingleFlight } from './single-flight.js'
import { Turns } from './turns.js'
import { warnOfUnsafeSettings } from './unsafe-settings.js'
import type {
	AcquireAnswer,
	ConnectivityCheck,
	ProviderMetadata,
	SignedInAccount,
	UnsavedBlob,
	UsedTransaction,
	UserReference,
	WireToken,
} from './wire.js'
import { withTimeout } from './with-timeout.js'
import { WorkerPool } from './worker-pool.js'

/** A sign-in that is done, or that was done before: the same form was posted twice. */
export type SignIn =
	| {
			readonly repeated: false
			readonly ticket: SessionTicket
			/** For the session, as `msalClaims`; absent where the id_token says nothing of roles and groups. */
			readonly claims?: SessionClaims
			readonly token: AcquiredToken
	  }
	| { readonly repeated: true; readonly returnTo: string }

/** Milliseconds that a sign-in waits for its turn at the provider. */
const signInPatience = 2000

/** Milliseconds without a refresh behind a held token after one has failed. */
const refreshCooldown = 30_000

/** Milliseconds between two questions to the store whether a held token's partition lives. */
const confirmationInterval = 60_000

/**
 * Milliseconds for which a partition that was found alive is believed to be: a store that drops keys tells nobody.
 */
const aliveFor = 1000

/** Milliseconds that the answer is waited for: a third of what a command has, longer than a Redis nearby ever takes. */
const confirmationPatience = 250

/** The same while the store was away when last asked: one that is back answers in that. */
const outagePatience = 25

/** Milliseconds for which a store that did not answer is not asked whether partitions live. */
const storeIsDownFor = 1000

/** Milliseconds in which what waits for its turn may still begin when the broker is closed. */
const closingPatience = 2000

/** Milliseconds that a sign-out waits to learn where the provider's own session ends. */
const endSessionPatience = 500

/** Milliseconds between two looks at a certificate's file. */
const fileInterval = 5000

/** Milliseconds after a reload in which a refused credential is not read anew. */
const reloadInterval = 10_000

/**
 * Tokens that one session may be getting at a time: so many, or this part of what the threads take. One that asks for
 * ever more claims or scopes keeps nobody else's work from being taken.
 */
const leastShare = 8
const largestShare = 1 / 16

/** Milliseconds that a task keeps for its way back, of the deadline that its caller has. */
const wayBack = 250

/**
 * Brokers the tokens of everybody who is signed in. This class is the policy: what is answered from memory, who
 * waits for whom, what a sign-out ends. The work is done in the worker threads.
 */
export class TokenBroker {
	/** The sessions of everybody: lists, finds, ends and cleans them. */
	readonly sessions: Sessions
	/** `describe()`: every setting in effect, safe to print: a secret is `(set, 44 bytes)`. */
	readonly settings: { describe(): SettingsDescription }
	readonly #settings: Settings
	readonly #pool: WorkerPool
	readonly #held: AccessTokenCache
	readonly #flights: SingleFlight<AcquiredToken>
	readonly #defaultScopes: NormalisedScopes
	readonly #mayBeOf: (tenantId: string) => boolean
	readonly #sealer: Sealer
	readonly #assertion: AssertionCache | undefined
	readonly #http: StreamingHttp
	readonly #downstream: DownstreamCall
	/** Partitions that were found alive, and when. */
	readonly #alive = new LRUCache<string, number>({ max: 10_000, ttl: aliveFor })
	/** Looks at the store, under way, whether a partition is alive. */
	readonly #looks = new SingleFlight<boolean>()
	readonly #slots: ProviderSlots
	/** A quarter of what the threads do at a time: with a provider that hangs, they have room for other people. */
	readonly #signInSlots: ProviderSlots
	readonly #turns = new Turns()
	readonly #unsaved: Outbox<UnsavedBlob>
	/** Sign-outs that the store could not be told. */
	readonly #owed: Outbox<{ readonly account?: SignedInAccount }>
	/** Tasks whose callers may have gone, and whose results still count. */
	readonly #running = new Set<Promise<unknown>>()
	/** Sign-ins of which a part is the application's: they are waited for, but not long. */
	readonly #finishing = new Set<Promise<unknown>>()
	/** What else the store was not told yet. */
	readonly #outboxes: Pick<Outbox<object>, 'close'>[] = []
	readonly #attempt = createAttempt()
	readonly #health: HealthChecks
	readonly #notices: SignOutNotices | undefined
	readonly #closeToo: (() => Promise<void>)[] = []
	#metadata: Promise<ProviderMetadata> | undefined
	/** In milliseconds of `performance.now()`; in the past for ever when the store answered last. */
	#storeIsDownUntil = Number.NEGATIVE_INFINITY
	/** Reloads that began, and the last of them whose credential is in use. */
	#reloads = 0
	#reloaded = 0
	#reloading: { readonly at: number; readonly done: Promise<'done' | 'failed'> } | undefined
	#closing: Promise<void> | undefined
	#closed = false

	private constructor(settings: Settings, pool: WorkerPool) {
		this.settings = Object.freeze({ describe: () => describe(settings) })
		this.#settings = settings
		this.#pool = pool
		this.#held = new AccessTokenCache(settings.cache)
		this.#health = new HealthChecks(pool)
		this.#http = createHttp(settings.network)
		this.#downstream = createDownstream(settings, this.#http)
		this.#defaultScopes = normaliseScopes(settings.scopes)
		this.#mayBeOf = createTenantCheck(settings.auth)
		this.sessions = new Sessions({
			settings,
			pool,
			requireOpen: () => {
				if (this.#closing) throw closed()
			},
			end: (partition, account) => this.#endPartition(partition, account),
		})
		this.#sealer = createSealer(settings.secrets, settings.auth.clientId)
		const { threads, concurrency, maxQueue } = settings.pool
		this.#flights = new SingleFlight(Math.max(leastShare, (threads * concurrency + maxQueue) * largestShare))
		this.#slots = new ProviderSlots(settings.refresh.maxInFlight)
		this.#signInSlots = new ProviderSlots(Math.max(1, Math.floor((threads * concurrency) / 4)))
		this.#unsaved = new Outbox('refreshed tokens', async (partition, blob) => {
			const { state } = await pool.within(pool.begin('save', { partition, blob }, true))
			if (state === 'gone') this.#forget(partition)
			return state === 'later' ? 'later' : 'done'
		})
		this.#owed = new Outbox('sign-outs', async (partition, whose) => {
			await pool.within(pool.begin('signOut', { partition, ...whose }, true))
			return 'done'
		})
		const { store, namespace, auth, network } = settings
		if (store.kind === 'redis')
			this.#notices = listenForSignOuts(store.connection, namespace, (partition) => this.#forget(partition))
		const { file } = auth.credential
		if (file !== undefined) {
			const reload = () => void this.reload().catch(warnOfCredential)
			watchFile(file, { interval: fileInterval, persistent: false }, reload)
			this.#closeToo.push(async () => unwatchFile(file, reload))
		}
		this.#assertion =
			auth.clientAssertion && createAssertionCache(auth.clientAssertion, auth.clientId, network.timeout)
	}

	/** Reads the credential and starts the worker threads. @throws ERR_CONFIG, ERR_WORKER_FAILED */
	static async start(settings: Settings): Promise<TokenBroker> {
		const credential = await settings.auth.credential.load()
		return new TokenBroker(settings, await WorkerPool.start(settings, credential))
	}

	/** The settings of a broker, for the parts of this library that go with it. */
	static settingsOf(broker: TokenBroker): Settings {
		return broker.#settings
	}

	/** The worker threads, for the verbs that are not the broker's own. */
	static poolOf(broker: TokenBroker): WorkerPool {
		return broker.#pool
	}

	/**
	 * Takes back a sign-in that the application refuses: its tokens, and its mark, which would lead a second post of the
	 * same form to where it was going.
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED; the tokens are ended later then
	 */
	static async undoSignIn(broker: TokenBroker, ticket: SessionTicket, state?: string): Promise<void> {
		const { store } = broker.#settings
		const transaction = state === undefined ? undefined : hashOf(state)
		if (store.kind === 'memory' && transaction !== undefined) store.failClaim(transaction)
		await Promise.all([
			broker.#endPartition(ticket.partition, ticket.account),
			store.kind === 'redis' && transaction !== undefined && broker.#pool.run('failClaim', { transaction }),
		])
	}

	/** Ends a sign-in under way: no answer completes it any more, whoever has kept its cookie. */
	static async endSignIn(broker: TokenBroker, { state }: LoginTransaction): Promise<void> {
		const { store } = broker.#settings
		const transaction = hashOf(state)
		if (store.kind === 'memory') store.claim(transaction, '', transactionLifetime)
		else
			await broker.#pool
				.run('endSignIn', { transaction, lifetime: transactionLifetime })
				// What was refused is refused all the same, and the browser's part of it is gone.
				.catch(() => {})
	}

	/** What became of a sign-in, of the last 15 minutes; one that failed has led nowhere. */
	static async recallSignIn(
		broker: TokenBroker,
		state: string,
	): Promise<{ readonly returnTo?: string; readonly lives: boolean } | undefined> {
		const { store } = broker.#settings
		const used = hashOf(state)
		const mark =
			store.kind === 'memory'
				? store.findClaim(used)
				: (await broker.#pool.run('findClaim', { transaction: used })).value
		return mark === undefined ? undefined : broker.#recall(used, mark)
	}

	/** The ticket of somebody who was signed in otherwise than by a code, with what the setting `profile` asks for. */
	static async describe(broker: TokenBroker, ticket: SessionTicket): Promise<SessionTicket> {
		const described = await broker.#describe(ticket)
		// The held token names its person without a mail address; the stored ones have it by now.
		if (described.account !== ticket.account) broker.#held.drop(ticket.partition)
		return described
	}

	/** Has `close()` wait for work that needs the threads yet, but not long: it may wait for the application. */
	static finish<T>(broker: TokenBroker, work: Promise<T>): Promise<T> {
		broker.#finishing.add(work)
		const done = () => broker.#finishing.delete(work)
		work.then(done, done)
		return work
	}

	/** Has `close()` tell the store what it was not told yet. */
	static tellBeforeClose(broker: TokenBroker, outbox: Pick<Outbox<object>, 'close'>): void {
		broker.#outboxes.push(outbox)
	}

	/** Has something closed together with the broker. */
	static closeWith(broker: TokenBroker, close: () => Promise<void>): void {
		broker.#closeToo.push(close)
	}

	/** Counts of the work handed to the worker threads and of what is held, since the start. */
	get statistics(): {
		readonly tasks: number
		readonly heldTokens: number
		/** Refreshed tokens that the store could not take yet. */
		readonly unsaved: number
		/** Sign-outs that the store could not be told of yet. */
		readonly owedSignOuts: number
		/** Threads that died, or were ended because they no longer answered. */
		readonly workerFailures: number
	} {
		return {
			tasks: this.#pool.tasks,
			heldTokens: this.#held.size,
			unsaved: this.#unsaved.size,
			owedSignOuts: this.#owed.size,
			workerFailures: this.#pool.health.failures,
		}
	}

	/**
	 * A valid access token of the person who is signed in.
	 *
	 * A held token is answered from memory: no thread hop, no network. Past its `refreshOn` it is still answered
	 * at once, and one refresh runs behind it. Otherwise one worker task reads the stored blob and, if need be,
	 * refreshes, which one process does at a time; everybody who asks for the same meanwhile gets its result.
	 *
	 * @param session `ctx.session`, or anything that carries its `msal`
	 * @throws ERR_SIGNED_OUT nobody is signed in, or not any more
	 * @throws ERR_INTERACTION_REQUIRED the provider wants the person back; carries `claims` and `scopes`
	 * @throws ERR_IDP_UNAVAILABLE, ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED try again after `retryAfter`
	 * @throws ERR_CLIENT_REJECTED, ERR_IDP_PROTOCOL, ERR_BAD_REQUEST, ERR_BROKER_CLOSED
	 */
	acquireSilent(session: SessionLike, request?: SilentRequest): Promise<AcquiredToken> {
		return (request === undefined ? this.#hit(session) : undefined) ?? this.#acquireChecked(session, request)
	}

	/**
	 * The shortest way, for what is asked most: the default scopes, held, fresh. Whoever names a held partition has
	 * its ticket, for nothing else holds its name; so nothing else is looked at.
	 */
	#hit(session: SessionLike): Promise<AcquiredToken> | undefined {
		const partition = (session as { msal?: { partition?: unknown } } | null | undefined)?.msal?.partition
		if (typeof partition !== 'string' || this.#closing) return undefined
		const now = Date.now()
		const { key, wanted } = this.#defaultScopes
		const held = this.#held.get(partition, key, wanted, undefined, now)
		if (!held || now >= held.refreshOn || held.confirmedAt < this.#heardSince()) return undefined
		publishAcquisition(hit)
		return held.answer
	}

	async #acquireChecked(session: SessionLike, request?: SilentRequest): Promise<AcquiredToken> {
		if (this.#closing) throw closed()
		const ticket = requireTicket(session)
		return this.#answer(ticket, request === undefined ? {} : checkSilentRequest(request))
	}

	async #answer(ticket: SessionTicket, request: SilentRequest): Promise<AcquiredToken> {
		request.signal?.throwIfAborted()
		if (this.#owed.get(ticket.partition)) throw signedOut()
		const scopes = request.scopes === undefined ? this.#defaultScopes : normaliseScopes(request.scopes)

		if (!request.forceRefresh) {
			const now = Date.now()
			let held = this.#held.get(ticket.partition, scopes.key, scopes.wanted, request.claims, now)
			if (held && held.confirmedAt < this.#heardSince()) {
				await this.#confirmHeld(ticket.partition, held, request.signal)
				// Signed out meanwhile, perhaps, by somebody else than the store.
				held = this.#held.get(ticket.partition, scopes.key, scopes.wanted, request.claims, now)
			}
			if (held) return this.#answerHeld(ticket, scopes, held, now)
		}
		const started = performance.now()
		const { result, joined, leave } = this.#acquire(ticket, scopes, request)
		const token = await abortable(result, request.signal, leave)
		if (!joined) return token
		publishAcquisition(() => ({ outcome: 'inflight', duration: performance.now() - started }))
		return withOutcome(token, 'inflight')
	}

	/**
	 * Asks whether a held token's session is alive, unless that was asked a short while ago. A store that takes long is
	 * not waited for, and one that was away the last time not at all: its answer counts when it comes.
	 * @throws ERR_SIGNED_OUT
	 */
	async #confirmHeld(partition: string, held: HeldToken, signal: AbortSignal | undefined): Promise<void> {
		const now = performance.now()
		const heardSince = this.#heardSince()
		// What was signed out between the last question and the first notice is known to nobody here.
		const unheard = Number.isFinite(heardSince) && held.askedAt < heardSince
		if (unheard || now - held.askedAt >= confirmationInterval) {
			held.askedAt = now
			const asked = this.#confirm(partition)
				.then((lives) => {
					// It may have been asked once more since.
					if (lives) held.confirmedAt = Math.max(held.confirmedAt, now)
					else if (held.answered === asked) held.askedAt = now - confirmationInterval + storeIsDownFor
				})
				.finally(() => {
					if (held.answered === asked) held.answered = undefined
				})
			held.answered = asked
			// Who comes too late to be told has lost the token all the same.
			asked.catch(() => {})
		}
		const { answered } = held
		if (!answered) return
		// What is known of an outage is worth as much as what is known of a session, and as long.
		const wasAway = now < this.#storeIsDownUntil + confirmationInterval
		// From when it was asked: who comes later waits no longer than who asked.
		const patience = held.askedAt + (wasAway ? outagePatience : confirmationPatience) - now
		if (patience <= 0) return
		await abortable(Promise.race([answered, sleep(patience, undefined, { ref: false })]), signal)
		if (this.#owed.get(partition)) throw signedOut()
	}

	#answerHeld(ticket: SessionTicket, scopes: NormalisedScopes, held: HeldToken, now: number): AcquiredToken {
		if (now < held.refreshOn) {
			publishAcquisition(hit)
			return held.token
		}
		if (performance.now() >= held.cooldownUntil) this.#refreshBehind(ticket, scopes, held)
		publishAcquisition(() => ({ outcome: 'stale', duration: 0 }))
		return withOutcome(held.token, 'stale')
	}

	/**
	 * Whether somebody is signed in, of a tenant that still may be, and was not signed out elsewhere: what a guard asks.
	 * In most cases answered from memory; else one worker task asks the store.
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED, ERR_BROKER_CLOSED
	 */
	async isSignedIn(session: SessionLike): Promise<boolean> {
		if (this.#closing) throw closed()
		const ticket = ticketOf(session)
		if (!ticket || !this.#mayBeOf(ticket.account.tenantId)) return false
		return this.#lives(ticket.partition)
	}

	async #lives(partition: string): Promise<boolean> {
		const { store } = this.#settings
		if (store.kind === 'memory') return store.read(partition) !== undefined
		if (this.#owed.get(partition)) return false
		const confirmedAt = this.#alive.get(partition)
		if (confirmedAt !== undefined && confirmedAt >= this.#heardSince()) return true
		return this.#looks.join(partition, '', async (look) => {
			const askedAt = performance.now()
			const { exists } = await this.#pool.run('exists', { partition })
			// Signed out while we looked: what we saw is past.
			if (look.abandoned) return false
			if (exists) this.#alive.set(partition, askedAt)
			else this.#forget(partition)
			return exists
		}).result
	}

	/** A session's own verbs: its tokens, and calls with them. Costs nothing until one is used. */
	forSession(session: SessionLike): SessionHandle {
		const acquire = (request?: SilentRequest) => this.acquireSilent(session, request)
		return new SessionHandle(session, acquire, this.#downstream, this.#settings.graph.endpoint)
	}

	/** A session as a credential of the Azure SDK and of the Microsoft Graph client. */
	credential(session: SessionLike): SessionCredential {
		return createSessionCredential(session, (request) => this.acquireSilent(session, request))
	}

	/**
	 * The address to send a browser to, and what has to be remembered until it comes back.
	 * @throws ERR_BAD_REQUEST; ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL when the authority's metadata can't be had
	 */
	async getAuthCodeUrl(
		request: SignInRequest = {},
	): Promise<{ readonly url: string; readonly transaction: LoginTransaction }> {
		if (this.#closing) throw closed()
		return beginSignIn(this.#settings, await this.#provider(), request)
	}

	/**
	 * Completes a sign-in: checks the answer against its transaction, redeems the code, once, verifies who it
	 * is, and stores the tokens in a new partition. An answer that is refused ends its sign-in. What it throws has the
	 * `correlationId` that the provider's own logs have of the call.
	 * @throws ERR_LOGIN_REJECTED, ERR_IDP_DENIED, ERR_CLIENT_REJECTED, ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL,
	 * ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED, ERR_BROKER_CLOSED
	 */
	async acquireByCode(answer: AuthorizationAnswer, transaction: LoginTransaction): Promise<SignIn> {
		if (this.#closing) throw closed()
		const correlationId = randomUUID()
		try {
			const code = await this.#codeOf(answer, transaction)
			await this.#signInSlots.take(signInPatience)
			try {
				// The code is not used yet: another process may do it.
				if (this.#closing) throw closed()
				return await this.#redeem(code, transaction, correlationId)
			} finally {
				this.#signInSlots.give()
			}
		} catch (error) {
			throw error instanceof BrokerError ? error.withCorrelationId(correlationId) : error
		}
	}

	async #redeem(code: string, transaction: LoginTransaction, correlationId: string): Promise<SignIn> {
		const { store, session, auth, pool } = this.#settings
		const partition = randomText()
		const used = hashOf(transaction.state)
		const use = { returnTo: transaction.returnTo, partition }
		const previous = transaction.partition
		if (store.kind === 'memory') {
			const earlier = store.claim(
				used,
				this.#markOf(used, { ...use, until: Date.now() + pool.taskTimeout }),
				transactionLifetime,
			)
			if (earlier !== undefined) return this.#repeated(used, earlier)
		}
		const stored = previous === undefined || store.kind === 'redis' ? undefined : store.read(previous)
		try {
			const redeem = async () => {
				const assertion = await this.#clientAssertion()
				const task = this.#pool.begin('redeem', {
					code,
					codeVerifier: transaction.codeVerifier,
					nonce: transaction.nonce,
					redirectUri: auth.redirectUri.href,
					scopes: transaction.scopes,
					...(transaction.claims !== undefined && { claims: transaction.claims }),
					...(transaction.maxAge !== undefined && {
						authenticatedSince: transaction.createdAt / 1000 - transaction.maxAge,
					}),
					partition,
					...(previous !== undefined && { previous: { partition: previous, ...(stored && { stored }) } }),
					lifetime: session.absoluteTimeout,
					correlationId,
					...assertion,
					...(store.kind === 'redis' && {
						claim: {
							transaction: used,
							returnTo: use.returnTo,
							until: Date.now() + pool.taskTimeout,
							deadline: monotonic() + pool.taskTimeout,
							lifetime: transactionLifetime,
						},
					}),
				})
				this.#runs(task)
				return this.#pool.within(task).catch((error) => {
					if (store.kind === 'redis') this.#undoRedeem(task, partition)
					throw error
				})
			}
			const result = await this.#withFreshCredential(redeem)
			if (!result.claimed) return this.#repeated(used, result.value)
			if (store.kind === 'memory' && result.sealed !== undefined) {
				store.create(partition, result.sealed, session.absoluteTimeout, result.account)
				store.settleClaim(used, this.#markOf(used, use))
			}
			if (previous !== undefined) this.#forget(previous)
			const { account } = result
			if (previous !== undefined && result.leavesPrevious) this.#owed.keep(previous, { account })
			const scopes = normaliseScopes(transaction.scopes)
			const keep = (whose: SignedInAccount) =>
				this.#keep(partition, whose, scopes, result.token, 'refreshed', performance.now())
			const token = keep(account)
			const ticket = await this.#describe({ partition, account })
			// What was signed out meanwhile is held no longer, and is not to be again.
			const isHeld = this.#held.get(partition, scopes.key, scopes.wanted, undefined, Date.now()) !== undefined
			return {
				repeated: false,
				ticket,
				...(Object.keys(result.claims).length > 0 && { claims: { partition, ...result.claims } }),
				token: isHeld && ticket.account !== account ? keep(ticket.account) : token,
			}
		} catch (error) {
			if (store.kind === 'memory') store.failClaim(used)
			throw error
		}
	}

	/** Who was told that a sign-in failed has no session: what it stored all the same, late or in a thread that ended, goes. */
	#undoRedeem(task: Promise<unknown>, partition: string): void {
		const undo = () => this.#owed.keep(partition, {})
		task.then(undo, (error) => {
			if (error instanceof BrokerError && error.code === 'ERR_WORKER_FAILED') undo()
		})
	}

	/** A refused answer ends its sign-in: the right one, after it, is too late. */
	async #codeOf(answer: AuthorizationAnswer, transaction: LoginTransaction): Promise<string> {
		const metadata = await this.#provider()
		try {
			return checkAnswer(answer, transaction, metadata)
		} catch (error) {
			await TokenBroker.endSignIn(this, transaction)
			throw error
		}
	}

	/** The ticket of somebody who has just signed in, with what Microsoft Graph says of them as far as it can be had. */
	async #describe(ticket: SessionTicket): Promise<SessionTicket> {
		const { profile } = this.#settings
		if (profile === 'none') return ticket
		const { graph } = this.forSession({ msal: ticket })
		const found = await loadProfile(graph, profile, this.#attempt, async (user, signal) => {
			const { mail } = mailOf(user)
			// With somebody else's address, this session would be found in their name.
			if (mail === undefined || user.id !== ticket.account.objectId) return
			signal.throwIfAborted()
			await abortable(this.#recordMail(ticket, mail), signal)
		})
		return withProfile(ticket, found)
	}

	async #recordMail({ partition, account }: SessionTicket, mail: string): Promise<void> {
		const { store } = this.#settings
		const record = async () => {
			const stored = store.kind === 'memory' ? store.read(partition) : undefined
			const { homeAccountId } = account
			const params = { partition, homeAccountId, mail, ...(stored && { stored }) }
			const recorded = await this.#pool.run('recordMail', params)
			if (store.kind === 'memory' && recorded.sealed !== undefined)
				store.commit(partition, recorded.sealed, recorded.account)
		}
		await (store.kind === 'memory' ? this.#turns.take(partition, record) : record())
	}

	/**
	 * Where a sign-in that is done has led, for a form that comes again after its transaction is gone; nowhere when what
	 * it began was signed out since.
	 */
	async findReturnTo(state: string): Promise<string | undefined> {
		const known = await TokenBroker.recallSignIn(this, state)
		return known?.lives ? known.returnTo : undefined
	}

	/**
	 * Ends a session: its tokens, in memory, in the store, in other processes, and for whatever is under way; and the
	 * web session that they belong to, with all its data, whoever asks and wherever it is.
	 * @returns where the provider's own session is ended, when that is known
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED when the store could not be told
	 */
	async signOut(session: SessionLike): Promise<{ readonly endSessionEndpoint?: string }> {
		// One that comes while the rest ends is done yet: whoever asked has no session to ask with again.
		if (this.#closed) throw closed()
		const ticket = ticketOf(session)
		const [endSessionEndpoint] = await Promise.all([
			this.#endSessionEndpoint(),
			ticket && this.#endPartition(ticket.partition, ticket.account),
		])
		return endSessionEndpoint === undefined ? {} : { endSessionEndpoint }
	}

	/** A sign-out that the store can't be told now is told later, whatever the caller does. */
	async #endPartition(partition: string, account: SignedInAccount | undefined): Promise<void> {
		const { store } = this.#settings
		if (store.kind === 'memory') store.end(partition)
		this.#forget(partition)
		if (store.kind === 'memory') return
		const whose = account ? { account } : {}
		const told = this.#pool
			.run('signOut', { partition, ...whose })
			.then(() => {})
			.catch((error) => {
				this.#owed.keep(partition, whose)
				throw error
			})
			// What was asked for meanwhile found it alive.
			.finally(() => this.#forget(partition))
		await this.#runs(told)
	}

	/** Signing out does not wait for a provider that is down. */
	#endSessionEndpoint(): Promise<string | undefined> {
		const known = this.#provider().then(
			(metadata) => metadata.endSessionEndpoint,
			() => undefined,
		)
		return withTimeout(known, endSessionPatience, () => undefined)
	}

	/**
	 * A token of a user who is not there, for a job or a script: from their newest session that can get it. Off until
	 * the setting `outOfBand.scopes` lists the scopes. Each use is told on the `diagnostics_channel`
	 * `koa-msal:out-of-band`: ask again for each piece of work, a held token costs one look-up. The provider may put
	 * other scopes of the same resource that the user has consented to into the token as well.
	 * @throws ERR_FORBIDDEN `outOfBand.scopes` does not allow it
	 * @throws ERR_NOT_FOUND the user has no session
	 * @throws ERR_AMBIGUOUS_USER two users of the tenant go by that name
	 * @throws ERR_INTERACTION_REQUIRED none of their sessions can get these scopes without them
	 * @throws ERR_BAD_REQUEST, and what `acquireSilent` throws when the provider or the store fails
	 */
	forUser(user: UserReference, request: OutOfBandRequest): Promise<AcquiredToken> {
		return acquireOutOfBand(this, this.#settings.outOfBand.scopes, user, request)
	}

	/**
	 * Whether this process reaches the authority and its keys (as it is told to, through a proxy or not) and the store,
	 * on new connections and nothing else; with Redis, also whether it hears of sign-outs. It has an answer within
	 * `pool.taskTimeout`, and says of what fails why and what to do; nothing of it is secret. An authority whose
	 * `auth.authorityMetadata` is given is not asked for it: its keys tell whether it can be reached.
	 * @throws ERR_BROKER_CLOSED
	 */
	async checkConnectivity(): Promise<readonly ConnectivityCheck[]> {
		if (this.#closing) throw closed()
		return checkConnectivity(this.#pool, this.#notices)
	}

	/**
	 * How this process is: whether a worker answers and the store takes writes now, and how the provider does. It has
	 * an answer within two seconds, and asks no more often than each half second. After `close()` it is not ready.
	 */
	async health(): Promise<Health> {
		const health = await this.#health.look()
		return this.#closing ? { ...health, ready: false } : health
	}

	/**
	 * Reads the application's credential anew, from its function or file: what is refused from then on is the new
	 * one. Happens by itself when the file changes, and once when the provider refuses the credential.
	 * @throws ERR_CONFIG when what comes is no credential, or nothing comes within `network.timeout`: the old one stays
	 */
	async reload(): Promise<void> {
		this.#assertion?.forget()
		const { credential } = this.#settings.auth
		if (!credential.rolls) return
		const turn = ++this.#reloads
		const read = await credential.load()
		// A read that was slower than a later one may be of before a roll.
		if (turn < this.#reloaded) return
		this.#reloaded = turn
		this.#pool.setCredential(read)
	}

	/**
	 * Takes no more calls, waits for what is under way, stores what is not stored yet, ends the worker threads. That takes
	 * as long as calls of the provider do: `network.timeout` and up to five seconds, when the provider hangs and Redis is
	 * away. What has not had its turn within two seconds is `ERR_BROKER_CLOSED`; functions of `onSignedIn` that run have
	 * two seconds. Calls of APIs that have not begun to answer have `network.timeout` more, and then bodies that are being
	 * read as long again.
	 */
	close(): Promise<void> {
		this.#closing ??= this.#close()
		return this.#closing
	}

	async #close(): Promise<void> {
		const ending = setTimeout(() => this.#flights.endWaits(closed()), closingPatience)
		await this.#flights.settled()
		await this.#settled()
		await withTimeout(Promise.allSettled(this.#finishing), closingPatience, () => [])
		clearTimeout(ending)
		this.#closed = true
		// What was signed out, or taken back, meanwhile.
		await this.#settled()
		await this.#pool.close()
		await Promise.all([this.#http.close(), this.#notices?.close(), ...this.#closeToo.map((close) => close())])
		this.#held.clear()
	}

	/** Waits for what is under way, and for what that begins; then the store is told what it was not told yet. */
	async #settled(): Promise<void> {
		while (this.#running.size > 0) await Promise.allSettled(this.#running)
		await Promise.all([this.#unsaved, this.#owed, ...this.#outboxes].map((outbox) => outbox.close()))
	}

	#acquire(ticket: SessionTicket, scopes: NormalisedScopes, request: SilentRequest, replaces?: number) {
		const { partition, account } = ticket
		const forceRefresh = request.forceRefresh === true
		const key = JSON.stringify([scopes.key, request.claims ?? null, forceRefresh, replaces ?? null])
		return this.#flights.join(partition, key, async (flight) => {
			const { store, pool } = this.#settings
			const started = performance.now()
			const deadline = started + pool.taskTimeout - wayBack
			const step = (how: Step) => {
				return this.#withFreshCredential(async () => {
					const stored = store.kind === 'memory' ? store.read(partition) : undefined
					const heldOff = store.kind === 'memory' ? store.heldOff(partition, account.tenantId) : undefined
					const unsaved = this.#unsaved.get(partition)
					const params = {
						partition,
						homeAccountId: account.homeAccountId,
						scopes: scopes.asked,
						forceRefresh,
						...(replaces !== undefined && { replaces }),
						...how,
						sentAt: monotonic(),
						correlationId: request.correlationId ?? randomUUID(),
						...(request.claims !== undefined && { claims: request.claims }),
						...(stored && { stored }),
						...(heldOff && { heldOff }),
						...(unsaved && { unsaved }),
						...(await this.#clientAssertion()),
					}
					// Who has a slot has waited for it, perhaps: newcomers do not go before.
					const answer = await this.#pool.begin('acquire', params, how.lease !== 'never')
					this.#store(ticket, answer, flight)
					if (answer.state === 'failed') throw BrokerError.fromWire(answer.error)
					return answer
				})
			}
			// In memory there is no lease to keep the others from it: one step at a time changes it.
			const ours = store.kind === 'memory'
			const work = acquireInSteps(
				(how) => (ours ? this.#turns.take(partition, () => step(how)) : step(how)),
				this.#slots,
				{
					forced: forceRefresh || request.claims !== undefined,
					joins: request.claims === undefined,
					deadline,
					whileWanted: flight.whileWanted,
				},
			)
			// The caller's patience ends at the deadline; what has been begun goes on, and what it brings is kept.
			const whole = this.#runs(work)
			const result = await this.#pool.within(whole).catch((error) => {
				// What other calls hold of it is as little worth.
				if (error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT') this.#held.drop(partition)
				publishAcquisition(() => ({
					...(error instanceof BrokerError && { error: error.code }),
					duration: performance.now() - started,
					joined: flight.joined,
				}))
				throw error
			})
			if (flight.abandoned) throw new BrokerError('ERR_SIGNED_OUT', 'The session was signed out meanwhile.')
			const token = this.#keep(
				partition,
				result.account,
				scopes,
				result.token,
				result.outcome,
				started,
				request.claims,
			)
			// Last: whoever hears of it may sign the session out.
			publishAcquisition(() => ({
				outcome: result.outcome,
				duration: performance.now() - started,
				joined: flight.joined,
				queued: result.queued,
				...(result.leaseWait !== undefined && { leaseWait: result.leaseWait }),
			}))
			return token
		})
	}

	/**
	 * What a refresh brought is stored, or kept until it can be, whether or not anybody waits for it still; but not what
	 * comes after a sign-out, which the store would refuse to take.
	 */
	#store(
		{ partition, account }: SessionTicket,
		answer: AcquireAnswer,
		flight: { readonly abandoned: boolean },
	): void {
		if (answer.state !== 'done' && answer.state !== 'failed') return
		const { store } = this.#settings
		if (store.kind === 'memory' && answer.sealed !== undefined)
			store.commit(partition, answer.sealed, answer.state === 'done' ? answer.account : undefined)
		if (answer.state === 'done') {
			if (answer.unsaved && !flight.abandoned) this.#unsaved.keep(partition, answer.unsaved)
		} else if (store.kind === 'memory' && answer.holdOff) {
			const { whose, milliseconds } = answer.holdOff
			store.holdOff(whose, whose === 'tenant' ? account.tenantId : partition, answer.error, milliseconds)
		}
	}

	#runs<T>(work: Promise<T>): Promise<T> {
		this.#running.add(work)
		const done = () => this.#running.delete(work)
		work.then(done, done)
		return work
	}

	/** Nobody waits for this one, and nobody hears of its failure: the held token is still good. */
	#refreshBehind(ticket: SessionTicket, scopes: NormalisedScopes, held: HeldToken): void {
		if (this.#closing) return
		held.cooldownUntil = performance.now() + refreshCooldown
		// Not forced: another process may have replaced the token already.
		this.#acquire(ticket, scopes, {}, held.token.expiresOn.getTime()).result.catch(() => {})
	}

	#keep(
		partition: string,
		account: SignedInAccount,
		scopes: NormalisedScopes,
		token: WireToken,
		outcome: Outcome,
		confirmedAt: number,
		claims?: string,
	): AcquiredToken {
		if (outcome === 'refreshed') this.#health.providerCalled()
		const { cache, refresh } = this.#settings
		const usableUntil = token.expiresOn - cache.expiryMargin
		const refreshOn = refreshTime({
			now: Date.now(),
			refreshOn: token.refreshOn,
			expiresOn: token.expiresOn,
			usableUntil,
			after: refresh.after,
		})
		const acquired = toAcquiredToken(token, account, refreshOn, outcome)
		// A look at the store that took longer than a refresh beside it.
		const other = this.#held.get(partition, scopes.key, scopes.wanted, claims, Date.now())
		if (outcome === 'cached' && other && other.token.expiresOn > acquired.expiresOn) return acquired
		const held = withOutcome(acquired, 'hit')
		this.#held.put(partition, {
			token: held,
			answer: Promise.resolve(held),
			scopesKey: scopes.key,
			granted: grantedScopes(token.scopes).set,
			claims,
			refreshOn,
			usableUntil,
			cooldownUntil: 0,
			confirmedAt,
			askedAt: Number.NEGATIVE_INFINITY,
			answered: undefined,
		})
		return acquired
	}

	/** In this process nothing of the partition is answered any more, whatever is still under way. */
	#forget(partition: string): void {
		this.#flights.abandon(partition)
		this.#held.drop(partition)
		this.#alive.delete(partition)
		this.#unsaved.drop(partition)
		this.#looks.abandon(partition)
		const { store } = this.#settings
		if (store.kind === 'memory') store.remove(partition)
	}

	/** Since when every sign-out in another process is heard of. */
	#heardSince(): number {
		return this.#notices?.heardSince ?? 0
	}

	/**
	 * Asks the store whether a partition is alive. A store that can't be asked takes nobody's token away.
	 * @returns whether it answered
	 * @throws ERR_SIGNED_OUT when the partition is gone
	 */
	async #confirm(partition: string): Promise<boolean> {
		const now = performance.now()
		if (now < this.#storeIsDownUntil) return false
		try {
			const { exists } = await this.#pool.run('exists', { partition })
			this.#storeIsDownUntil = Number.NEGATIVE_INFINITY
			if (exists) return true
		} catch {
			this.#storeIsDownUntil = now + storeIsDownFor
			return false
		}
		this.#forget(partition)
		throw signedOut()
	}

	#markOf(used: string, use: UsedTransaction): string {
		return this.#sealer.seal('used-transaction', used, JSON.stringify(use))
	}

	async #recall(
		used: string,
		mark: string,
	): Promise<{ readonly returnTo?: string; readonly lives: boolean }> {
		const opened = this.#sealer.open('used-transaction', used, mark)
		const use = opened.ok ? readUse(opened.plaintext) : undefined
		if (!use) return { lives: false }
		const { returnTo, partition, until = 0 } = use
		// Posted twice at the same time: what the first one begins is not there yet.
		return { returnTo, lives: Date.now() < until || (await this.#lives(partition)) }
	}

	async #repeated(used: string, mark: string): Promise<SignIn> {
		const { returnTo, lives } = await this.#recall(used, mark)
		if (!lives || returnTo === undefined) throw rejected('It was used before.')
		return { repeated: true, returnTo }
	}

	/** The provider's endpoints, asked of a worker when first needed and kept. */
	#provider(): Promise<ProviderMetadata> {
		this.#metadata ??= this.#pool.run('metadata', {}).catch((error) => {
			this.#metadata = undefined
			this.#health.providerCalled(error)
			throw error
		})
		return this.#metadata
	}

	/** A credential that the provider refuses may have been rolled: it is read anew and tried once more. */
	async #withFreshCredential<T>(work: () => Promise<T>): Promise<T> {
		try {
			return await work()
		} catch (error) {
			this.#health.providerCalled(error)
			if (!(error instanceof BrokerError) || error.code !== 'ERR_CLIENT_REJECTED') throw error
			const rolls = this.#settings.auth.credential.rolls || this.#assertion !== undefined
			if (!rolls || (await this.#reloadOnce()) === 'failed') throw error
			return work()
		}
	}

	/** One reload for all who were refused together. */
	#reloadOnce(): Promise<'done' | 'failed'> {
		const now = performance.now()
		if (!this.#reloading || now - this.#reloading.at > reloadInterval)
			this.#reloading = {
				at: now,
				done: this.reload().then(
					() => 'done' as const,
					(error) => {
						warnOfCredential(error)
						return 'failed' as const
					},
				),
			}
		return this.#reloading.done
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
	const settings = resolveSettings(options)
	const broker = await TokenBroker.start(settings)
	warnOfUnsafeSettings(settings)
	return broker
}

const hit = (): Acquisition => ({ outcome: 'hit', duration: 0 })

function warnOfCredential(error: unknown): void {
	const why = error instanceof BrokerError ? error.message : 'unknown error'
	process.emitWarning(`the credential could not be read anew: ${why}`, 'KoaMsalWarning')
}

function signedOut(): BrokerError {
	return new BrokerError('ERR_SIGNED_OUT', 'The session has no tokens any more. Sign in again.')
}

function closed(): BrokerError {
	return new BrokerError('ERR_BROKER_CLOSED', 'The broker was closed.')
}

async function abortable<T>(
	work: Promise<T>,
	signal: AbortSignal | undefined,
	leave?: () => void,
): Promise<T> {
	if (!signal) return work
	let stop: (() => void) | undefined
	const aborted = new Promise<never>((_, reject) => {
		stop = () => {
			reject(signal.reason)
			leave?.()
		}
		signal.addEventListener('abort', stop, { once: true })
	})
	try {
		return await Promise.race([work, aborted])
	} finally {
		if (stop) signal.removeEventListener('abort', stop)
	}
}
