import { checked } from '../src/connectivity.js'
import { BrokerError } from '../src/errors.js'
import { createHttp, type Http } from '../src/network.js'
import type { ConnectivityCheck } from '../src/wire.js'
import { createAuthority } from './authority.js'
import { redisStore, settings } from './context.js'

/** Milliseconds for one call at most; there are two, one after the other. */
const patience = 5000

const { network } = settings

const proxied = network.proxy === undefined ? {} : { proxy: network.proxy }

/** Reaches for what every task of a worker needs, on new connections: one that is held would prove nothing. */
export async function checkConnectivity(): Promise<readonly ConnectivityCheck[]> {
	const http = createHttp({ ...network, timeout: Math.min(network.timeout, patience) })
	try {
		const [provider, store] = await Promise.all([
			checkProvider(http),
			checked({ name: 'store' }, async () => redisStore?.probe()),
		])
		return [...provider, store]
	} finally {
		// Not waited for: what is under way has ended at its deadline, or is nobody's any more.
		http.close().catch(() => {})
	}
}

async function checkProvider(http: Http): Promise<readonly ConnectivityCheck[]> {
	let jwksUri: string | undefined
	const authority = await checked({ name: 'authority', ...proxied }, async () => {
		jwksUri = (await createAuthority(settings, http)()).metadata.jwksUri
	})
	const keys = jwksUri
	if (keys === undefined) {
		const message = 'Where they are is not known without the authority.'
		return [authority, { ...authority, name: 'keys', duration: 0, message }]
	}
	return [authority, await checked({ name: 'keys', ...proxied }, () => fetchKeys(keys, http))]
}

/** @throws ERR_IDP_UNAVAILABLE, ERR_IDP_PROTOCOL */
async function fetchKeys(url: string, http: Http): Promise<void> {
	const { status, body } = await http(url)
	const { host } = new URL(url)
	if (status === 429 || status >= 500)
		throw new BrokerError('ERR_IDP_UNAVAILABLE', `${host} answered ${status}.`)
	if (status !== 200 || !hasKeys(body.toString()))
		throw new BrokerError('ERR_IDP_PROTOCOL', `${host} answered ${status}, and no keys.`)
}

function hasKeys(text: string): boolean {
	try {
		const { keys } = JSON.parse(text) as { keys?: unknown }
		return Array.isArray(keys) && keys.length > 0
	} catch {
		return false
	}
}
