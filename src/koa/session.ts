import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context, Middleware } from 'koa'
import createKoaSession, { type CreateSessionOptions } from 'koa-session'
import { LRUCache } from 'lru-cache'
import { BrokerError } from '../errors.js'
import { Outbox } from '../outbox.js'
import { randomText } from '../random.js'
import { createSealer, type Opened } from '../sealing.js'
import { ticketOf } from '../session.js'
import { type KoaMsalOptions, resolveSettings, type Settings } from '../settings.js'
import { rejected } from '../sign-in.js'
import { beforeHead } from './before-head.js'
import { createCookieSignatures } from './cookie-signatures.js'
import { clearCookie, hasCookie, leaveCookie, readCookieValues, sessionCookie, setCookie } from './cookies.js'
import { isCrossSite } from './cross-site.js'
import { keepHeadersOfErrors } from './error-headers.js'
import { unprinted, unprintedWhenSaved } from './quiet-session.js'
import { answerError } from './refuse.js'
import { checkAddress } from './request-address.js'
import { toBrowserPath } from './return-to.js'
import { createMemoryBackend, createRedisBackend } from './session-backend.js'
import { parseData, pickData, type SessionData } from './session-data.js'
import { signedOutHere } from './signed-out-here.js'

/** The session middleware, which has a connection to close. */
export interface MsalSession extends Middleware {
	/** Closes the connection to Redis, when the requests under way have stored their sessions: in two seconds at most. */
	close(): Promise<void>
}

/** What this library's routes do with the sessions of {@link createMsalSession} beyond `ctx.session`. */
export interface OwnSessions {
	/** The id that the request brought, when its signature is good. */
	readonly id: string | undefined
	/** The id that a session of this request was given last, stored or not yet. */
	newest(): string | undefined
	/** Reads another session than the request's. */
	read(id: string): Promise<SessionData | undefined>
	/**
	 * Ends a session, the request's or another. Another that is a visitor's is ended when what the request has to store
	 * is stored: what takes its place may be refused.
	 */
	end(id: string, isVisitors: boolean): Promise<void>
	/** Tells of a route that signs out, to which nobody comes whose session can't be read. @param mark what it does then */
	signsOutAt(path: string, mark: (id: string) => Promise<void>): void
}

/** What one request knows of its session. */
interface RequestSession {
	/** Cookie ids by the key that koa-session is given in their place. */
	readonly ids: Map<string, string>
	readonly id: string | undefined
	/** Where its session is stored; empty without an id. */
	readonly key: string
	/** The cookie was signed with an older secret. */
	readonly outdated: boolean
	/** The key whose stored session the request holds. */
	loaded: string | undefined
	/** Somebody else ended the session meanwhile: nothing more of this request is stored, under no id. */
	ended: boolean
	/** When the session ends at the latest. */
	deadline: number | undefined
	/** Of the sign-in that the deadline counts from. */
	partition: string | undefined
	/** Keys of visitors' sessions that this one takes the place of. */
	readonly replaced: Set<string>
	/** Its session could not be stored. */
	failed: boolean
	cookie: 'keep' | 'clear' | { readonly key: string }
}

/** The stores of this library's session middlewares, to be told from those of a plain koa-session. */
const ownStores = new WeakSet<object>()

const ownByRequest = new WeakMap<object, OwnSessions>()

/** Of a request, if this library's session middleware ran. */
export function ownSessionsOf(ctx: Context): OwnSessions | undefined {
	return ownByRequest.get(ctx.req)
}

/** How often a session that is only read is told to the store to live on: 1/100 of its idle time. */
const touchesPerIdleTime = 100

/**
 * Characters of a sealed session at most, some 780 KB of JSON. What is longer would be read and opened by each of its
 * requests: it is removed, and none is stored.
 */
const longestSealed = 1_048_576

/** Bytes of sessions that are kept opened, about: some 10,000 of them. */
const openedBytes = 16 * 1_048_576

