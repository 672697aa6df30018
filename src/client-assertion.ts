import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { BrokerError } from './errors.js'
import type { ClientAssertionFunction } from './settings.js'

/** Milliseconds before its end at which an assertion is made anew. */
const margin = 60_000

const tooLong = Symbol()

/** The application's assertion for a token endpoint. */
export interface AssertionCache {
	(tokenEndpoint: string): Promise<string>
	/** Has the next one made anew. */
	forget(): void
}

/**
 * Keeps what the application's function returned until it nears its expiry, and calls it once for all callers.
 * @param timeout milliseconds that the function has
 * @throws ERR_CLIENT_REJECTED when the function fails or returns no JWT that expires
 * @throws ERR_IDP_UNAVAILABLE when it does not end in time
 */
export function createAssertionCache(
	make: ClientAssertionFunction,
	clientId: string,
	timeout: number,
): AssertionCache {
	let held: { readonly assertion: string; readonly until: number } | undefined
	let making: Promise<string> | undefined
	const assertion = async (tokenEndpoint: string) => {
		if (held && held.until > Date.now()) return held.assertion
		making ??= (async () => {
			const late = new AbortController()
			try {
				const assertion = await Promise.race([
					make({ clientId, tokenEndpoint }),
					sleep(timeout, tooLong, { signal: late.signal }),
				])
				if (assertion === tooLong) throw tooLate(timeout)
				const { exp } = decodeJwt(assertion)
				if (exp === undefined) throw new TypeError('no exp')
				held = { assertion, until: exp * 1000 - margin }
				return assertion
			} catch (cause) {
				if (cause instanceof BrokerError) throw cause
				throw new BrokerError('ERR_CLIENT_REJECTED', 'auth.clientAssertion did not return a JWT with exp.', {
					cause,
				})
			} finally {
				late.abort()
				making = undefined
			}
		})()
		return making
	}
	return Object.assign(assertion, {
		forget: () => {
			held = undefined
		},
	})
}

function tooLate(timeout: number): BrokerError {
	return new BrokerError('ERR_IDP_UNAVAILABLE', `auth.clientAssertion has not answered within ${timeout} ms.`)
}
