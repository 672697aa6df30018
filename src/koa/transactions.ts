import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { createSealer } from '../sealing.js'
import type { Settings } from '../settings.js'
import { type LoginTransaction, transactionLifetime } from '../sign-in.js'
import { clearCookie, readCookies, setCookie, transactionCookie } from './cookies.js'

/** Sign-ins under way that one browser keeps; each cookie has some 700 bytes, with a long path up to 2,100. */
const newest = 5

/** Bytes of the cookies of all of them: many a proxy refuses a Cookie header of 8 KiB. */
const maxBytes = 6 * 1024

/** Cookies of unfinished sign-ins that are looked at; whoever sends more has made them up. */
const lookedAt = 20

const purpose = 'transaction'

/**
 * Sign-ins under way, in the browser: an anonymous visitor costs the store nothing. Sealed, so that nobody reads
 * the code verifier; bound by the seal to their own name and client id; `HttpOnly`; short-lived.
 */
export function createTransactions(settings: Settings) {
	const sealer = createSealer(settings.secrets, settings.auth.clientId)
	const prefix = transactionCookie(settings, '').name
	const cookieOf = (state: string) =>
		transactionCookie(settings, createHash('sha256').update(state).digest('base64url').slice(0, 16))

	const open = (name: string, sealed: string | undefined): LoginTransaction | undefined => {
		const opened = sealed === undefined ? undefined : sealer.open(purpose, name, sealed)
		return opened?.ok ? (JSON.parse(opened.plaintext) as LoginTransaction) : undefined
	}

	return {
		/** Keeps a transaction, and of the older ones the newest. */
		begin(ctx: Context, transaction: LoginTransaction): void {
			const cookie = cookieOf(transaction.state)
			const sealed = sealer.seal(purpose, cookie.name, JSON.stringify(transaction))
			const older = Object.entries(readCookies(ctx.req))
				.filter(([name]) => name.startsWith(prefix))
				.slice(0, lookedAt)
				.map(([name, value = '']) => ({
					name,
					bytes: name.length + value.length,
					createdAt: open(name, value)?.createdAt ?? 0,
				}))
				.sort((a, b) => b.createdAt - a.createdAt)
			let bytes = cookie.name.length + sealed.length
			for (const [index, { name, bytes: more }] of older.entries()) {
				bytes += more
				if (index >= newest - 1 || bytes > maxBytes) clearCookie(ctx.res, named(name))
			}
			setCookie(ctx.res, cookie, sealed, transactionLifetime / 1000)
		},

		/** The transaction of an answer with this state; its cookie is deleted, whatever comes of it. */
		take(ctx: Context, state: string): LoginTransaction | undefined {
			const cookie = cookieOf(state)
			const sealed = readCookies(ctx.req)[cookie.name]
			if (sealed === undefined) return undefined
			clearCookie(ctx.res, cookie)
			return open(cookie.name, sealed)
		},

		/**
		 * Ends the one sign-in under way, when an answer has come that is not its own. Of several it cannot be said
		 * which one was meant: they stay, and with them the other tabs.
		 */
		endOnly(ctx: Context): void {
			const [only, more] = Object.keys(readCookies(ctx.req)).filter((name) => name.startsWith(prefix))
			if (only !== undefined && more === undefined) clearCookie(ctx.res, named(only))
		},
	}

	function named(name: string) {
		return transactionCookie(settings, name.slice(prefix.length))
	}
}
