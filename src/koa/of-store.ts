import { BrokerError } from '../errors.js'

/**
 * A call of the application's own session store.
 * @throws ERR_STORE_UNAVAILABLE when it fails, which is a 503 with `Retry-After` and no 500
 */
export async function ofStore<T>(work: () => T | Promise<T>): Promise<T> {
	try {
		return await work()
	} catch (cause) {
		if (cause instanceof BrokerError) throw cause
		throw new BrokerError('ERR_STORE_UNAVAILABLE', 'The application’s session store does not answer.', {
			cause,
		})
	}
}
