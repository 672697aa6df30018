import { described, masked } from './described.js'
import type { Settings, TokenStore } from './settings.js'

/** Every setting in effect, by the names of the options: plain, and safe to print. */
export type SettingsDescription = Readonly<Record<string, unknown>>

/**
 * What a broker works with. Secrets are shown as `(set, 44 bytes)`: neither their value nor a hash of it;
 * functions by their name.
 */
export function describe({ auth, store, network, ...settings }: Settings): SettingsDescription {
	const { credential, ...registration } = auth
	const { proxy } = network
	return {
		auth: { ...(described(registration) as object), ...credential.description },
		store: describedStore(store),
		...(described(settings) as object),
		network: described({ ...network, ...(proxy && { proxy: proxy.export().toString() }) }),
	}
}

/** Texts in the options of a connection that are no secrets. Whatever ioredis learns to take is none of them. */
const plainNames = new Set([
	'host',
	'path',
	'username',
	'sentinelUsername',
	'name',
	'nodes',
	'role',
	'connectionName',
	'keyPrefix',
	'servername',
])

function describedStore(store: TokenStore): unknown {
	if (store.kind === 'memory') return 'memoryTokenStore()'
	const { connection } = store
	return {
		...(connection.kind === 'cluster' && { nodes: describedOption(connection.nodes, 'nodes') }),
		...(describedOption(connection.options, '') as object),
	}
}

function describedOption(value: unknown, name: string): unknown {
	if (typeof value === 'string') return plainNames.has(name) ? described(value) : masked(value)
	if (Array.isArray(value)) return value.map((item) => describedOption(item, name))
	if (!value || Object.getPrototypeOf(value) !== Object.prototype) return described(value)
	return Object.fromEntries(
		Object.entries(value).map(([inner, held]) => [inner, describedOption(held, inner)]),
	)
}
