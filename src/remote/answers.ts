import { type AcquiredToken, type Outcome, toAcquiredToken } from '../acquired-token.js'
import { BrokerError } from '../errors.js'
import type { Answer, SignedInAccount, WireToken } from '../wire.js'

/** An {@link AcquiredToken} on its way to the other thread. */
export interface RemoteToken extends WireToken {
	readonly refreshOn: number
	readonly account: SignedInAccount
	readonly outcome: Outcome
}

export function toRemoteToken(token: AcquiredToken): RemoteToken {
	const { accessToken, tokenType, expiresOn, refreshOn, scopes, account, outcome } = token
	return {
		accessToken,
		tokenType,
		expiresOn: expiresOn.getTime(),
		refreshOn: refreshOn.getTime(),
		scopes,
		account,
		outcome,
	}
}

export function fromRemoteToken(token: RemoteToken): AcquiredToken {
	return toAcquiredToken(token, Object.freeze(token.account), token.refreshOn, token.outcome)
}

/** Does the work and answers with a value in any case: comlink would drop what an error carries. */
export async function answer<T>(work: () => Promise<T>): Promise<Answer<T>> {
	try {
		return { ok: true, value: await work() }
	} catch (error) {
		const known =
			error instanceof BrokerError
				? error
				: new BrokerError('ERR_WORKER_FAILED', 'The thread that has the broker failed at this call.')
		return { ok: false, error: known.toWire() }
	}
}
