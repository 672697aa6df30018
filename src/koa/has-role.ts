import { BrokerError } from '../errors.js'
import { claimsOf } from '../session.js'
import { createGuard, type Guard } from './guard.js'
import { loginOf } from './login.js'

/**
 * Lets people through who have a role: one of the application's own by its value (the claim `roles`), or one of the
 * directory by its template id (`wids`). As the sign-in said: what is given or taken since then counts from the next.
 * @throws ERR_CONFIG `role` is no text, or an empty one
 */
export function hasRole(role: string): Guard {
	if (typeof role !== 'string' || role === '')
		throw new BrokerError('ERR_CONFIG', 'hasRole() needs the value of a role.')
	const wid = role.toLowerCase()
	return createGuard('hasRole', (ctx) => {
		const { roles = [], wids = [] } = claimsOf(loginOf(ctx).session(ctx))
		return roles.includes(role) || wids.includes(wid)
	})
}
