import { BrokerError } from './errors.js'
import type { UserReference } from './wire.js'

/** @throws ERR_BAD_REQUEST: half a reference must not match more than was meant */
export function checkUserReference(user: unknown): asserts user is UserReference {
	const { tenantId, objectId, username, ...rest } = (user ?? {}) as Record<string, unknown>
	const name = objectId ?? username
	const both = objectId !== undefined && username !== undefined
	if (!isText(tenantId) || !isText(name) || both || Object.keys(rest).length > 0)
		throw new BrokerError('ERR_BAD_REQUEST', 'A user is { tenantId, objectId } or { tenantId, username }.')
}

function isText(value: unknown): boolean {
	return typeof value === 'string' && value !== '' && value.length <= 256
}
