import { randomUUID } from 'node:crypto'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { GRAPH } from '../directory.js'
import { type Exchange, exchangeOf } from '../exchange.js'
import type { Tenant } from '../tenant.js'
import { clientInfo } from './claims.js'
import { entraError, translateRefusal } from './errors.js'
import { OIDC_SCOPES, permissionOf, unique } from './scopes.js'

type TokenAnswer = Record<string, unknown>

/** Turns the provider's answer at the token endpoint, good or bad, into Entra's. */
export async function translateTokenAnswer(
	ctx: KoaContextWithOIDC,
	tenant: Tenant,
	refreshIn: number | undefined,
): Promise<void> {
	const exchange = exchangeOf(ctx)
	const ids = { trace: randomUUID(), correlation: correlationOf(ctx) }
	ctx.set('x-ms-request-id', ids.trace)
	ctx.set('client-request-id', ids.correlation)
	const body: unknown = ctx.body
	if (!exchange || !isAnswer(body)) return
	if (ctx.status !== 200) {
		ctx.body = entraError(translateRefusal(body, exchange.refusal), tenant.origin, ids)
		return
	}
	const answer = translateSuccess(body, ctx, exchange, tenant, refreshIn)
	ctx.body = exchange.rewrite ? await exchange.rewrite(answer) : answer
}

function translateSuccess(
	body: TokenAnswer,
	ctx: KoaContextWithOIDC,
	{ sent }: Exchange,
	tenant: Tenant,
	refreshIn: number | undefined,
): TokenAnswer {
	const person = tenant.person(ctx.oidc.entities.Account?.accountId)
	const { scope, ...rest } = body
	return {
		...rest,
		// Entra's answer to client_credentials has no scope.
		...(person && typeof scope === 'string' && { scope: writeScope(scope, sent.scope, 'id_token' in body) }),
		ext_expires_in: body.expires_in,
		...(refreshIn !== undefined && { refresh_in: refreshIn }),
		...(person && sent.client_info === '1' && { client_info: clientInfo(person, tenant) }),
	}
}

/** Graph's permissions are answered without their resource if they were asked for that way. */
function writeScope(granted: string, asked: string | undefined, hasIdToken: boolean): string {
	const askedShort = (asked ?? '').split(' ').some((s) => s && !OIDC_SCOPES.includes(s) && !s.includes('://'))
	const written = granted
		.split(' ')
		.map((s) => (askedShort && s.startsWith(`${GRAPH}/`) ? permissionOf(s) : s))
	return unique([...written, ...(hasIdToken ? ['openid', 'profile', 'email'] : [])])
		.filter(Boolean)
		.join(' ')
}

function correlationOf(ctx: KoaContextWithOIDC): string {
	const asked = ctx.query['client-request-id']
	return (typeof asked === 'string' && asked) || ctx.get('client-request-id') || randomUUID()
}

function isAnswer(body: unknown): body is TokenAnswer {
	return typeof body === 'object' && body !== null && !Buffer.isBuffer(body)
}
