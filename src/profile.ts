import { publishProfileFailure } from './diagnostics.js'
import { BrokerError, type BrokerErrorCode } from './errors.js'
import type { Graph, GraphUser } from './graph.js'
import { isPlainText, toPlainText } from './plain-text.js'
import type { SessionTicket } from './session.js'

/** What sign-in found out of somebody; nothing of what could not be had. */
export interface Profile {
	readonly user?: GraphUser
	readonly manager?: GraphUser
}

/** Part of what a sign-in does for its profile. */
export type ProfilePart = 'user' | 'manager' | 'mail'

/** Milliseconds that a sign-in waits for its profile, all in all. */
const patience = 2000

/** With what the sign-in was granted: another permission would cost a refresh, and be refused where nobody consented. */
const scopes = ['User.Read']

/** Bytes of a ticket in JSON: it is read and written with every request. */
const maxTicketBytes = 1000

/** Characters of a name; of a mail address, what can be one (RFC 5321, 4.5.3.1.3). */
const maxName = 128
const maxMail = 254

/**
 * Asks Microsoft Graph for the profile. What can't be had in time, or at all, is told and left out.
 * @param record has the user found by what is known of them now; not begun where it would come too late
 */
export async function loadProfile(
	graph: Graph,
	which: 'user' | 'user+manager',
	attempt: Attempt,
	record: (user: GraphUser, signal: AbortSignal) => Promise<void>,
): Promise<Profile> {
	const signal = AbortSignal.timeout(patience)
	// The timeout keeps it from waiting as long as a Retry-After says, when that is too long.
	const request = { scopes, timeout: patience, signal }
	const loadUser = async () => {
		const user = await attempt('user', () => graph.me(request))
		if (user) await attempt('mail', () => record(user, signal))
		return user
	}
	const loadManager = () => attempt('manager', () => graph.manager(request))
	const [user, manager] = await Promise.all([
		loadUser(),
		which === 'user+manager' ? loadManager() : undefined,
	])
	return { ...(user && { user }), ...(manager && { manager }) }
}

/** Does a part of the work. @returns `undefined` when it fails: a person without a profile is signed in all the same */
export type Attempt = <T>(part: ProfilePart, work: () => Promise<T>) => Promise<T | undefined>

/** Tells each failure on the diagnostics channel, and of each kind one as a process warning. */
export function createAttempt(): Attempt {
	const warned = new Set<string>()
	return async (part, work) => {
		const started = performance.now()
		try {
			return await work()
		} catch (error) {
			const code = codeOf(error)
			publishProfileFailure(() => ({ part, error: code, duration: performance.now() - started }))
			if (!warned.has(part + code)) {
				warned.add(part + code)
				process.emitWarning(`${withoutIt[part]}: ${code}`, 'KoaMsalWarning')
			}
			return undefined
		}
	}
}

const withoutIt: Record<ProfilePart, string> = {
	user: 'a sign-in went on without the profile of its user',
	manager: 'a sign-in went on without the manager of its user',
	mail: 'a user cannot be found by mail address',
}

/** Only the deadline aborts, and a broker that closes. */
function codeOf(error: unknown): BrokerErrorCode {
	return error instanceof BrokerError ? error.code : 'ERR_DOWNSTREAM_UNAVAILABLE'
}

/** The ticket with what is shown of a profile; without what would make it too large. */
export function withProfile(ticket: SessionTicket, { user, manager }: Profile): SessionTicket {
	const { account } = ticket
	const shown = user ? { ...nameOf(user), ...account, ...mailOf(user) } : account
	const described = { ...ticket, account: shown }
	const whole = manager ? { ...described, manager: { ...nameOf(manager), ...mailOf(manager) } } : described
	return [whole, described].find((one) => Buffer.byteLength(JSON.stringify(one)) <= maxTicketBytes) ?? ticket
}

function nameOf({ displayName }: GraphUser): { readonly name?: string } {
	const name = toPlainText(displayName, maxName)
	return name === '' ? {} : { name }
}

/** A part of an address would be another one. */
export function mailOf({ mail }: GraphUser): { readonly mail?: string } {
	return mail === undefined || mail.length > maxMail || !isPlainText(mail) ? {} : { mail }
}
