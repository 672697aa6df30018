import type { AcquiredToken } from './acquired-token.js'
import type { DownstreamCall, DownstreamRequest } from './downstream.js'
import { createGraph, type Graph } from './graph.js'
import { type SessionLike, ticketOf } from './session.js'
import type { SilentRequest } from './silent-request.js'
import type { SignedInAccount } from './wire.js'

/** A call whose method is its verb's. */
type Bodiless = Omit<DownstreamRequest, 'method' | 'body'>
type WithBody = Omit<DownstreamRequest, 'method'>

/**
 * One session's own verbs: `broker.forSession(ctx.session)`. Who is signed in is read off the session each time, so a
 * handle sees a sign-out.
 *
 * The calls resolve to a `Response`, whatever its status: only what is no answer is thrown. Read its body, or cancel it
 * (`response.body?.cancel()`): until then it holds a connection.
 */
export class SessionHandle {
	readonly #session: SessionLike
	readonly #acquire: (request?: SilentRequest) => Promise<AcquiredToken>
	readonly #call: DownstreamCall
	readonly #graphEndpoint: string

	constructor(
		session: SessionLike,
		acquire: (request?: SilentRequest) => Promise<AcquiredToken>,
		call: DownstreamCall,
		graphEndpoint: string,
	) {
		this.#session = session
		this.#acquire = acquire
		this.#call = call
		this.#graphEndpoint = graphEndpoint
	}

	/** Who is signed in; `undefined` for nobody. */
	get account(): SignedInAccount | undefined {
		return ticketOf(this.#session)?.account
	}

	/** Whether somebody is signed in, as far as the session knows; `broker.isSignedIn` also asks the store. */
	get authenticated(): boolean {
		return this.account !== undefined
	}

	/** The person's name, to be shown; it is nobody's key. */
	get name(): string | undefined {
		return this.account?.name
	}

	/**
	 * The person's mail address, to be shown, as it was at sign-in; `undefined` for somebody without a mailbox, and where
	 * the setting `profile` is `none`.
	 */
	get mail(): string | undefined {
		return this.account?.mail
	}

	/** The name of their manager, to be shown, as it was at sign-in, where the setting `profile` has it asked. */
	get managerName(): string | undefined {
		return ticketOf(this.#session)?.manager?.name
	}

	/** The mail address of their manager, likewise. */
	get managerMail(): string | undefined {
		return ticketOf(this.#session)?.manager?.mail
	}

	/** What Microsoft Graph says of the person now. */
	get graph(): Graph {
		return createGraph((url, request) => this.get(url, request), this.#graphEndpoint)
	}

	/** The broker's `acquireSilent`, for this session. */
	acquireSilent(request?: SilentRequest): Promise<AcquiredToken> {
		return this.#acquire(request)
	}

	/**
	 * Calls an API with the person's token.
	 *
	 * A 429 or 503 with `Retry-After` is waited for and repeated, up to three times, where that can do no harm and the
	 * deadline allows: a 503 only for methods that may be repeated, and never a streamed body. A 401 with a claims
	 * challenge is repeated once, with a token that meets it. A redirect is followed by GET and HEAD on the same origin.
	 * Any other answer, and what still answers so afterwards, is resolved to as it is.
	 *
	 * @param url absolute, https, on Microsoft Graph's host or one of `downstream.allowedHosts`
	 * @returns its `json()` reads with the setting `downstream.serialiser`
	 * @throws ERR_FORBIDDEN_TARGET before a token is acquired or a socket opened: another host, or another API's scopes
	 * @throws ERR_DOWNSTREAM_UNAVAILABLE no answer, or not in time; also while its body is read
	 * @throws ERR_DOWNSTREAM_PROTOCOL while the body is read: it is over `maxBytes` long
	 * @throws ERR_BAD_REQUEST the request is malformed
	 * @throws what `acquireSilent` throws, and the signal's reason
	 */
	request(url: string | URL, request?: DownstreamRequest): Promise<Response> {
		return this.#call(this.#acquire, url, request)
	}

	/** `request` with this method. */
	get(url: string | URL, request?: Bodiless): Promise<Response> {
		return this.request(url, { ...request, method: 'GET' })
	}

	/** `request` with this method. */
	post(url: string | URL, request?: WithBody): Promise<Response> {
		return this.request(url, { ...request, method: 'POST' })
	}

	/** `request` with this method. */
	put(url: string | URL, request?: WithBody): Promise<Response> {
		return this.request(url, { ...request, method: 'PUT' })
	}

	/** `request` with this method. */
	patch(url: string | URL, request?: WithBody): Promise<Response> {
		return this.request(url, { ...request, method: 'PATCH' })
	}

	/** `request` with this method. */
	delete(url: string | URL, request?: WithBody): Promise<Response> {
		return this.request(url, { ...request, method: 'DELETE' })
	}
}
