import type Koa from 'koa'
import type { Context } from 'koa'
import { excerptOf, type Generation, objectId } from '../people.js'
import type { Params, World } from '../scenario.js'

/**
 * A Koa application of the scenario `http`: `/ping` asks for nothing, `/token` for the session's token, `/refresh`
 * for a new one.
 */
export interface BenchApp {
	/** How a browser comes to a session: by the library's own routes, or by `/seed/{person}`. */
	readonly signIn: 'routes' | 'seed'
	/** The tokens that `/token` and `/refresh` answer. */
	readonly tokens: { readonly held: Generation; readonly refreshed: Generation }
	/** Calls to the session and token store so far. */
	storeCalls(): Promise<number>
	close(): Promise<void>
}

/** What `apps/<name>.ts` exports as `addTo`. @param origin where the application listens */
export type AddTo = (app: Koa, params: Params, world: World, origin: string) => Promise<BenchApp>

/** What an answer shows of a token: enough to tell whose it is and which. */
export function answerWith(ctx: Context, person: string, accessToken: string): void {
	ctx.body = { objectId: person, token: excerptOf(accessToken) }
}

/** A header of answers that came by a refresh which another request had begun: the provider does not see them. */
export const joinedHeader = 'joined-a-refresh'

/** What {@link answerWith} answers, as the text that whoever asks must get. */
export function answerDue(person: number, accessToken: string): string {
	return JSON.stringify({ objectId: objectId(person), token: excerptOf(accessToken) })
}
