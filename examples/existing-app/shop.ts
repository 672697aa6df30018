// A web shop as it was before anybody signed in with Entra ID: with its own session, router, body parsing and error
// pages. Nothing here knows of koa-msal.
import { bodyParser } from '@koa/bodyparser'
import Router from '@koa/router'
import Koa, { type Context, type DefaultState, type Middleware } from 'koa'
import createSession from 'koa-session'

/** What the shop is put together from. */
export interface ShopParts {
	/** koa-session's store. */
	readonly sessions: {
		get(key: string, maxAge: number, options: { rolling: boolean }): Promise<unknown>
		set(key: string, session: object, maxAge: number, options: { rolling: boolean }): Promise<void>
		destroy(key: string, options: object): Promise<void>
	}
	/** What comes between session and pages. */
	readonly signIn: readonly Middleware[]
	/** Lets only customers through. */
	readonly customersOnly: Middleware
	/** Who the customer is. */
	readonly customerOf: (ctx: Context) => string | undefined
}

const articles = ['lamp', 'chair', 'table']

/** The shop, ready for `listen` or `callback`. */
export function createShop({ sessions, signIn, customersOnly, customerOf }: ShopParts): Koa {
	const app = new Koa()
	app.keys = [process.env.SHOP_KEY ?? 'a key for the shop on a developer’s machine']
	app.use(answerErrors)
	app.use(createSession({ key: 'shop.sid', store: sessions, sameSite: 'lax' }, app))
	app.use(bodyParser())
	for (const middleware of signIn) app.use(middleware)

	const router = new Router<DefaultState, Context>()
	router.get('/', (ctx) => {
		const customer = customerOf(ctx)
		ctx.type = 'html'
		ctx.body = `<!doctype html><title>Shop</title><h1>Shop</h1>
<p>${customer === undefined ? '<a href="user/login">Sign in</a>' : `Hello ${escapeHtml(customer)}. <a href="user/logout">Sign out</a>`}</p>
<p>In your basket: ${basketOf(ctx).join(', ') || 'nothing'}</p>
<form method="post" action="basket">${articles.map((name) => `<button name="article" value="${name}">${name}</button>`).join(' ')}</form>
<p><a href="orders">Your orders</a></p>`
	})
	router.post('/basket', (ctx) => {
		const { article } = (ctx.request.body ?? {}) as { article?: unknown }
		if (typeof article !== 'string' || !articles.includes(article))
			ctx.throw(400, 'There is no such article.')
		ctx.session.basket = [...basketOf(ctx), article]
		ctx.status = 303
		ctx.set('Location', './')
		ctx.body = ''
	})
	router.get(
		'/orders',
		(ctx, next) => customersOnly(ctx, next),
		(ctx) => {
			ctx.session.looked = (ctx.session.looked ?? 0) + 1
			ctx.body = { customer: customerOf(ctx), looked: ctx.session.looked, orders: [] }
		},
	)
	app.use(router.routes() as unknown as Middleware)
	return app
}

/** The shop's own error pages. */
const answerErrors: Middleware = async (ctx, next) => {
	try {
		await next()
	} catch (error) {
		const {
			status = 500,
			expose = false,
			message,
			headers = {}, // how soon to try again
		} = error as { status?: number; expose?: boolean; message: string; headers?: Record<string, string> }
		ctx.status = status
		ctx.set(headers)
		ctx.type = 'html'
		ctx.body = `<!doctype html><title>Shop</title><h1>The shop is sorry (${status})</h1><p>${escapeHtml(expose ? message : 'It is our fault.')}</p>`
		if (status >= 500) ctx.app.emit('error', error, ctx)
	}
}

function basketOf(ctx: Context): string[] {
	return ctx.session.basket ?? []
}

function escapeHtml(text: string): string {
	return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
