import { decodeJwt } from 'jose'
import { BrokerError } from './errors.js'
import type { ClientAssertionFunction } from './settings.js'
import { withTimeout } from './with-timeout.js'

/** Milliseconds before its end at which an assertion is made anew. */
const margin = 60_000

/** The application's assertion for a token endpoint. */
export interface AssertionCache {
	(tokenEndpoint: string): Promise<string>
	/** Has the next one made anew, and what is being made used by nobody who asks from now on. */
	forget(): void
}

interface Made {
	readonly assertion: string
	readonly until: number
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
	let held: Made | undefined
	let making: Promise<Made> | undefined
	const assertion = async (tokenEndpoint: string) => {
		if (held && held.until > Date.now()) return held.assertion
		if (making) return (await making).assertion
		const own = madeBy(make, { clientId, tokenEndpoint }, timeout)
		making = own
		try {
			const made = await own
			if (making === own) held = made
			return made.assertion
		} finally {
			if (making === own) making = undefined
		}
	}
	return Object.assign(assertion, {
		forget: () => {
			held = undefined
			making = undefined
		},
	})
}

async function madeBy(
	make: ClientAssertionFunction,
	request: Parameters<ClientAssertionFunction>[0],
	timeout: number,
): Promise<Made> {
	try {
		const assertion = await withTimeout(make(request), timeout, () => {
			throw tooLate(timeout)
		})
		const { exp } = decodeJwt(assertion)
		if (exp === undefined) throw new TypeError('no exp')
		return { assertion, until: exp * 1000 - margin }
	} catch (cause) {
		if (cause instanceof BrokerError) throw cause
		throw new BrokerError('ERR_CLIENT_REJECTED', 'auth.clientAssertion did not return a JWT with exp.', {
			cause,
		})
	}
}

function tooLate(timeout: number): BrokerError {
	return new BrokerError('ERR_IDP_UNAVAILABLE', `auth.clientAssertion has not answered within ${timeout} ms.`)
}
