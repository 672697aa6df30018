import { BrokerError } from '../errors.js'
import { claimsOf } from '../session.js'
import { createGuard, type Guard } from './guard.js'
import { loginOf } from './login.js'

/**
 * Lets people through who are in a group, directly or through others, as the sign-in said: the registration has to
 * have the claim `groups` in its id_tokens. Of who is in more groups than a token holds, Microsoft Graph is asked,
 * at most once a minute; it needs the scope `User.Read`.
 * @param id the group's object id; a name is nobody's for good
 * @throws ERR_CONFIG `id` is no object id
 */
export function inGroup(id: string): Guard {
	if (typeof id !== 'string' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
		throw new BrokerError('ERR_CONFIG', 'inGroup() needs the object id of a group.')
	const group = id.toLowerCase()
	return createGuard('inGroup', async (ctx) => {
		const login = loginOf(ctx)
		const session = login.session(ctx)
		const { groups = [], groupsOverage = false } = claimsOf(session)
		if (groups.includes(group)) return true
		return groupsOverage && (await login.groupsOf(session)).has(group)
	})
}
