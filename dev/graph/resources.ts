import { createHash } from 'node:crypto'
import type { Person } from '../people.js'
import { drawPhoto } from '../photo.js'
import type { Caller } from './verify-bearer.js'

/** An answer of Graph's. */
export type GraphAnswer = { readonly json: object } | GraphPhoto | { readonly refusal: GraphRefusal }

/** A photo and its version. */
export interface GraphPhoto {
	readonly png: Buffer
	readonly etag: string
}

/** An error of Graph's. */
export interface GraphRefusal {
	readonly status: number
	readonly code: string
	readonly message: string
}

const METADATA = 'https://graph.microsoft.com/v1.0/$metadata#users'

/** Members of a page where a request names none, as Graph has it; here it is also the most. */
const PAGE = 100
const DENIED = refuse(
	403,
	'Authorization_RequestDenied',
	'Insufficient privileges to complete the operation.',
)

/** What `caller` gets for a request, with the permissions that the documentation asks for. */
export function answerGraph(
	method: string,
	url: URL,
	caller: Caller,
	people: readonly Person[],
): GraphAnswer {
	const path = url.pathname
	const me = people.find((person) => person.oid === caller.oid)
	const isMine = path === '/v1.0/me' || path.startsWith('/v1.0/me/')
	if (isMine && !me) {
		return refuse(400, 'BadRequest', '/me request is only valid with delegated authentication flow.')
	}
	if (isMine && !caller.can('User.Read')) return DENIED
	switch (`${method} ${path}`) {
		case 'GET /v1.0/me':
			return { json: { '@odata.context': `${METADATA}/$entity`, ...select(url, describe(me as Person)) } }
		case 'GET /v1.0/me/manager':
			return caller.can('User.Read.All') ? managerOf(me as Person, people, url) : DENIED
		case 'GET /v1.0/me/photo/$value':
			return photoOf(me as Person)
		case 'POST /v1.0/me/getMemberObjects':
			// What a token's group overage sends an application to.
			return { json: { value: (me as Person).groups ?? [] } }
		case 'GET /v1.0/me/transitiveMemberOf':
			return { json: membershipsOf(me as Person, url) }
		case 'GET /v1.0/users':
			return caller.can('User.Read.All')
				? { json: { '@odata.context': METADATA, value: people.map(describe) } }
				: DENIED
		default:
			return refuse(404, 'UnknownError', 'This is not in the stub.')
	}
}

function managerOf(me: Person, people: readonly Person[], url: URL): GraphAnswer {
	const manager = people.find((person) => person.oid === me.manager)
	if (manager) return { json: { '@odata.type': '#microsoft.graph.user', ...select(url, describe(manager)) } }
	return refuse(
		404,
		'Request_ResourceNotFound',
		"Resource 'manager' does not exist or one of its queried reference-property objects are not present.",
	)
}

/**
 * A page of groups and directory roles. Graph may put fewer on a page than `$top` asks for, and so does this.
 * https://learn.microsoft.com/graph/api/user-list-transitivememberof
 */
function membershipsOf(me: Person, url: URL): object {
	const roles = (me.roles ?? []).map((_, i) => `77777777-0000-4000-8000-${String(i + 1).padStart(12, '0')}`)
	const members = [
		...roles.map((id) => ({ '@odata.type': '#microsoft.graph.directoryRole', id })),
		...(me.groups ?? []).map((id) => ({ '@odata.type': '#microsoft.graph.group', id })),
	]
	const start = Number(url.searchParams.get('$skiptoken') ?? 0)
	const end = start + Math.min(Number(url.searchParams.get('$top') ?? PAGE), PAGE)
	const next = new URL(url)
	next.searchParams.set('$skiptoken', String(end))
	return {
		'@odata.context': 'https://graph.microsoft.com/v1.0/$metadata#directoryObjects',
		...(end < members.length && { '@odata.nextLink': next.href }),
		value: members.slice(start, end),
	}
}

function photoOf(me: Person): GraphAnswer {
	if (me.hasPhoto === false) {
		return refuse(
			404,
			'ImageNotFound',
			"Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown.",
		)
	}
	const png = drawPhoto(me.oid)
	return { png, etag: `"${createHash('sha256').update(png).digest('hex').slice(0, 32).toUpperCase()}"` }
}

function describe(person: Person): object {
	const words = person.name.replace(/ \(.*\)$/, '').split(' ')
	return {
		businessPhones: [],
		displayName: person.name,
		givenName: words[0],
		jobTitle: person.jobTitle ?? null,
		mail: person.mail === undefined ? person.upn : person.mail,
		mobilePhone: null,
		officeLocation: null,
		preferredLanguage: null,
		surname: words.at(-1),
		userPrincipalName: person.upn,
		id: person.oid,
	}
}

/** The fields that `$select` names; without it, all. */
function select(url: URL, fields: object): object {
	const wanted = url.searchParams.get('$select')?.split(',')
	return Object.fromEntries(Object.entries(fields).filter(([name]) => wanted?.includes(name) ?? true))
}

function refuse(status: number, code: string, message: string): { refusal: GraphRefusal } {
	return { refusal: { status, code, message } }
}
