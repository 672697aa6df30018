import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import { ofStore } from './of-store.js'
import { type SessionStore, sealedEndOf, sealedReadOf } from './sealed-session-store.js'
import { ownSessionsOf } from './session.js'
import { mendSession, pickData, restoreData, type SessionData } from './session-data.js'

/** Which object is the session of a request. */
export type SelectSession = (ctx: Context) => object | null | undefined

/** A session that is not koa-session's: its data are its own enumerable properties but `id`. */
export interface ApplicationSession {
	/** Gives the session a new id: it is empty then, and is filled afterwards. */
	regenerate(): unknown
	/** Ends the session. */
	destroy(): unknown
}

/** What the routes do with the session of a request, whoever keeps it. */
export interface SessionAccess {
	/** Names the session that the request brought, for an answer of the provider that comes without its cookie. */
	readonly id: string | undefined
	/** The id in the request's cookie, whether its session is there or not, where a session can be asked for by one. */
	readonly presented: string | undefined
	/** What the request's session holds. */
	readonly data: SessionData
	/** Reads a session, the request's or another. */
	read(id: string): Promise<SessionData | undefined>
	/** Ends a session, the request's or another; a visitor's, where that can be, when the one after it is stored. */
	end(id: string, isVisitors: boolean): Promise<void>
	/** Puts data in place of all that the request's session holds, under a new id. @returns that, where it is known */
	renew(data: SessionData): Promise<string | undefined>
	/** Ends the request's session, the browser's part of it first. */
	drop(): Promise<void>
}

/** What koa-session puts on every request. */
interface KoaSessionOptions {
	readonly store?: SessionStore
	readonly ContextStore?: new (ctx: Context) => SessionStore
	readonly maxAge: number
	readonly rolling?: boolean
	readonly autoCommit?: boolean
	readonly key: string
	readonly signed: boolean
	readonly externalKey?: { get(ctx: Context): string | undefined }
	readonly valid?: (ctx: Context, data: SessionData) => unknown
}

interface KoaSession extends SessionData {
	readonly isNew: boolean
	readonly externalKey?: string
	regenerate(): Promise<void>
	manuallyCommit(): Promise<void>
}

/** Stores and selecting functions about which the application was told something. */
const told = new WeakSet<object>()

/**
 * The session of a request, for the routes.
 * @throws ERR_CONFIG when there is none, or none that can be given a new id and be ended
 */
export function sessionAccess(ctx: Context, select: SelectSession): SessionAccess {
	const own = ownSessionsOf(ctx)
	const selected = select(ctx)
	const isKoas = selected === ctx.session
	if (own && isKoas)
		return {
			...own,
			presented: own.id,
			data: pickData(ctx.session ?? {}),
			renew: async (data) => {
				await renewKoaSession(ctx, data, own.id === undefined ? undefined : 'regenerate')
				return own.newest()
			},
			drop: async () => {
				ctx.session = null
			},
		}
	const options = isKoas ? koaSessionOptions(ctx) : undefined
	if (options) return foreignKoaSession(ctx, options)
	if (selected) return applicationSession(ctx, select, selected)
	throw noSession()
}

/**
 * Tells a misplaced session middleware with the first request, whatever it asks for; and once, that an own koa-session
 * is not sealed.
 * @throws ERR_CONFIG
 */
export function checkSession(ctx: Context, select: SelectSession): void {
	if (ownSessionsOf(ctx)) return
	const options = koaSessionOptions(ctx)
	const store = options?.store ?? options?.ContextStore
	if (store && !sealedReadOf(store))
		tellOnce(
			store,
			'msalRoutes run on the application’s own koa-session, whose contents are not sealed, and whose sessions a slow request can bring back after a sign-out. Give it store: sealedSessionStore(store, broker).',
		)
	if (!options && !select(ctx)) throw noSession()
	// koa-session puts whatever its store brings onto its session.
	if (store && ctx.session) mendSession(ctx.session)
}

function noSession(): BrokerError {
	return new BrokerError(
		'ERR_CONFIG',
		'app.use(msalSession), or the middleware of the application’s own session, has to come before app.use(msalRoutes).',
	)
}

function koaSessionOptions(ctx: Context): KoaSessionOptions | undefined {
	return (ctx as { sessionOptions?: KoaSessionOptions }).sessionOptions
}

function tellOnce(about: object, warning: string): void {
	if (told.has(about)) return
	told.add(about)
	process.emitWarning(warning, 'KoaMsalWarning')
}

