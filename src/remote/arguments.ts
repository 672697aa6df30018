import { BrokerError } from '../errors.js'
import { type SessionLike, type SessionTicket, ticketOf } from '../session.js'
import { checkSilentRequest, type SilentRequest } from '../silent-request.js'

/** A {@link SilentRequest} that can be cloned: an `AbortSignal` cannot. */
export type RemoteRequest = Omit<SilentRequest, 'signal'>

/** Characters of one text in a ticket. */
const maxText = 16_384

/** The ticket of a session, field by field: whatever else is in the session stays in its thread. */
export function checkTicket(session: SessionLike): SessionTicket | null {
	const ticket = ticketOf(session)
	if (!ticket) return null
	const { homeAccountId, tenantId, objectId, username, upn, name, mail, loginHint } = ticket.account
	return {
		partition: ticket.partition,
		account: {
			homeAccountId: text(homeAccountId, 'account.homeAccountId'),
			tenantId: text(tenantId, 'account.tenantId'),
			objectId: text(objectId, 'account.objectId'),
			username: text(username, 'account.username'),
			...(upn !== undefined && { upn: text(upn, 'account.upn') }),
			...(name !== undefined && { name: text(name, 'account.name') }),
			...(mail !== undefined && { mail: text(mail, 'account.mail') }),
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

/** A signal is heard in the caller's thread; one that comes over the port is nobody's. */
export function checkRequest(request: unknown = {}): RemoteRequest {
	if (typeof request !== 'object' || request === null) return checkSilentRequest(request)
	const { signal: _, ...rest } = request as SilentRequest
	return checkSilentRequest(rest)
}

function text(value: unknown, field: string): string {
	if (typeof value !== 'string' || value.length > maxText)
		throw refused(field, `should be a text of at most ${maxText} characters`)
	return value
}

function refused(field: string, rule: string): BrokerError {
	return new BrokerError('ERR_BAD_REQUEST', `${field} ${rule}.`)
}
