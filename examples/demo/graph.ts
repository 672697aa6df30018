import { BrokerError, type GraphUser } from '../../src/index.js'

/** A person, or why there is none to show. */
export type Lookup =
	| { readonly profile: GraphUser }
	| { readonly none: 'nobody' | 'not permitted' | 'no answer' }

/** Asks Microsoft Graph for a person. A page can be shown without one. @throws what asks the visitor to sign in */
export async function lookUp(ask: () => Promise<GraphUser | undefined>): Promise<Lookup> {
	try {
		const profile = await ask()
		return profile ? { profile } : { none: 'nobody' }
	} catch (error) {
		if (!(error instanceof BrokerError)) throw error
		if (error.code === 'ERR_FORBIDDEN') return { none: 'not permitted' }
		if (error.code.startsWith('ERR_DOWNSTREAM_')) return { none: 'no answer' }
		throw error
	}
}
