import type { KeyObject } from 'node:crypto'
import { BrokerError } from './errors.js'
import type { ConnectivityCheck } from './wire.js'

/** What a check goes to, for the advice that is given when it fails. */
export interface CheckedPlace {
	readonly name: ConnectivityCheck['name']
	/** The proxy that calls may go through. */
	readonly proxy?: KeyObject
}

/** Does one check, and says what came of it. */
export async function checked(place: CheckedPlace, work: () => Promise<unknown>): Promise<ConnectivityCheck> {
	const started = performance.now()
	try {
		await work()
		return { name: place.name, ok: true, duration: performance.now() - started }
	} catch (error) {
		return failed(place, error, performance.now() - started)
	}
}

/** A check that failed, and why. */
export function failed(place: CheckedPlace, error: unknown, duration: number): ConnectivityCheck {
	const { name } = place
	if (!(error instanceof BrokerError))
		return { name, ok: false, duration, code: 'ERR_WORKER_FAILED', message: 'The check itself failed.' }
	const redis = name === 'store' || name === 'notices'
	const told = redis ? undefined : ofProxy(error.cause, place.proxy)
	const code = told?.code ?? wordOf(error)
	const advice = redis ? redisAdvice : httpAdvice
	const remedy = told?.remedy ?? advice.find(([codes]) => codes.test(code))?.[1]
	return {
		name,
		ok: false,
		duration,
		code,
		message: told?.message ?? error.message,
		...(remedy !== undefined && { remedy }),
	}
}

/** The word that the message ends on, as that of a system error or of Redis; else the code. */
function wordOf({ message, code }: BrokerError): string {
	return /: (\w+)\./.exec(message)?.[1] ?? code
}

/** Whether it was the proxy that failed: what it answered, or that it was the one who could not be reached. */
function ofProxy(cause: unknown, proxy: KeyObject | undefined) {
	if (proxy === undefined || !(cause instanceof Error)) return undefined
	const { host, hostname, port, protocol } = new URL(proxy.export().toString())
	const status = /Proxy response \((\d{3})\)/.exec(cause.message)?.[1]
	if (status !== undefined)
		return {
			code: `PROXY_${status}`,
			message: `The proxy ${host} answered ${status}.`,
			remedy:
				status === '407'
					? 'Put the user name and password for the proxy into HTTPS_PROXY (network.proxy).'
					: 'Have the proxy let this host through, or list it in NO_PROXY (network.noProxy).',
		}
	// Of several addresses that were tried.
	const [first = cause] = (cause as AggregateError).errors ?? []
	const at = first as { readonly code?: string; readonly hostname?: string; readonly port?: number }
	const proxyPort = Number(port) || (protocol === 'https:' ? 443 : 80)
	if (at.hostname !== hostname && at.port !== proxyPort) return undefined
	return {
		code: at.code ?? 'ERR_IDP_UNAVAILABLE',
		message: `The proxy ${host} cannot be reached: ${at.code}.`,
		remedy: 'Look at HTTPS_PROXY (network.proxy), or list this host in NO_PROXY (network.noProxy).',
	}
}

type Advice = readonly (readonly [codes: RegExp, remedy: string])[]

const certificates = /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|EPROTO|ERR_SSL/

const httpAdvice: Advice = [
	[
		/^(ENOTFOUND|EAI_AGAIN)$/,
		'Its name is not known here: look at the DNS of this machine, or set HTTPS_PROXY (network.proxy) if only a proxy leads out.',
	],
	[
		certificates,
		'Its certificate is not believed: if a proxy opens TLS on the way, name its authority in network.caFile.',
	],
	[
		/TIMEOUT|TimeoutError|^E(CONN|HOST|NET|PIPE)|^UND_ERR_/,
		'Let this process out through the firewall, or set HTTPS_PROXY (network.proxy) if only a proxy leads out.',
	],
	[
		/^ERR_IDP_PROTOCOL$/,
		'Check auth.authority (AZURE_TENANT_ID), and whether something on the way answers in its place.',
	],
	[/^ERR_IDP_UNAVAILABLE$/, 'It can be reached, but has a fault of its own: try again later.'],
	[
		/^ERR_(OVERLOADED|WORKER_FAILED)$/,
		'The worker threads do not keep up: look at pool and at the processor.',
	],
]

const redisAdvice: Advice = [
	[/^(WRONGPASS|NOAUTH)$/, 'Check the user name and the password of REDIS_URL (store).'],
	[/^NOPERM$/, 'Give the Redis user the rights that the documentation lists, channels among them.'],
	[
		/^ERR_(OVERLOADED|WORKER_FAILED)$/,
		'The worker threads do not keep up: look at pool and at the processor.',
	],
	[certificates, 'Look at the TLS options of the store, and at NODE_EXTRA_CA_CERTS.'],
	[/./, 'Check REDIS_URL (store), that Redis runs, and that this process is let through to it.'],
]
