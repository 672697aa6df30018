import type { TokenBroker } from './broker.js'
import { BrokerError } from './errors.js'
import { type Http, retryAfterSeconds } from './network.js'
import type { SessionLike } from './session.js'

/** A person's photo from Microsoft Graph. */
export interface Photo {
	readonly type: string
	readonly body: Buffer
	readonly etag?: string
}

/** Image types that are passed on; anything else could be a page. */
const imageTypes = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

/** Bytes of a photo: Graph's largest size has some 100 KB. */
const maxBytes = 4 * 1024 * 1024

/**
 * The photo of the person who is signed in, or `undefined` when there is none.
 * https://learn.microsoft.com/graph/api/profilephoto-get
 * @throws what `acquireSilent` throws; ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL, ERR_FORBIDDEN from Graph
 */
export async function fetchPhoto(
	broker: TokenBroker,
	http: Http,
	endpoint: string,
	session: SessionLike,
): Promise<Photo | undefined> {
	const { accessToken } = await broker.acquireSilent(session, { scopes: ['User.Read'] })
	const answer = await http(`${endpoint}/me/photo/$value`, {
		headers: { Authorization: `Bearer ${accessToken}` },
		maxBytes,
	})
	if (answer.status === 404) return undefined
	if (answer.status === 401)
		throw new BrokerError('ERR_INTERACTION_REQUIRED', 'Microsoft Graph wants you to sign in again.', {
			scopes: ['User.Read'],
		})
	if (answer.status === 403)
		throw new BrokerError('ERR_FORBIDDEN', 'This application may not read your photo (scope User.Read).')
	if (answer.status === 429 || answer.status >= 500) {
		const retryAfter = retryAfterSeconds(answer.headers)
		throw new BrokerError('ERR_IDP_UNAVAILABLE', `Microsoft Graph answered ${answer.status}.`, {
			...(retryAfter !== undefined && { retryAfter }),
		})
	}
	const type = (answer.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
	if (answer.status !== 200 || !imageTypes.has(type))
		throw new BrokerError('ERR_IDP_PROTOCOL', 'Microsoft Graph answered with something that is no photo.')
	const { etag } = answer.headers
	return { type, body: answer.body, ...(etag !== undefined && { etag }) }
}
