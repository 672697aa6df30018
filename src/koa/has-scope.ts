import { canonicalScope } from '../canonical-scope.js'
import { BrokerError } from '../errors.js'
import { createGuard, type Guard } from './guard.js'
import { loginOf } from './login.js'
import { navigates } from './page.js'

/**
 * Lets people through for whom the application can have a token with this scope. A browser whose person has not
 * consented yet is sent to do so, and comes back; an API client gets 403 `insufficient_scope`, which names the scope.
 * @param scope as a token is asked for: `Mail.Read`, `api://…/access_as_user`
 * @throws ERR_CONFIG `scope` is none
 */
export function hasScope(scope: string): Guard {
	if (typeof scope !== 'string' || !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope))
		throw new BrokerError('ERR_CONFIG', 'hasScope() needs one scope.')
	const refused = (cause?: unknown) =>
		new BrokerError('ERR_FORBIDDEN', `This needs the permission ${scope}, which was not granted.`, {
			scopes: [scope],
			cause,
		})
	return createGuard('hasScope', async (ctx) => {
		const { broker, session } = loginOf(ctx)
		try {
			const { scopes } = await broker.acquireSilent(session(ctx), { scopes: [scope] })
			if (!isGranted(scope, scopes)) throw refused()
			return true
		} catch (error) {
			const wantsConsent = error instanceof BrokerError && error.code === 'ERR_INTERACTION_REQUIRED'
			// A claims challenge wants the person themselves, whatever scope they have consented to.
			if (!wantsConsent || error.claims !== undefined || navigates(ctx)) throw error
			throw refused(error)
		}
	})
}

/** A provider may grant less than was asked for (RFC 6749, 3.3), and then says so. */
function isGranted(scope: string, granted: readonly string[]): boolean {
	// Stands for whatever was consented to beforehand, and is not among what is granted.
	return scope.endsWith('/.default') || granted.map(canonicalScope).includes(canonicalScope(scope))
}
