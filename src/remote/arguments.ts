import type { SilentRequest } from '../broker.js'
import { BrokerError } from '../errors.js'
import { type SessionLike, type SessionTicket, ticketOf } from '../session.js'
import { isRecord } from './messages.js'

/** A {@link SilentRequest} that can be cloned: an `AbortSignal` cannot. */
export type RemoteRequest = Omit<SilentRequest, 'signal'>

/** Characters of one text in a request. A claims challenge, the longest, has a few hundred. */
const maxText = 16_384

/** Far more scopes than one resource's token is ever asked for. */
const maxScopes = 100

/** The ticket of a session, field by field: whatever else is in the session stays in its thread. */
export function checkTicket(session: SessionLike): SessionTicket | null {
	const ticket = ticketOf(session)
	if (!ticket) return null
	const { homeAccountId, tenantId, objectId, username, name, loginHint } = ticket.account
	return {
		partition: ticket.partition,
		account: {
			homeAccountId: text(homeAccountId, 'account.homeAccountId'),
			tenantId: text(tenantId, 'account.tenantId'),
			objectId: text(objectId, 'account.objectId'),
			username: text(username, 'account.username'),
			...(name !== undefined && { name: text(name, 'account.name') }),
			...(loginHint !== undefined && { loginHint: text(loginHint, 'account.loginHint') }),
		},
	}
}

/** The session that a call from the other thread is about: a ticket, or nobody's. */
export function sessionFrom(ticket: unknown): SessionLike {
	if (ticket === null) return null
	const msal = checkTicket({ msal: ticket })
	if (!msal) throw refused('The session', 'should carry a ticket of this library, or none')
	return { msal }
}

export function checkRequest(request: unknown = {}): RemoteRequest {
	if (!isRecord(request)) throw refused('The request', 'should be an object')
	const { scopes, forceRefresh, claims, correlationId } = request
	if (forceRefresh !== undefined && typeof forceRefresh !== 'boolean')
		throw refused('forceRefresh', 'should be a boolean')
	return {
		...(scopes !== undefined && { scopes: scopeList(scopes) }),
		...(forceRefresh !== undefined && { forceRefresh }),
		...(claims !== undefined && { claims: text(claims, 'claims') }),
		...(correlationId !== undefined && { correlationId: text(correlationId, 'correlationId') }),
	}
}

function scopeList(value: unknown): string[] {
	if (!Array.isArray(value) || value.length > maxScopes)
		throw refused('scopes', `should be a list of at most ${maxScopes} texts`)
	return Array.from(value, (scope) => text(scope, 'scopes'))
}

function text(value: unknown, field: string): string {
	if (typeof value !== 'string' || value.length > maxText)
		throw refused(field, `should be a text of at most ${maxText} characters`)
	return value
}

function refused(field: string, rule: string): BrokerError {
	return new BrokerError('ERR_BAD_REQUEST', `${field} ${rule}.`)
}
