import { createHash, timingSafeEqual } from 'node:crypto'
import { type AuthorizationRequest, checkAuthorizationRequest } from './authorization-request.js'
import { buildAuthorizationUrl } from './authorization-url.js'
import { BrokerError } from './errors.js'
import { randomText } from './random.js'
import { type SessionLike, ticketOf } from './session.js'
import type { Settings } from './settings.js'
import type { ProviderMetadata, UsedTransaction } from './wire.js'

/** What a sign-in has to remember until the provider answers. Secret: sealed, in the browser, for 15 minutes. */
export interface LoginTransaction {
	/** Of the provider that the person was sent to: an answer counts at the broker of that one alone (RFC 9700, 4.4). */
	readonly issuer: string
	readonly state: string
	readonly nonce: string
	readonly codeVerifier: string
	readonly scopes: readonly string[]
	readonly claims?: string
	/** Seconds that may have passed since the person proved who they are, when it began. */
	readonly maxAge?: number
	/** A local path. */
	readonly returnTo: string
	/** Milliseconds since the epoch. */
	readonly createdAt: number
	/** The web session that the sign-in started from, and who was signed in there. */
	readonly sessionId?: string
	readonly partition?: string
}

/** The provider's answer to a sign-in: the fields of the form post, or of the query. */
export interface AuthorizationAnswer {
	readonly state?: string
	readonly code?: string
	readonly iss?: string
	readonly error?: string
}

/** Milliseconds a sign-in may take at the provider. */
export const transactionLifetime = 15 * 60_000

/** A sign-in to begin. */
export interface SignInRequest extends AuthorizationRequest {
	/** A local path to go to afterwards. Default `/`. */
	readonly returnTo?: string
	/** The web session that it starts from: extended for the same person, else ended. */
	readonly session?: SessionLike
	readonly sessionId?: string
}

/** The address to send a browser to, and what to remember until it comes back. @throws ERR_BAD_REQUEST */
export function beginSignIn(
	settings: Settings,
	metadata: ProviderMetadata,
	request: SignInRequest,
): { readonly url: string; readonly transaction: LoginTransaction } {
	const asked = checkAuthorizationRequest(request)
	const scopes = asked.scopes ?? settings.scopes
	const codeVerifier = randomText()
	const partition = ticketOf(request.session)?.partition
	const transaction: LoginTransaction = {
		issuer: metadata.issuer,
		state: randomText(),
		nonce: randomText(),
		codeVerifier,
		scopes,
		returnTo: request.returnTo ?? '/',
		createdAt: Date.now(),
		...(asked.claims !== undefined && { claims: asked.claims }),
		...(asked.maxAge !== undefined && { maxAge: asked.maxAge }),
		...(request.sessionId !== undefined && { sessionId: request.sessionId }),
		...(partition !== undefined && { partition }),
	}
	const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url')
	const url = buildAuthorizationUrl(
		settings,
		metadata,
		{ ...asked, scopes },
		{ ...transaction, codeChallenge },
	)
	return { url, transaction }
}

/**
 * The code of an answer that belongs to its transaction, in time, from the right provider.
 * @throws ERR_LOGIN_REJECTED, ERR_IDP_DENIED, ERR_IDP_UNAVAILABLE
 */
export function checkAnswer(
	answer: AuthorizationAnswer,
	transaction: LoginTransaction,
	metadata: ProviderMetadata,
): string {
	if (!sameText(answer.state, transaction.state))
		throw rejected('It does not belong to a sign-in of this browser.')
	if (transaction.issuer !== metadata.issuer) throw rejected('It began at another provider.')
	const age = Date.now() - transaction.createdAt
	if (age < -transactionLifetime || age > transactionLifetime) throw rejected('It took too long.')
	checkIssuer(answer.iss, metadata)
	if (answer.error !== undefined) throw providerRefusal(answer.error)
	if (!answer.code) throw rejected('It brought no code.')
	return answer.code
}

/** What is remembered of a used transaction; of one that another version has marked, nothing. */
export function readUse(text: string): UsedTransaction | undefined {
	try {
		const use = JSON.parse(text) as Partial<UsedTransaction> | null
		return typeof use?.returnTo === 'string' && typeof use.partition === 'string'
			? (use as UsedTransaction)
			: undefined
	} catch {
		return undefined
	}
}

export function hashOf(text: string): string {
	return createHash('sha256').update(text).digest('base64url')
}

function sameText(answered: string | undefined, expected: string): boolean {
	return (
		answered !== undefined && timingSafeEqual(Buffer.from(hashOf(answered)), Buffer.from(hashOf(expected)))
	)
}

/** RFC 9207, 2.4. The issuer of a multi-tenant authority is a template, and its answers come from a tenant. */
function checkIssuer(iss: string | undefined, { issuer, issParameterSupported }: ProviderMetadata): void {
	if (iss === undefined) {
		if (issParameterSupported) throw rejected('It does not say which provider it comes from.')
		return
	}
	const [before = '', after] = issuer.split('{tenantid}')
	const matches =
		after === undefined
			? iss === issuer
			: iss.startsWith(before) &&
				iss.endsWith(after) &&
				/^[\w-]+$/.test(iss.slice(before.length, iss.length - after.length))
	if (!matches) throw rejected('It comes from another provider.')
}

/** RFC 6749, 4.1.2.1, and OpenID Connect Core, 3.1.2.6. */
function providerRefusal(error: string): BrokerError {
	if (error === 'server_error' || error === 'temporarily_unavailable')
		return new BrokerError('ERR_IDP_UNAVAILABLE', 'The provider has trouble signing people in. Try again.')
	if (/^(access_denied|(interaction|login|consent|account_selection)_required)$/.test(error))
		return new BrokerError('ERR_IDP_DENIED', 'The provider did not let you in, or you cancelled.')
	return rejected('The provider refused it.')
}

export function rejected(why: string): BrokerError {
	return new BrokerError('ERR_LOGIN_REJECTED', `This sign-in cannot be completed. ${why}`)
}
