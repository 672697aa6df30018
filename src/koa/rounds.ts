import type { Context } from 'koa'
import type { Settings } from '../settings.js'
import { readCookies, roundsCookie, setCookie } from './cookies.js'

/** Times in a row that guards send a browser to sign in: once for the person, and for some scopes after another. */
const most = 5

/** Seconds from one sign-in within which the next is one in a row. */
const memory = 15

/**
 * Which one in a row a sign-in would be that a guard sends a browser to; `undefined` when it has come back to an error
 * often enough. A provider that knows the person asks them nothing: they would go round for ever.
 */
export function nextRound(ctx: Context, settings: Settings): number | undefined {
	const [, before = '0'] = /^(\d)$/.exec(readCookies(ctx.req)[roundsCookie(settings).name] ?? '') ?? []
	const round = Number(before) + 1
	return round > most ? undefined : round
}

/** The browser has come back. */
export function endRound(ctx: Context, settings: Settings, round: number): void {
	setCookie(ctx.res, roundsCookie(settings), String(round), memory)
}
