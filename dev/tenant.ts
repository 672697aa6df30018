import type { JWK } from 'jose'
import { createScopes, type Scopes, unique } from './dialect/scopes.js'
import { type ApiResource, type DevClient, GRAPH, GRAPH_AUDIENCE } from './directory.js'
import type { Person } from './people.js'

/** Addresses of a running stand-in. */
export interface Addresses {
	/** `https://localhost:port`: token endpoint, keys, discovery. */
	readonly origin: string
	/** `http://127.0.0.1:port`: what a person sees. */
	readonly pagesOrigin: string
	/** `origin` and the tenant. */
	readonly authority: string
	readonly issuer: string
}

/** Everything that the parts of a stand-in know in common. */
export interface Tenant extends Addresses {
	readonly tenantId: string
	readonly resources: Readonly<Record<string, ApiResource>>
	readonly people: readonly Person[]
	readonly scopes: Scopes
	/** Private signing keys, the current one first. */
	keys: readonly JWK[]
	clients(): readonly DevClient[]
	client(clientId: string | undefined): DevClient | undefined
	person(oid: string | undefined): Person | undefined
	/** Remembers what a person consented to. */
	consent(clientId: string, permissions: Readonly<Record<string, readonly string[]>>): void
	disable(oid: string): void
}

/** What a tenant is made of. */
export interface TenantOptions extends Addresses {
	readonly tenantId: string
	readonly clients: readonly DevClient[]
	readonly people: readonly Person[]
	readonly resources: Readonly<Record<string, ApiResource>>
	readonly keys: readonly JWK[]
}

/** Delegated permissions of the built-in Graph resource. */
const GRAPH_SCOPES = [
	'User.Read',
	'User.Read.All',
	'User.ReadBasic.All',
	'Mail.Read',
	'Files.Read',
	'GroupMember.Read.All',
]

/** A tenant of its own: what is consented or disabled here does not touch the lists it was given. */
export function createTenant(options: TenantOptions): Tenant {
	const clients = new Map(options.clients.map((client) => [client.clientId, client]))
	const people = options.people.map((person) => ({ ...person }))
	const resources = { [GRAPH]: { audience: GRAPH_AUDIENCE, scopes: GRAPH_SCOPES }, ...options.resources }
	return {
		...options,
		resources,
		people,
		scopes: createScopes(resources, (clientId) => clients.get(clientId)),
		clients: () => [...clients.values()],
		client: (clientId) => clients.get(clientId ?? ''),
		person: (oid) => people.find((person) => person.oid === oid && !person.disabled),
		consent(clientId, permissions) {
			const client = clients.get(clientId)
			if (!client) return
			const consented = { ...client.consented }
			for (const [resource, added] of Object.entries(permissions)) {
				consented[resource] = unique([...(consented[resource] ?? []), ...added])
			}
			clients.set(clientId, { ...client, consented })
		},
		disable(oid) {
			const person: { disabled?: boolean } | undefined = people.find((candidate) => candidate.oid === oid)
			if (person) person.disabled = true
		},
	}
}
