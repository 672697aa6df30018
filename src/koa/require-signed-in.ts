import { createGuard, type Guard } from './guard.js'

/**
 * Lets only people through who are signed in. A browser is sent to sign in and comes back to the same page; an
 * API client gets 401 and JSON. The same happens when something behind the guard finds that the session has
 * ended, or that the provider wants the person back: with the scopes and claims that it asked for.
 */
export function requireSignedIn(): Guard {
	return createGuard('requireSignedIn', () => true)
}