/** The application's own koa-session. An answer of the provider brings no Lax cookie, so its store is asked by key. */
function foreignKoaSession(ctx: Context, options: KoaSessionOptions): SessionAccess {
	const { maxAge, rolling = false, valid, ContextStore } = options
	const store = ContextStore ? new ContextStore(ctx) : options.store
	if (!store)
		throw new BrokerError(
			'ERR_CONFIG',
			'The application’s koa-session keeps its data in the browser’s cookie, where no sign-out can end it. Give it a store, as in store: sealedSessionStore(store, broker).',
		)
	const session = ctx.session as KoaSession | null
	const id = session && !session.isNew ? session.externalKey : undefined
	if (session && typeof session.regenerate !== 'function')
		throw new BrokerError(
			'ERR_CONFIG',
			'This koa-session can’t give a session a new id: version 6.4 or later can.',
		)
	const get = sealedReadOf(store) ?? store.get.bind(store)
	const destroy = sealedEndOf(store) ?? store.destroy.bind(store)
	return {
		id,
		get presented() {
			return id ?? keyOf(ctx, options)
		},
		data: pickData(session ?? {}),
		read: async (other) => {
			const data = await ofStore(() => get(other, maxAge, { ctx, rolling }))
			const restored = restoreData(data)
			if (!restored) return undefined
			const { _expire } = data as SessionData
			if (typeof _expire === 'number' && _expire < Date.now()) return undefined
			return valid && !valid(ctx, data as SessionData) ? undefined : restored
		},
		end: async (other) => {
			await ofStore(() => destroy(other, { ctx }))
		},
		renew: (data) =>
			ofStore(async () => {
				// One that is new has a new id, which koa-session tells of none but those. With `autoCommit: false` nothing
				// else stores it.
				await renewKoaSession(ctx, data, session?.isNew ? 'manuallyCommit' : 'regenerate')
				return session?.isNew ? session.externalKey : undefined
			}),
		drop: async () => {
			ctx.session = null
			if (options.autoCommit === false) await ofStore(() => session?.manuallyCommit())
		},
	}
}

/** As koa-session reads it. */
function keyOf(ctx: Context, options: KoaSessionOptions): string | undefined {
	return options.externalKey ? options.externalKey.get(ctx) : ctx.cookies.get(options.key, options)
}

async function renewKoaSession(
	ctx: Context,
	data: SessionData,
	store: 'regenerate' | 'manuallyCommit' | undefined,
): Promise<void> {
	ctx.session ??= {}
	const session = ctx.session as KoaSession
	empty(session, pickData(session))
	Object.assign(session, data)
	if (store === undefined) return
	try {
		await session[store]()
	} catch (error) {
		// Else koa-session would store it under the id that was there before, which somebody else may have.
		ctx.session = null
		throw error
	}
}

function empty(session: object, data: SessionData): void {
	for (const name of Object.keys(data)) delete (session as SessionData)[name]
}

/** Any other session: the one of the request is all that is known of it. */
function applicationSession(ctx: Context, select: SelectSession, selected: object): SessionAccess {
	const [regenerate, destroy] = [methodOf(selected, 'regenerate'), methodOf(selected, 'destroy')]
	if (!regenerate || !destroy)
		throw new BrokerError(
			'ERR_CONFIG',
			'The session that `session: (ctx) => …` selects needs the methods regenerate(), which gives it a new id at sign-in, and destroy(), which ends it at sign-out. A koa-session with a store needs neither.',
		)
	const before = dataOf(selected)
	return {
		id: theRequests,
		presented: undefined,
		data: before,
		read: async () => before,
		// That is done by `renew`.
		end: async () => {},
		renew: async (data) => {
			empty(selected, before)
			await ofStore(regenerate)
			// It may be another object now.
			const renewed = select(ctx)
			if (!renewed)
				throw new BrokerError(
					'ERR_CONFIG',
					'`session: (ctx) => …` selects no session any more once regenerate() has given it a new id.',
				)
			Object.assign(renewed, dataOf(data))
			return theRequests
		},
		drop: async () => {
			await ofStore(destroy)
		},
	}
}

/** A method of a session; of its class when data of that name were stored. */
function methodOf(session: object, name: keyof ApplicationSession): (() => unknown) | undefined {
	const inherited: unknown = Object.getPrototypeOf(session)?.[name]
	const method = [(session as Partial<ApplicationSession>)[name], inherited].find(
		(one): one is () => unknown => typeof one === 'function',
	)
	return method?.bind(session)
}

/**
 * Whatever an application has put into a session of its own, by whatever name: nothing of it is to be overlooked, but
 * what hides a method.
 */
function dataOf(session: object): SessionData {
	const methods = Object.getPrototypeOf(session) ?? {}
	const kept = ([name, value]: [string, unknown]) =>
		name !== 'id' &&
		name !== '__proto__' &&
		typeof value !== 'function' &&
		typeof methods[name] !== 'function'
	return Object.fromEntries(Object.entries(session).filter(kept))
}

/** In place of the id of a session that can't be asked for by one. */
const theRequests = 'of-the-request'
