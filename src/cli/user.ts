import { InvalidArgumentError } from 'commander'
import type { UserReference } from '../wire.js'

/** `<tenant id>/<object id>`, or `<tenant id>/<mail address>`. */
export function parseUser(text: string): UserReference {
	const [tenantId = '', name = '', ...more] = text.split('/')
	if (tenantId === '' || name === '' || more.length > 0)
		throw new InvalidArgumentError('It should be <tenant id>/<object id> or <tenant id>/<mail address>.')
	return name.includes('@') ? { tenantId, mail: name } : { tenantId, objectId: name }
}

/** A user as above, or the id of one session, which has no slash. */
export function parseUserOrId(text: string): UserReference | string {
	return text.includes('/') ? parseUser(text) : text
}
