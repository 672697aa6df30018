import { debuglog } from 'node:util'
import type { Context } from 'koa'

/**
 * koa-session prints whole sessions, as JSON, with `NODE_DEBUG=koa-session:context`, and Node decides at its start who
 * prints. Nothing here costs anything otherwise.
 */
const prints = debuglog('koa-session:context').enabled

/** What is there, and nobody's data. */
const placeholder = () => '(session data)'

/** The same data, which JSON shows nothing of, where koa-session would print them. */
export function unprinted<T extends object>(data: T): T {
	return prints ? Object.defineProperty(data, 'toJSON', { value: placeholder }) : data
}

/** For koa-session's options: what it is about to save, and prints before. */
export const unprintedWhenSaved = prints && {
	beforeSave(_: Context, session: { toJSON(): object }) {
		Object.defineProperty(session, 'toJSON', {
			configurable: true,
			value(this: { toJSON?(): object }) {
				// Once: by what it says later, koa-session tells whether the session has changed.
				delete this.toJSON
				return unprinted((this as typeof session).toJSON())
			},
		})
	},
}
