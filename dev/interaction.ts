import type { IncomingMessage } from 'node:http'
import { parse } from 'node:querystring'
import type { Context } from 'koa'
import type { Interaction, InteractionResults, Provider } from 'oidc-provider'
import { permissionOf } from './dialect/scopes.js'
import { renderConsentPage } from './pages/consent.js'
import { renderErrorPage } from './pages/error.js'
import { renderSignInPage } from './pages/sign-in.js'
import { findByUserName, type Person } from './people.js'
import type { Tenant } from './tenant.js'

const DECLINED = {
	error: 'access_denied',
	error_description: 'AADSTS65004: User declined to consent to access the app.',
}

/** What a person may be asked on the way to a code: who they are, and whether they agree. */
export function createInteraction(provider: Provider, tenant: Tenant, autoLogin: boolean | 'hinted') {
	return async (ctx: Context): Promise<void> => {
		const asked = await provider.interactionDetails(ctx.req, ctx.res).catch(() => undefined)
		if (!asked) {
			ctx.status = 400
			return renderErrorPage(ctx, {
				error: 'invalid_request',
				error_description:
					'This sign-in has ended or was begun in another browser. Start again from the application.',
			})
		}
		const form = ctx.method === 'POST' ? parse(await readText(ctx.req)) : {}
		const finish = async (result: InteractionResults): Promise<void> => {
			ctx.respond = false
			await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true })
		}
		if (form.cancel) return finish(DECLINED)
		if (asked.prompt.name === 'consent') return consent(ctx, asked, finish)
		return signIn(ctx, asked, form, finish)
	}

	async function signIn(
		ctx: Context,
		asked: Interaction,
		form: NodeJS.Dict<string | string[]>,
		finish: (result: InteractionResults) => Promise<void>,
	): Promise<void> {
		const hint = text(asked.params.login_hint)
		const login = (person: Person) =>
			finish({ login: { accountId: person.oid, amr: ['pwd'], remember: true }, select_account: {} })
		const active = tenant.people.filter((person) => !person.disabled)
		if (ctx.method === 'GET') {
			const person = hintedPerson(active, hint) ?? (autoLogin === true ? active[0] : undefined)
			if (autoLogin && person) return login(person)
		}
		const typed = text(form.username)
		const chosen = form.oid ? tenant.person(text(form.oid)) : findByUserName(active, typed)
		if (ctx.method === 'POST' && chosen) return login(chosen)
		if (ctx.method === 'POST') ctx.status = 400
		renderSignInPage(ctx, {
			people: active,
			application: applicationName(asked),
			typed: ctx.method === 'POST' ? typed : hint,
			unknown: ctx.method === 'POST',
		})
	}

	async function consent(
		ctx: Context,
		asked: Interaction,
		finish: (result: InteractionResults) => Promise<void>,
	): Promise<void> {
		const missing = (asked.prompt.details.missingResourceScopes ?? {}) as Record<string, readonly string[]>
		if (ctx.method === 'POST' || autoLogin) {
			const permissions = Object.entries(missing).map(
				([name, scopes]) => [name, scopes.map(permissionOf)] as const,
			)
			tenant.consent(text(asked.params.client_id), Object.fromEntries(permissions))
			return finish({ consent: {} })
		}
		renderConsentPage(ctx, { application: applicationName(asked), scopes: Object.values(missing).flat() })
	}

	function applicationName(asked: Interaction): string {
		const clientId = text(asked.params.client_id)
		return tenant.client(clientId)?.name ?? clientId
	}
}

/** A hint is a user name, or the opaque `login_hint` claim of an earlier id_token. */
function hintedPerson(everybody: readonly Person[], hint: string): Person | undefined {
	return findByUserName(everybody, hint) ?? everybody.find((person) => hint === `O.${person.oid}`)
}

async function readText(request: IncomingMessage): Promise<string> {
	let body = ''
	for await (const chunk of request) {
		body += chunk
		if (body.length > 10_000) throw new Error('The form is too large')
	}
	return body
}

function text(value: unknown): string {
	return typeof value === 'string' ? value : ''
}
