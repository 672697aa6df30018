import { Readable } from 'node:stream'
import type { DownstreamRequest } from './downstream.js'
import { BrokerError } from './errors.js'
import { retryAfterSeconds } from './network.js'

/** A person in the tenant's directory. What the directory does not know, or may not tell, is absent. */
export interface GraphUser {
	/** The object id. */
	readonly id: string
	readonly displayName?: string
	readonly givenName?: string
	readonly surname?: string
	/** Absent for a person without a mailbox. */
	readonly mail?: string
	readonly userPrincipalName?: string
	readonly jobTitle?: string
}

/** A person's photo. */
export interface Photo {
	/** `image/jpeg`, `image/png`, `image/gif` or `image/webp`. */
	readonly type: string
	readonly etag?: string
	/** Bytes, where they are known beforehand. */
	readonly length?: number
	/** Read it, or destroy it: until then it holds a connection. It fails when it breaks off or is over 4 MiB long. */
	readonly body: Readable
}

/** How a call differs from the usual: `scopes` to ask with, and the call's `timeout` and `signal`. */
export type GraphRequest = Pick<DownstreamRequest, 'scopes' | 'timeout' | 'signal'>

/**
 * What Microsoft Graph says of the person who is signed in: `broker.forSession(session).graph`. Each call asks Graph;
 * nothing is kept.
 *
 * All of them throw what the session's `get` throws, and ERR_INTERACTION_REQUIRED, ERR_FORBIDDEN,
 * ERR_DOWNSTREAM_UNAVAILABLE (with `retryAfter`) or ERR_DOWNSTREAM_PROTOCOL for what Graph answers.
 */
export interface Graph {
	/** The person, by the scope `User.Read`. @throws ERR_NOT_FOUND the directory does not know them */
	me(request?: GraphRequest): Promise<GraphUser>
	/** Their manager, by the scopes `User.Read` and `User.Read.All`; `undefined` for a person without one. */
	manager(request?: GraphRequest): Promise<GraphUser | undefined>
	/** Their photo, by the scope `User.Read`; `undefined` for a person without one, as without a mailbox. */
	photo(request?: GraphRequest): Promise<Photo | undefined>
	/**
	 * Ids of all groups that they are in, directly or through others, by the scope `User.Read`: also when there are too
	 * many for the claim `groups`. `timeout` is that of each page.
	 * @throws ERR_DOWNSTREAM_PROTOCOL when there are over 100 pages: half a list would be taken for the whole
	 */
	groups(request?: GraphRequest): Promise<readonly string[]>
}

/** How the calls are made: a session's own `get`. */
type Get = (url: string, request: Omit<DownstreamRequest, 'method' | 'body'>) => Promise<Response>

const userFields = [
	'id',
	'displayName',
	'givenName',
	'surname',
	'mail',
	'userPrincipalName',
	'jobTitle',
] as const satisfies readonly (keyof GraphUser)[]

const ownScopes = ['User.Read']
/** Both, so that the token answers the other calls as well. https://learn.microsoft.com/graph/api/user-list-manager */
const managerScopes = [...ownScopes, 'User.Read.All']

/** Bytes of an answer in JSON. A page of groups has some 130 KB. */
const maxJsonBytes = 1024 * 1024

/** Bytes of a photo: as many as Graph takes. */
const maxPhotoBytes = 4 * 1024 * 1024

/** Pages of groups; Graph puts up to 999 on one. */
const maxPages = 100

/** Image types that are passed on; anything else could be a page. */
const imageTypes = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

