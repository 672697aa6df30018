import { MessagePort } from 'node:worker_threads'
import { expose, finalizer, type Remote, releaseProxy, wrap } from 'comlink'
import type { AcquiredToken } from './acquired-token.js'
import type { TokenBroker } from './broker.js'
import { BrokerError } from './errors.js'
import { answer, fromRemoteToken, type RemoteToken, toRemoteToken } from './remote/answers.js'
import { checkRequest, checkTicket, type RemoteRequest, sessionFrom } from './remote/arguments.js'
import { checkedPort } from './remote/checked-port.js'
import { checkAnswer, checkCall } from './remote/messages.js'
import type { SessionLike, SessionTicket } from './session.js'
import type { SilentRequest } from './silent-request.js'
import type { Answer } from './wire.js'

/** A broker that lives in another thread. */
export interface RemoteBroker {
	/**
	 * A valid access token of the person who is signed in, from the broker's thread: one hop there and back,
	 * also where the broker answers from memory.
	 *
	 * @param session the `msal` of `ctx.session` as a plain `{ msal }`: nothing else of a session is sent
	 * @param request `signal` stops this caller's wait, in this thread; the work goes on
	 * @throws ERR_SIGNED_OUT nobody is signed in, or not any more
	 * @throws ERR_INTERACTION_REQUIRED the provider wants the person back; carries `claims` and `scopes`
	 * @throws ERR_IDP_UNAVAILABLE, ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED try again after `retryAfter`
	 * @throws ERR_BROKER_CLOSED the broker or the connection was closed, or the broker's thread has ended
	 * @throws ERR_BAD_REQUEST the request or the ticket is malformed
	 * @throws ERR_CLIENT_REJECTED, ERR_IDP_PROTOCOL
	 */
	acquireSilent(session: SessionLike, request?: SilentRequest): Promise<AcquiredToken>

	/**
	 * Ends a session, its tokens and its data, like the broker's own `signOut`.
	 * @returns where the provider's own session is ended, when that is known
	 * @throws ERR_STORE_UNAVAILABLE, ERR_OVERLOADED, ERR_WORKER_FAILED when the store could not be told
	 * @throws ERR_BROKER_CLOSED, ERR_BAD_REQUEST
	 */
	signOut(session: SessionLike): Promise<{ readonly endSessionEndpoint?: string }>

	/**
	 * Closes the port. Calls under way, and every later one, reject with ERR_BROKER_CLOSED. The port of a broker that nobody
	 * holds is closed by itself, when the calls under way are answered and the collector has noticed.
	 */
	close(): void
}

/** What goes over the port. */
interface Verbs {
	acquireSilent(ticket: SessionTicket | null, request: RemoteRequest): Promise<Answer<RemoteToken>>
	signOut(ticket: SessionTicket | null): Promise<Answer<{ readonly endSessionEndpoint?: string }>>
}

/**
 * Lets another thread of this application ask this thread's broker for tokens, through `connectBroker`.
 *
 * Who has the other end of the port can do these two things and no more: acquire tokens for, and sign out, any
 * session whose ticket it knows. Every message is checked before anything acts on it; the first one that
 * `connectBroker` would not have sent closes the port, with a process warning. This keeps no hostile thread out of
 * the rest of the process: a worker thread is no sandbox.
 *
 * The port is closed when the other thread ends, or closes its end; until then it keeps this thread alive.
 *
 * @example
 * ```ts
 * const { port1, port2: port } = new MessageChannel()
 * const stop = exposeBroker(broker, port1)
 * const worker = new Worker(new URL('./job.js', import.meta.url), { workerData: { port }, transferList: [port] })
 * worker.once('exit', stop)
 * ```
 * @returns stops answering and closes the port
 * @throws ERR_CONFIG `port` is no MessagePort of `node:worker_threads`
 */
export function exposeBroker(
	broker: Pick<TokenBroker, 'acquireSilent' | 'signOut'>,
	port: MessagePort,
): () => void {
	requirePort(port)
	const { endpoint, close } = checkedPort(port, checkCall)
	const facade: Verbs = {
		acquireSilent: (ticket: unknown, request: unknown) =>
			answer(async () =>
				toRemoteToken(await broker.acquireSilent(sessionFrom(ticket), checkRequest(request))),
			),
		signOut: (ticket: unknown) => answer(() => broker.signOut(sessionFrom(ticket))),
	}
	expose(Object.freeze({ ...facade, [finalizer]: close }), endpoint)
	return close
}

/**
 * Connects this thread to the broker that another thread exposes on the other end of a port.
 *
 * The port keeps this thread alive while a call is under way, and not between calls.
 *
 * @example
 * ```ts
 * const broker = connectBroker(workerData.port)
 * const { accessToken } = await broker.acquireSilent({ msal: job.ticket }, { signal: AbortSignal.timeout(10_000) })
 * ```
 * @throws ERR_CONFIG `port` is no MessagePort of `node:worker_threads`
 */
export function connectBroker(port: MessagePort): RemoteBroker {
	requirePort(port)
	/** How to end each wait: comlink never settles a call whose other side is gone. */
	const waits = new Set<() => void>()
	let closed = false
	let dropped = false
	const { endpoint, close } = checkedPort(port, checkAnswer, () => {
		closed = true
		for (const end of waits) end()
		proxy[releaseProxy]()
	})
	port.unref()
	const proxy: Remote<Verbs> = wrap<Verbs>(endpoint)
	// Every access makes another proxy.
	const { acquireSilent, signOut } = proxy

	function call<T>(ask: () => Promise<Answer<T>>, signal?: AbortSignal): Promise<T> {
		return new Promise<T>((resolve, reject) => {
			if (closed) throw brokerGone()
			signal?.throwIfAborted()
			const answered = ask()
			const settle = () => {
				signal?.removeEventListener('abort', abort)
				waits.delete(end)
				if (waits.size > 0) return
				port.unref()
				if (dropped) close()
			}
			const end = () => {
				settle()
				reject(brokerGone())
			}
			const abort = () => {
				settle()
				reject(signal?.reason)
			}
			signal?.addEventListener('abort', abort, { once: true })
			if (waits.size === 0) port.ref()
			waits.add(end)
			answered.then((result) => {
				settle()
				if (result.ok) resolve(result.value)
				else reject(BrokerError.fromWire(result.error))
			}, end)
		})
	}

	const holder = {}
	whenDropped.register(holder, () => {
		dropped = true
		if (waits.size === 0) close()
	})
	return Object.freeze({
		acquireSilent: holding(holder, async (session: SessionLike, request: SilentRequest = {}) => {
			const token = await call(
				() => acquireSilent(checkTicket(session), checkRequest(request)),
				request.signal,
			)
			return fromRemoteToken(token)
		}),
		signOut: holding(holder, (session: SessionLike) => call(() => signOut(checkTicket(session)))),
		close: holding(holder, close),
	})
}

/** Closes the port of a remote broker that nobody can call any more: the port itself is never collected. */
const whenDropped = new FinalizationRegistry<() => void>((close) => close())

/** A function that keeps an object from being collected; out here, because a function holds all that is around it. */
function holding<A extends unknown[], R>(holder: object, work: (...given: A) => R): (...given: A) => R {
	return (...given) => {
		void holder
		return work(...given)
	}
}

function requirePort(port: unknown): void {
	if (!(port instanceof MessagePort))
		throw new BrokerError('ERR_CONFIG', 'port should be a MessagePort of node:worker_threads.')
}

function brokerGone(): BrokerError {
	return new BrokerError('ERR_BROKER_CLOSED', 'The connection to the broker is closed.')
}
