import { BrokerError } from '../errors.js'

/** What somebody is told who signs out while the store can't be told. */
export function signedOutHere(cause: BrokerError): BrokerError {
	const { code, retryAfter } = cause
	return new BrokerError(
		code,
		'You are signed out in this browser. Elsewhere the sign-out is known as soon as the service is available again.',
		{ expose: true, cause, ...(retryAfter !== undefined && { retryAfter }) },
	)
}