/** Makes a session's calls to Microsoft Graph. */
export function createGraph(get: Get, endpoint: string): Graph {
	const { origin } = new URL(endpoint)

	/** What Graph says; `undefined` when it says that there is no such thing. */
	const ask = async (url: string, request: GraphRequest, scopes: readonly string[]): Promise<unknown> => {
		const wanted = { scopes, ...request }
		const answer = await get(url, { ...wanted, maxBytes: maxJsonBytes })
		// To the end, also where nobody reads it: then the connection is good for the next call.
		const text = await answer.text()
		if (answer.status === 404) return undefined
		if (answer.status !== 200) throw refusalOf(answer, wanted.scopes)
		try {
			return JSON.parse(text)
		} catch (cause) {
			throw unexpected('with something that is no JSON', cause)
		}
	}
	const person = async (path: string, request: GraphRequest, scopes: readonly string[]) => {
		const found = await ask(`${endpoint}${path}?$select=${userFields.join(',')}`, request, scopes)
		return found === undefined ? undefined : toUser(found)
	}

	return Object.freeze({
		async me(request = {}) {
			const user = await person('/me', request, ownScopes)
			if (!user) throw new BrokerError('ERR_NOT_FOUND', 'Microsoft Graph does not know you.')
			return user
		},

		manager: (request = {}) => person('/me/manager', request, managerScopes),

		async photo(request = {}) {
			const wanted = { scopes: ownScopes, ...request }
			const answer = await get(`${endpoint}/me/photo/$value`, { ...wanted, maxBytes: maxPhotoBytes })
			if (answer.status !== 200) {
				await answer.text()
				if (answer.status === 404) return undefined
				throw refusalOf(answer, wanted.scopes)
			}
			return toPhoto(answer)
		},

		// https://learn.microsoft.com/graph/api/user-list-transitivememberof: asked for groups alone (`/microsoft.graph.group`)
		// it would answer from an index that is behind the directory.
		async groups(request = {}) {
			const groups: string[] = []
			let next: string | undefined = `${endpoint}/me/transitiveMemberOf?$select=id&$top=999`
			for (let page = 0; next !== undefined; page++) {
				if (page === maxPages) throw unexpected(`with over ${maxPages} pages of groups`)
				const answer = await ask(next, request, ownScopes)
				groups.push(...groupsOf(answer))
				next = nextOf(answer)
				// The token goes to no other host, though it be one that is allowed for other calls.
				if (next !== undefined && (!URL.canParse(next) || new URL(next).origin !== origin))
					throw unexpected('with a page that is elsewhere')
			}
			return groups
		},
	} satisfies Graph)
}

function toUser(answer: unknown): GraphUser {
	if (!isObject(answer) || typeof answer.id !== 'string') throw unexpected('with something that is no person')
	const known = userFields.filter((field) => typeof answer[field] === 'string' && answer[field] !== '')
	return Object.fromEntries(known.map((field) => [field, answer[field]])) as unknown as GraphUser
}

function groupsOf(answer: unknown): string[] {
	const members: unknown = isObject(answer) ? answer.value : undefined
	if (!Array.isArray(members)) throw unexpected('with something that is no list of groups')
	return members
		.filter((member) => isObject(member) && member['@odata.type'] === '#microsoft.graph.group')
		.map(({ id }) => {
			if (typeof id !== 'string') throw unexpected('with a group without an id')
			return id
		})
}

function nextOf(answer: unknown): string | undefined {
	const next = isObject(answer) ? answer['@odata.nextLink'] : undefined
	return typeof next === 'string' ? next : undefined
}

async function toPhoto(answer: Response): Promise<Photo> {
	const { headers, body } = answer
	const type = (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
	const length = lengthOf(headers.get('content-length'))
	// fetch has unpacked what it can.
	const isImage = imageTypes.has(type) && !headers.has('content-encoding')
	if (!body || !isImage || (length !== undefined && length > maxPhotoBytes)) {
		await body?.cancel()
		throw unexpected(isImage ? 'with a photo that is too large' : 'with something that is no photo')
	}
	const etag = headers.get('etag') ?? ''
	return {
		type,
		// RFC 9110, 8.8.3: any other would be refused as a header, or split one.
		...(/^(?:W\/)?"[\x21\x23-\x7e]{0,256}"$/.test(etag) && { etag }),
		...(length !== undefined && { length }),
		body: Readable.fromWeb(body),
	}
}

function lengthOf(header: string | null): number | undefined {
	return header !== null && /^\d{1,15}$/.test(header) ? Number(header) : undefined
}

function refusalOf({ status, headers }: Response, scopes: readonly string[] = []): BrokerError {
	if (status === 401)
		return new BrokerError('ERR_INTERACTION_REQUIRED', 'Microsoft Graph wants you to sign in again.', {
			scopes,
		})
	if (status === 403)
		return new BrokerError(
			'ERR_FORBIDDEN',
			`This application may not read that from Microsoft Graph (scope ${scopes.join(' ')}).`,
		)
	if (status !== 429 && status < 500) return unexpected(`with status ${status}`)
	const retryAfter = retryAfterSeconds(Object.fromEntries(headers))
	return new BrokerError('ERR_DOWNSTREAM_UNAVAILABLE', `Microsoft Graph answered ${status}.`, {
		...(retryAfter !== undefined && { retryAfter }),
	})
}

function unexpected(what: string, cause?: unknown): BrokerError {
	return new BrokerError('ERR_DOWNSTREAM_PROTOCOL', `Microsoft Graph answered ${what}.`, { cause })
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null
}
