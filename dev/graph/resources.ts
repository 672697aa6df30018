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
const DENIED = refuse(
	403,
	'Authorization_RequestDenied',
	'Insufficient privileges to complete the operation.',
)

/** What `caller` gets for a request, with the permissions that the documentation asks for. */
export function answerGraph(
	method: string,
	path: string,
	caller: Caller,
	people: readonly Person[],
): GraphAnswer {
	const me = people.find((person) => person.oid === caller.oid)
	const isMine = path === '/v1.0/me' || path.startsWith('/v1.0/me/')
	if (isMine && !me) {
		return refuse(400, 'BadRequest', '/me request is only valid with delegated authentication flow.')
	}
	if (isMine && !caller.can('User.Read')) return DENIED
	switch (`${method} ${path}`) {
		case 'GET /v1.0/me':
			return { json: { '@odata.context': `${METADATA}/$entity`, ...describe(me as Person) } }
		case 'GET /v1.0/me/manager':
			return caller.can('User.Read.All') ? managerOf(me as Person, people) : DENIED
		case 'GET /v1.0/me/photo/$value':
			return photoOf(me as Person)
		case 'POST /v1.0/me/getMemberObjects':
			// What a token's group overage sends an application to.
			return { json: { value: (me as Person).groups ?? [] } }
		case 'GET /v1.0/users':
			return caller.can('User.Read.All')
				? { json: { '@odata.context': METADATA, value: people.map(describe) } }
				: DENIED
		default:
			return refuse(404, 'UnknownError', 'This is not in the stub.')
	}
}

function managerOf(me: Person, people: readonly Person[]): GraphAnswer {
	const manager = people.find((person) => person.oid === me.manager)
	if (manager) return { json: { '@odata.type': '#microsoft.graph.user', ...describe(manager) } }
	return refuse(
		404,
		'Request_ResourceNotFound',
		"Resource 'manager' does not exist or one of its queried reference-property objects are not present.",
	)
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

function refuse(status: number, code: string, message: string): { refusal: GraphRefusal } {
	return { refusal: { status, code, message } }
}
