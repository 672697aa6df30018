import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { createSealer } from '../sealing.js'
import type { Settings } from '../settings.js'
import { type LoginTransaction, transactionLifetime } from '../sign-in.js'
import { clearCookie, leaveCookie, readCookies, setCookie, transactionCookie } from './cookies.js'

/** Sign-ins under way that one browser keeps; each cookie has some 700 bytes, with a long path up to 2,100. */
const newest = 5

/** Bytes of the cookies of all of them: many a proxy refuses a Cookie header of 8 KiB. */
const maxBytes = 6 * 1024

/**
 * Bytes of an answer's head for the provider's address and all transaction cookies: with what else is there, less than
 * 4 KiB, which is what many a proxy takes (nginx's `proxy_buffer_size`).
 */
const maxHead = 3200

/** Bytes of a cookie in it beside name and value: its attributes, and the name of the header. */
const bytesBeside = 72

/** Older sign-ins that can be taken back in any case: each new one adds one. */
const leastCleared = 3

/** Cookies of unfinished sign-ins that are looked at; whoever sends more has made them up. */
const lookedAt = 20

const purpose = 'transaction'

/** A sign-in under way, and which one in a row it is if a guard has begun it. */
export interface BrowserTransaction extends LoginTransaction {
	readonly round?: number
}

/** The web session that a sign-in starts from. */
type StartingPoint = Pick<LoginTransaction, 'sessionId' | 'partition'>

/**
 * Sign-ins under way, in the browser: an anonymous visitor costs the store nothing. Sealed, so that nobody reads
 * the code verifier; bound by the seal to their own name and client id; `HttpOnly`; short-lived.
 */
export function createTransactions(settings: Settings) {
	const sealer = createSealer(settings.secrets, settings.auth.clientId)
	const prefix = transactionCookie(settings, '').name
	const cookieOf = (state: string) =>
		transactionCookie(settings, createHash('sha256').update(state).digest('base64url').slice(0, 16))

	const open = (name: string, sealed: string | undefined): BrowserTransaction | undefined => {
		const opened = sealed === undefined ? undefined : sealer.open(purpose, name, sealed)
		return opened?.ok ? (JSON.parse(opened.plaintext) as BrowserTransaction) : undefined
	}

	/** Bytes of a cookie's line in the head, without its value. */
	const lineBytes = cookieOf('').name.length + bytesBeside + settings.basePath.length

	/** Sealed whole; or, where that is too long, leading to the front page. */
	const seal = (name: string, transaction: BrowserTransaction, room: number): string => {
		const sealed = (what: BrowserTransaction) => sealer.seal(purpose, name, JSON.stringify(what))
		const whole = sealed(transaction)
		return whole.length <= room ? whole : sealed({ ...transaction, returnTo: `${settings.basePath}/` })
	}

	return {
		/** Keeps a transaction, and of the older ones the newest. @param url where the browser is sent */
		begin(ctx: Context, transaction: BrowserTransaction, url: string): void {
			const cookie = cookieOf(transaction.state)
			const room = maxHead - url.length - lineBytes
			const sealed = seal(cookie.name, transaction, room - leastCleared * lineBytes)
			const cleared = Math.max(leastCleared, Math.floor((room - sealed.length) / lineBytes))
			const older = underWay(ctx)
			let bytes = cookie.name.length + sealed.length
			const surplus = older.filter(({ bytes: more }, index) => {
				bytes += more
				return index >= newest - 1 || bytes > maxBytes
			})
			for (const { name } of surplus.slice(-cleared)) clearCookie(ctx.res, named(name))
			setCookie(ctx.res, cookie, sealed, transactionLifetime / 1000)
		},

		/** The transactions of an answer with these states; their cookies are deleted, unless one is given back. */
		take: (ctx: Context, states: readonly string[]) =>
			takeNamed(ctx, [...new Set(states.map((state) => cookieOf(state).name))]),

		/** Nothing has come of it yet: its cookie stays. */
		giveBack: (ctx: Context, { state }: BrowserTransaction) => leaveCookie(ctx.res, cookieOf(state)),

		/**
		 * A sign-in is done, or was refused to a visitor: the others of this browser start from its session now, for its cookie does not come with the
		 * provider's answer, and each has to end what it takes the place of. One that finds no room in the head ends.
		 * @param path where the browser is sent
		 */
		startFrom(ctx: Context, done: BrowserTransaction, session: StartingPoint, path: string): void {
			const others = underWay(ctx)
				.flatMap(({ name, transaction }) => (transaction ? { name, transaction } : []))
				.filter(({ transaction }) => transaction.state !== done.state)
				.slice(0, newest - 1)
			let room = maxHead - path.length - (others.length + 1) * lineBytes
			for (const { name, transaction } of others) {
				const { sessionId: _, ...begun } = transaction
				const sealed = seal(name, { ...begun, ...session }, room)
				const left = transaction.createdAt + transactionLifetime - Date.now()
				if (sealed.length > room || left <= 0) clearCookie(ctx.res, named(name))
				else {
					setCookie(ctx.res, named(name), sealed, Math.ceil(left / 1000))
					room -= sealed.length
				}
			}
		},

		/**
		 * The one sign-in under way, when an answer has come that is not its own: it ends. Of several it cannot be said
		 * which one was meant: they stay, and with them the other tabs.
		 */
		takeOnly(ctx: Context): readonly BrowserTransaction[] {
			const names = Object.keys(readCookies(ctx.req)).filter((name) => name.startsWith(prefix))
			return names.length === 1 ? takeNamed(ctx, names) : []
		},
	}

	/** What the request brings of sign-ins under way, the newest first. */
	function underWay(ctx: Context) {
		return Object.entries(readCookies(ctx.req))
			.filter(([name]) => name.startsWith(prefix))
			.slice(0, lookedAt)
			.map(([name, value = '']) => ({
				name,
				bytes: name.length + value.length,
				transaction: open(name, value),
			}))
			.sort((a, b) => (b.transaction?.createdAt ?? 0) - (a.transaction?.createdAt ?? 0))
	}

	function takeNamed(ctx: Context, names: readonly string[]): readonly BrowserTransaction[] {
		const cookies = readCookies(ctx.req)
		return names.flatMap((name) => {
			const sealed = cookies[name]
			if (sealed === undefined) return []
			clearCookie(ctx.res, named(name))
			return open(name, sealed) ?? []
		})
	}

	function named(name: string) {
		return transactionCookie(settings, name.slice(prefix.length))
	}
}
