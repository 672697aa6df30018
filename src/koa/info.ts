import type { Context } from 'koa'
import type { InfoFields } from '../settings.js'
import type { Login } from './login.js'
import { accountOf, type SignedIn, signedIn } from './signed-in.js'

/** Who is signed in, with the application's own fields beside this library's; or that nobody is. */
export async function info(ctx: Context, login: Login): Promise<void> {
	const account = await accountOf(ctx, login)
	if (!account) {
		ctx.body = { authenticated: false }
		return
	}
	const whose = signedIn(ctx, login, account)
	const own = Object.entries(login.settings.info).map(
		async ([name, field]) => [name, await jsonOf(field, whose)] as const,
	)
	ctx.body = {
		...Object.fromEntries(await Promise.all(own)),
		authenticated: true,
		name: account.name ?? null,
		username: account.username,
		mail: account.mail ?? null,
		objectId: account.objectId,
		tenantId: account.tenantId,
	}
}

/** What a field that throws would have said, or one that JSON cannot say, is null: the others are still of use. */
async function jsonOf(field: InfoFields[string], whose: SignedIn): Promise<unknown> {
	try {
		const text = JSON.stringify(await field(whose)) as string | undefined
		return text === undefined ? null : JSON.parse(text)
	} catch (error) {
		const { ctx } = whose
		ctx.app.emit('error', error instanceof Error ? error : new TypeError('A field of info threw.'), ctx)
		return null
	}
}
