import type { Context } from 'koa'
import { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { createSealer } from '../sealing.js'
import { ticketOf } from '../session.js'
import { rejected } from '../sign-in.js'
import { Turns } from '../turns.js'
import { leaveCookie } from './cookies.js'
import { patientStore } from './patient-store.js'
import { parseJson, restoreData, type SessionData } from './session-data.js'

/** What koa-session says to its store beside key and contents. */
export interface SessionStoreOptions {
	readonly rolling?: boolean
	readonly changed?: boolean
	/** The request. */
	readonly ctx?: unknown
}

/** A store of koa-session's, as the application has one already: koa-redis, or its own. */
export interface SessionStore {
	get(key: string, maxAge: number, options: SessionStoreOptions): unknown
	set(key: string, session: object, maxAge: number, options: SessionStoreOptions): unknown
	destroy(key: string, options: SessionStoreOptions): unknown
}

/** What {@link sealedSessionStore} returns: koa-session's option `store`. */
export interface SealedSessionStore {
	get(key: string, maxAge: number, options: SessionStoreOptions): Promise<SessionData | undefined>
	set(key: string, session: object, maxAge: number, options: SessionStoreOptions): Promise<void>
	destroy(key: string, options?: SessionStoreOptions): Promise<void>
}

/** What one request has to do with the store. */
interface StoreRequest {
	readonly ctx: Context
	/** Keys whose stored sessions it has been given. */
	readonly loaded: Set<string>
	/** Partitions of the tickets that it was given, or has stored. */
	readonly partitions: Set<string>
	/** Its session was ended meanwhile: nothing more of this request is stored, under no key. */
	ended: boolean
}

type Read = (key: string, maxAge: number, options: SessionStoreOptions) => Promise<SessionData | undefined>

type End = (key: string, options: SessionStoreOptions) => Promise<void>

/** What the routes do with a sealed store beyond koa-session. */
const insides = new WeakMap<object, { readonly read: Read; readonly end: End }>()

/** How a store that {@link sealedSessionStore} has made is read without regard to whether the session's tokens live. */
export function sealedReadOf(store: object): Read | undefined {
	return insides.get(store)?.read
}

/** How a session of such a store is ended by a request that may begin another, also when it has ended before. */
export function sealedEndOf(store: object): End | undefined {
	return insides.get(store)?.end
}

const purpose = 'application-session'

/** What koa-session lets a store keep a session for longer than its cookie, in milliseconds. */
const surplus = 10_000

/**
 * Lets an application keep its own koa-session beside this library's routes: what the store holds is sealed
 * (AES-256-GCM, bound to its key), and what has ended does not come back. A slow request that ends after a sign-out,
 * or after a sign-in that gave the session a new id, neither stores its session again nor touches the cookie; a
 * session whose tokens were signed out anywhere is over, with all its data, when it is next asked for. Sessions that
 * were stored without a seal are not read: whoever has one begins anew. A call of the store that fails, or takes longer
 * than five seconds, is `ERR_STORE_UNAVAILABLE` (503); what it writes later brings nothing back either.
 * @param store the application's store; its keys and times to live stay what they are
 * @param broker whose `secrets` seal
 * @example
 * ```ts
 * app.use(session({ store: sealedSessionStore(redisStore({ client }), broker) }, app))
 * app.use(createMsalRoutes(broker))
 * ```
 */
export function sealedSessionStore(store: SessionStore, broker: TokenBroker): SealedSessionStore {
	const patient = patientStore(store)
	const { secrets, auth } = TokenBroker.settingsOf(broker)
	const sealer = createSealer(secrets, auth.clientId)
	// One look and the write after it at a time: nothing ends a session between them, in this process.
	const turns = new Turns()
	const requests = new WeakMap<object, StoreRequest>()
	let warned = false

	const requestOf = ({ ctx }: SessionStoreOptions): StoreRequest => {
		if (typeof ctx !== 'object' || ctx === null)
			throw new BrokerError(
				'ERR_CONFIG',
				'sealedSessionStore needs a koa-session that tells its store the request (`ctx`): version 6.4 or later.',
			)
		const request = requests.get(ctx) ?? {
			ctx: ctx as Context,
			loaded: new Set(),
			partitions: new Set(),
			ended: false,
		}
		requests.set(ctx, request)
		return request
	}

	const read: Read = async (key, maxAge, options) => {
		const sealed = sealedTextOf(await patient.get(key, maxAge, options))
		if (sealed === undefined) return undefined
		const opened = sealed === '' ? undefined : sealer.open(purpose, key, sealed)
		if (!opened?.ok) {
			if (!warned)
				process.emitWarning(
					`a session cannot be opened: ${opened?.reason ?? 'it was stored without a seal'}`,
					'KoaMsalWarning',
				)
			warned = true
			if (opened?.reason === 'damaged') await patient.destroy(key, options)
			return undefined
		}
		const data = restored(opened.plaintext)
		if (!data) {
			await patient.destroy(key, options)
			return undefined
		}
		// Else a session that is only read would end when the older secret is taken away.
		if (opened.outdated) resealLater(key, sealed, data, maxAge, options)
		return data
	}

	const seal = (key: string, session: object) => ({
		sealed: sealer.seal(purpose, key, JSON.stringify(session)),
	})

	const resealLater = (
		key: string,
		before: string,
		data: SessionData,
		maxAge: number,
		options: SessionStoreOptions,
	): void => {
		const lifetime = typeof data._expire === 'number' ? data._expire - Date.now() + surplus : maxAge
		turns
			.take(key, async () => {
				if (sealedTextOf(await patient.get(key, maxAge, options)) === before)
					await patient.set(key, seal(key, data), lifetime, options)
			})
			// The next request tries again.
			.catch(() => {})
	}

	/** A store that can't be asked ends nobody's session. */
	const isOver = async (data: SessionData): Promise<boolean> =>
		ticketOf(data) !== undefined && !(await broker.isSignedIn(data).catch(() => true))

	const sealedStore: SealedSessionStore = {
		async get(key, maxAge, options) {
			const { loaded, partitions } = requestOf(options)
			const data = await read(key, maxAge, options)
			if (!data) return undefined
			if (await isOver(data)) {
				await patient.destroy(key, options)
				return undefined
			}
			loaded.add(key)
			const partition = ticketOf(data)?.partition
			if (partition !== undefined) partitions.add(partition)
			return data
		},
		async set(key, session, maxAge, options) {
			const request = requestOf(options)
			await turns.take(key, async () => {
				if (request.loaded.has(key) && !(await patient.get(key, maxAge, options))) request.ended = true
				const partition = ticketOf(session)?.partition
				const signedInNow = partition !== undefined && !request.partitions.has(partition)
				if (request.ended) {
					leaveSessionCookie(request.ctx)
					if (!signedInNow) return
					// What has been signed out stays so: this sign-in has no session, and is to leave no tokens.
					await broker.signOut(session)
					throw rejected('Its session was ended meanwhile.')
				}
				await patient.set(key, seal(key, session), maxAge, options)
				request.loaded.add(key)
				if (signedInNow) request.partitions.add(partition)
			})
		},
		async destroy(key, options = {}) {
			// koa-session 6 does not tell the request here.
			const request = options.ctx ? requestOf(options) : undefined
			await turns.take(key, async () => {
				// A new id for a session that is gone (`regenerate()`) would bring it back.
				if (request?.loaded.delete(key) && !(await patient.get(key, 0, options))) request.ended = true
				await patient.destroy(key, options)
			})
		},
	}
	insides.set(sealedStore, {
		read,
		end: async (key, options) => {
			requestOf(options).loaded.delete(key)
			await sealedStore.destroy(key, options)
		},
	})
	return sealedStore
}

/** What was sealed, with what koa-session itself has put there. */
function restored(plaintext: string): SessionData | undefined {
	const stored = parseJson(plaintext)
	const data = restoreData(stored)
	if (!data) return undefined
	const { _expire, _maxAge, _session } = stored as SessionData
	return {
		...data,
		...(Number.isFinite(_expire) && { _expire }),
		...(Number.isFinite(_maxAge) && { _maxAge }),
		...(_session === true && { _session }),
	}
}

/** The text under a key, empty for what was stored without a seal. */
function sealedTextOf(stored: unknown): string | undefined {
	if (stored === undefined || stored === null || stored === '') return undefined
	const { sealed } = stored as { readonly sealed?: unknown }
	return typeof sealed === 'string' ? sealed : ''
}

/** The browser may have the cookie of a newer session by now, which koa-session would replace or delete. */
function leaveSessionCookie(ctx: Context): void {
	const { key } = (ctx as { sessionOptions?: { readonly key?: string } }).sessionOptions ?? {}
	if (key === undefined || ctx.headerSent) return
	for (const name of [key, `${key}.sig`]) leaveCookie(ctx.res, { name })
	const { cookies } = ctx
	const set = cookies.set.bind(cookies)
	cookies.set = (name, ...rest) => (name === key ? cookies : set(name, ...rest))
}