/** Milliseconds in which the requests under way have to be done when the connection is to be closed. */
const closingPatience = 2000

/**
 * koa-session, with sealed contents in memory or (through koa-redis) in Redis.
 *
 * The cookie is a random id and its signature, under keys derived from `secrets`; `app.keys` is not touched. The
 * store's key is a hash of the id, so that neither a dump of Redis nor a debug log opens a session. Idle and
 * absolute lifetime are enforced by the store.
 * @throws ERR_CONFIG
 */
export function createMsalSession(options: KoaMsalOptions): MsalSession {
	return sessionMiddleware(resolveSettings(options))
}

/** {@link createMsalSession} for settings that are checked already. */
export function sessionMiddleware(settings: Settings): MsalSession {
	const { store, secrets, auth, namespace } = settings
	const { idleTimeout, absoluteTimeout } = settings.session
	const { clientId } = auth
	const backend = store.kind === 'redis' ? createRedisBackend(store, namespace) : createMemoryBackend(store)
	const sealer = createSealer(secrets, clientId)
	const signatures = createCookieSignatures(settings)
	const cookie = sessionCookie(settings)
	const requests = new WeakMap<object, RequestSession>()
	const touched = new LRUCache<string, true>({ max: 10_000, ttl: idleTimeout / touchesPerIdleTime })

	// Keyed by the client id, not by a secret: an id has 256 random bits, and rolling secrets must sign nobody out.
	const keyOf = (id: string) =>
		`${namespace}:s:${createHmac('sha256', clientId).update(id).digest('base64url')}`
	const requestOf = (ctx: Context | undefined) => {
		const request = requests.get((ctx as Context).req)
		if (!request) throw new BrokerError('ERR_CONFIG', 'A session is stored behind msalSession alone.')
		return request
	}

	/**
	 * What was opened last under a key, for as long as the store brings the same text: most requests only read their
	 * session, and a key of its own for each sealing costs more than the rest of the work on a session.
	 */
	const opened = new LRUCache<string, { readonly sealed: string; readonly result: Opened }>({
		maxSize: openedBytes,
		sizeCalculation: ({ sealed }) => 2 * sealed.length,
	})
	const open = (key: string, sealed: string): Opened => {
		const known = opened.get(key)
		if (known?.sealed === sealed) return known.result
		const result = sealer.open('session', key, sealed)
		// Once: under a key that is yet to come, the session stays and is looked at with every request.
		if (!result.ok) process.emitWarning(`a session cannot be opened: ${result.reason}`, 'KoaMsalWarning')
		opened.set(key, { sealed, result })
		return result
	}

	/** Of who has signed out nothing stays opened in memory either. */
	const remove = (key: string) => {
		opened.delete(key)
		return backend.remove(key)
	}

	/** Whose tokens end with a session is in it: one whose sign-out is owed is read, and removed, when the store is told. */
	const end = async (key: string) => owed.get(key) === undefined && remove(key)

	const load = async (key: string): Promise<ReturnType<typeof parseData>> => {
		const sealed = await backend.get(key)
		if (sealed === undefined) return undefined
		if (sealed.length > longestSealed) {
			process.emitWarning('a session is too long and was removed, unopened', 'KoaMsalWarning')
			await remove(key)
			return undefined
		}
		const result = open(key, sealed)
		if (!result.ok) {
			if (result.reason === 'damaged') await remove(key)
			return undefined
		}
		const stored = parseData(result.plaintext)
		if (stored && stored.deadline > Date.now()) {
			// Else a session that is only read would end when the older secret is taken away.
			if (result.outdated)
				backend.reseal(key, sealed, sealer.seal('session', key, result.plaintext)).catch(() => {})
			return stored
		}
		await remove(key)
		return undefined
	}

	/** @returns false when the person was signed out meanwhile: nothing of them stays */
	const bindOrEnd = async (key: string, partition: string): Promise<boolean> => {
		if (await backend.bind(key, partition)) return true
		await remove(key)
		process.emitWarning(
			'a session was ended as it began, for its tokens are gone: has the broker another store?',
			'KoaMsalWarning',
		)
		return false
	}

	const koaSessionOptions: CreateSessionOptions = {
		key: cookie.name,
		signed: false,
		// No expiry in the cookie or the data: the store decides.
		maxAge: 'session',
		...unprintedWhenSaved,
		genid: (ctx: Context) => {
			const id = randomText()
			const key = keyOf(id)
			// In front of msalSession, the session is empty and nobody's.
			requests.get(ctx.req)?.ids.set(key, id)
			return key
		},
		externalKey: {
			get: (ctx: Context) => requestOf(ctx).key,
			set: (ctx: Context, key: string) => {
				const request = requestOf(ctx)
				if (request.loaded === key) request.cookie = { key }
			},
		},
		store: {
			get: async (key: string, _maxAge: number, { ctx }: { ctx?: Context }) => {
				const stored = await current(key)
				if (!stored) return undefined
				const request = requestOf(ctx)
				request.loaded = key
				request.deadline = stored.deadline
				request.partition = ticketOf(stored.data)?.partition
				if (!touched.has(key)) {
					touched.set(key, true)
					// Not waited for, and harmless when it fails: the next one comes soon.
					backend.touch(key, Math.max(1, Math.min(idleTimeout, stored.deadline - Date.now()))).catch(() => {})
				}
				return unprinted({ ...stored.data, _session: true })
			},
			set: async (key: string, session: SessionData, _maxAge: number, { ctx }: { ctx?: Context }) => {
				const request = requestOf(ctx)
				const partition = ticketOf(session)?.partition
				const signedInNow = partition !== undefined && partition !== request.partition
				if (request.deadline === undefined || signedInNow) request.deadline = Date.now() + absoluteTimeout
				request.partition = partition
				const lifetime = Math.min(idleTimeout, request.deadline - Date.now())
				let hasNoTokens = false
				const isNew = request.loaded !== key
				if (owed.get(key)) {
					if (isNew && !request.ended)
						throw new BrokerError('ERR_STORE_UNAVAILABLE', 'This session could not be stored a moment ago.')
					request.ended = true
				}
				if (lifetime <= 0) {
					request.ended = true
					await end(key)
				} else if (!request.ended) {
					try {
						const data = JSON.stringify({ deadline: request.deadline, data: pickData(session) })
						const sealed = sealer.seal('session', key, data)
						if (sealed.length > longestSealed)
							throw new BrokerError('ERR_CONFIG', 'A session is longer than 1 MiB, sealed. Keep less in it.')
						if (isNew) await backend.create(key, sealed, lifetime)
						else request.ended = !(await backend.replace(key, sealed, lifetime))
						// After it is stored: a sign-out that comes between finds nothing to end, and leaves nothing to bind to.
						if (partition !== undefined && (isNew || signedInNow) && !request.ended)
							request.ended = hasNoTokens = !(await bindOrEnd(key, partition))
						request.failed = false
					} catch (error) {
						request.failed = true
						// Nobody has the cookie of a sign-in that fails here: neither its tokens nor its session are to stay; nor is the
						// second one of a visitor who was refused. Any other ends by itself: anybody could have so many owed that
						// sign-outs are lost.
						if (isNew && signedInNow) owe(key, partition)
						else if (isNew && request.replaced.size > 0) owe(key)
						throw error
					}
				}
				// Ended meanwhile, by a sign-out or a sign-in: neither the session nor its cookie comes back.
				if (request.ended) request.cookie = 'keep'
				request.loaded = request.ended ? undefined : key
				// What has been signed out stays so: this sign-in has no session, and is to leave no tokens.
				if (request.ended && signedInNow && !hasNoTokens) {
					owe(key, partition)
					throw rejected('Its session was ended meanwhile.')
				}
			},
			destroy: async (key: string, { ctx }: { ctx?: Context }) => {
				const request = requestOf(ctx)
				const wasLoaded = request.loaded === key
				request.loaded = undefined
				request.cookie = 'clear'
				const removed = await end(key)
				// A new id for a session that is gone (`regenerate()`) would bring it back.
				if (wasLoaded && !removed) request.ended = true
			},
		},
	}

	ownStores.add(koaSessionOptions.store as object)
	const middlewares = new WeakMap<object, Middleware>()
	const middlewareOf = (app: Context['app']): Middleware => {
		let middleware = middlewares.get(app)
		if (!middleware) {
			middleware = createKoaSession({ ...koaSessionOptions }, app)
			middlewares.set(app, middleware)
		}
		return middleware
	}

	/**
	 * The id in a cookie `id.signature`, when one of the secrets signed it. Of several cookies, the first that is
	 * signed: without the `__Host-` prefix, a neighbouring host or path can set one of the same name before ours.
	 */
	const readId = (values: readonly string[]): { id: string | undefined; outdated: boolean } => {
		for (const value of values) {
			const [, id = '', signature = ''] = /^([\w-]{43})\.([\w-]{43})$/.exec(value) ?? []
			const index = id === '' ? -1 : signatures.indexOf(id, signature)
			if (index >= 0) return { id, outdated: index > 0 }
		}
		return { id: undefined, outdated: false }
	}

	let underWay = 0
	let lastIsDone = () => {}

	const msalSession = async (ctx: Context, next: () => Promise<unknown>) => {
		underWay++
		try {
			await serve(ctx, next)
		} finally {
			if (--underWay === 0) lastIsDone()
		}
	}

	const serve = async (ctx: Context, next: () => Promise<unknown>) => {
		const values = readCookieValues(ctx.req, cookie.name)
		const presented = values.length > 0
		const { id, outdated } = readId(values)
		const key = id === undefined ? '' : keyOf(id)
		const request: RequestSession = {
			ids: new Map(id === undefined ? [] : [[key, id]]),
			id,
			key,
			outdated,
			loaded: undefined,
			ended: false,
			deadline: undefined,
			partition: undefined,
			replaced: new Set(),
			failed: false,
			cookie: 'keep',
		}
		requests.set(ctx.req, request)
		ownByRequest.set(ctx.req, {
			id,
			newest: () => [...request.ids.values()].at(-1),
			signsOutAt: (path, mark) => signOuts.set(path, mark),
			read: async (other) => (await current(keyOf(other)))?.data,
			end: async (other, isVisitors) => {
				const key = keyOf(other)
				if (isVisitors && key !== request.key) {
					request.replaced.add(key)
					return
				}
				// This request ends it itself, and may begin another.
				if (request.loaded === key) request.loaded = undefined
				await end(key)
			},
		})
		let finished = false
		const concerned = () => presented || request.cookie !== 'keep'
		keepHeadersOfErrors(ctx, concerned)
		// What is streamed past Koa has its head before the session is done; or after it, as what a middleware in front has
		// had its say about: with our cookie in it, that is no other person's either.
		beforeHead(
			ctx.res,
			() => (finished ? hasCookie(ctx.res, cookie) : concerned()),
			() => finish(ctx, request, presented),
		)
		try {
			checkAddress(ctx)
			const middleware = middlewareOf(ctx.app)
			// koa-session yields to one that was there first, in whose cookie everything would then be readable.
			if (!ownStores.has((ctx as { sessionOptions?: { store?: object } }).sessionOptions?.store ?? {}))
				throw new BrokerError(
					'ERR_CONFIG',
					'This application has another koa-session. Use msalSession alone, or leave it out: msalRoutes work on the other.',
				)
			await middleware(ctx, next)
		} catch (error) {
			if (isUnavailable(error) && id !== undefined && request.loaded === undefined) {
				const mark = signOutOf(ctx)
				if (mark) {
					request.cookie = 'clear'
					owe(key)
					mark(id).catch(() => {}) // It is kept, as what is owed here is.
					return await answerError(ctx, signedOutHere(error), { settings, path: loginPath })
				}
			}
			// Koa takes these two for no error, and would never answer.
			throw error ?? new Error(`non-error thrown: ${error}`)
		} finally {
			if (!request.failed) await endAll(request.replaced)
			finish(ctx, request, presented)
			finished = true
		}
	}

	let toldLate = false
	const tellLate = () => {
		if (toldLate) return
		toldLate = true
		process.emitWarning(
			'a session began after the head of its answer was sent, so the browser has no cookie of it. Change ctx.session before the answer is written, and await ctx.session.manuallyCommit() where it is written past Koa.',
			'KoaMsalWarning',
		)
	}

	const finish = (ctx: Context, request: RequestSession, presented: boolean) => {
		if (request.cookie === 'keep' && request.outdated && request.loaded)
			request.cookie = { key: request.loaded }
		// An answer that is under way takes no more headers.
		if (ctx.headerSent) {
			if (
				typeof request.cookie === 'object' &&
				request.cookie.key !== request.key &&
				!hasCookie(ctx.res, cookie)
			)
				tellLate()
			return
		}
		if (request.cookie === 'keep') leaveCookie(ctx.res, cookie)
		else if (request.cookie === 'clear') clearCookie(ctx.res, cookie)
		else {
			const id = request.ids.get(request.cookie.key) ?? ''
			setCookie(ctx.res, cookie, `${id}.${signatures.sign(id)}`)
		}
		// A shared cache must not hand one person's page, or cookie, to another.
		if (request.cookie !== 'keep') ctx.set('Cache-Control', 'no-store')
		else if (presented && !ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store')
	}

	// Somebody signs out while the store can't be reached: the browser's part is done at once, ours when it is back.
	const owed = new Outbox<{ readonly partition: string | undefined }>('sign-outs', async (key, known) => {
		// A session that could not be read then says now whose tokens are to end with it.
		const partition = known.partition ?? ticketOf((await load(key))?.data)?.partition
		if (partition !== undefined) await backend.endTokens(partition)
		await remove(key)
		return 'done'
	})
	const owe = (key: string, partition?: string) =>
		owed.keep(key, { partition: partition ?? owed.get(key)?.partition })
	const endAll = async (keys: Iterable<string>) => {
		await Promise.all([...keys].map((key) => end(key).catch(() => owe(key))))
	}
	/** Who has signed out is nobody, before the store knows it and while it is away. */
	const current = async (key: string) => {
		const stored = owed.get(key) ? undefined : await load(key)
		// Also when that happened while it was read.
		return owed.get(key) ? undefined : stored
	}
	const loginPath = toBrowserPath(settings.basePath, settings.paths.login)
	/** By the path of their routes: what else is to be known of a sign-out. The routes behind may have paths of their own. */
	const signOuts = new Map<string, (id: string) => Promise<void>>([[settings.paths.logout, async () => {}]])
	const signOutOf = (ctx: Context) => {
		if (isCrossSite(ctx, settings)) return undefined
		const isAt = (route: string) => ctx.path === route || ctx.path.startsWith(`${route}/`)
		return [...signOuts].find(([route]) => isAt(route))?.[1]
	}
	let closing: Promise<void> | undefined

	const close = async () => {
		const done = new Promise<void>((resolve) => {
			lastIsDone = resolve
		})
		if (underWay > 0) await Promise.race([done, sleep(closingPatience, undefined, { ref: false })])
		await owed.close()
		await backend.close()
	}

	return Object.assign(msalSession as Middleware, {
		close() {
			closing ??= close()
			return closing
		},
	})
}

function isUnavailable(error: unknown): error is BrokerError {
	return error instanceof BrokerError && error.code === 'ERR_STORE_UNAVAILABLE'
}
