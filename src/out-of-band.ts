import { randomUUID } from 'node:crypto'
import type { AcquiredToken } from './acquired-token.js'
import type { TokenBroker } from './broker.js'
import { publishOutOfBandUse } from './diagnostics.js'
import { BrokerError } from './errors.js'
import { normaliseScopes } from './scopes.js'
import { checkSilentRequest, type SilentRequest } from './silent-request.js'
import { checkUserReference, nameOf, namesOf } from './user-reference.js'
import type { UserReference } from './wire.js'

/** What `forUser` is asked for: as `acquireSilent`, but for the scopes, which have to be named. */
export interface OutOfBandRequest extends SilentRequest {
	readonly scopes: readonly string[]
}

/**
 * A token of somebody who is not there, from the newest of their sessions that can get it. What is allowed is looked
 * at before anybody is looked for, and every use that gets as far as that is told to the audit channel.
 */
export async function acquireOutOfBand(
	broker: Pick<TokenBroker, 'acquireSilent' | 'sessions'>,
	allowedScopes: readonly string[],
	user: UserReference,
	request: OutOfBandRequest,
): Promise<AcquiredToken> {
	checkUserReference(user)
	const { scopes, correlationId = randomUUID(), ...rest } = checkSilentRequest(request)
	if (scopes === undefined)
		throw new BrokerError('ERR_BAD_REQUEST', 'scopes should name what forUser is for.')
	let { objectId } = user as { readonly objectId?: string }
	const publish = (end: { outcome: AcquiredToken['outcome'] } | { outcome: 'failed'; error: unknown }) =>
		publishOutOfBandUse(() => ({
			tenantId: user.tenantId,
			...(objectId !== undefined && { objectId }),
			scopes,
			correlationId,
			outcome: end.outcome,
			...('error' in end && end.error instanceof BrokerError && { error: end.error.code }),
		}))
	try {
		requireAllowed(scopes, allowedScopes)
		const sessions = await broker.sessions.find(user)
		objectId = sessions[0]?.account.objectId ?? objectId
		const token = await acquireFromNewest(broker, user, sessions, { ...rest, scopes, correlationId })
		publish({ outcome: token.outcome })
		return token
	} catch (error) {
		publish({ outcome: 'failed', error })
		throw error
	}
}

/** OpenID Connect's own scopes choose no token: alone they would be answered with any. */
function requireAllowed(scopes: readonly string[], allowedScopes: readonly string[]): void {
	const allowed = new Set(normaliseScopes(allowedScopes).wanted)
	const { wanted } = normaliseScopes(scopes)
	if (wanted.length === 0 || !wanted.every((scope) => allowed.has(scope)))
		throw new BrokerError('ERR_FORBIDDEN', 'The setting outOfBand.scopes does not allow these scopes.')
}

/** A session that has ended, or can't get the scopes, leaves it to the next; anything else is told as it is. */
async function acquireFromNewest(
	broker: Pick<TokenBroker, 'acquireSilent'>,
	user: UserReference,
	sessions: Awaited<ReturnType<TokenBroker['sessions']['find']>>,
	request: OutOfBandRequest,
): Promise<AcquiredToken> {
	let refusal: BrokerError | undefined
	for (const msal of sessions) {
		try {
			const token = await broker.acquireSilent({ msal }, request)
			// It may have been refreshed just now, and by that have another name: of one that was imported, nobody but its
			// record had said until then who it is.
			const { mail } = msal.account
			const account = { ...token.account, ...(mail !== undefined && { mail }) }
			if (namesOf(account).includes(nameOf(user))) return token
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error
			if (error.code === 'ERR_INTERACTION_REQUIRED') refusal ??= error
			else if (error.code !== 'ERR_SIGNED_OUT') throw error
		}
	}
	throw refusal ?? new BrokerError('ERR_NOT_FOUND', 'This user has no session now.')
}
