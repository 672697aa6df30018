import type { Context } from 'koa'
import { BrokerError } from '../errors.js'

/**
 * Refuses a request of which nobody can say what it asks for: RFC 9112, 3.2, wants 400 for more than one Host and for
 * one that is malformed, which Node lets through. To be called before anything reads `ctx.path`, which throws where
 * the address is malformed.
 * @throws ERR_BAD_REQUEST
 */
export function checkAddress({ req, request }: Context): void {
	const hosts = valuesOf(req.rawHeaders, 'host')
	const [host] = hosts
	if (hosts.length > 1 || (host === undefined ? req.httpVersion === '1.1' : !isHost(host)))
		throw malformed('Host')
	const { url = '' } = req
	// RFC 9112, 3.2.2: what a client sends to a proxy. It names the same host twice, or wants to be understood twice.
	const [, authority] = /^https?:\/\/([^/?#]*)/i.exec(url) ?? []
	const isLocal = url.startsWith('/') || url === '*'
	if (!isLocal && (authority === undefined || !isHost(authority) || !isSame(authority, host ?? authority)))
		throw malformed('address')
	try {
		// Also of an address with a slash at its start, where a fragment makes Koa parse it once more.
		void request.path
	} catch {
		throw malformed('address')
	}
}

/** `ctx.path`; nothing where the address is malformed, for who leaves it to others to refuse that. */
export function pathOf(ctx: Context): string | undefined {
	try {
		return ctx.path
	} catch {
		return undefined
	}
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
	return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name)
}

/** A name or an address, and perhaps a port: RFC 9110, 7.2, without what no name of a host has. */
function isHost(host: string): boolean {
	return /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.test(host) && URL.canParse(`http://${host}`)
}

function isSame(authority: string, host: string): boolean {
	return authority.toLowerCase() === host.toLowerCase()
}

function malformed(what: string): BrokerError {
	return new BrokerError('ERR_BAD_REQUEST', `The ${what} of the request is malformed.`)
}
