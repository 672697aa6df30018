import type { MessagePort } from 'node:worker_threads'
import type { Endpoint } from 'comlink'
import type { MessageCheck } from './messages.js'

/** Web types, of which a library for Node has none. */
type PortMessage = Event & { readonly data: unknown; readonly ports: readonly MessagePort[] }
/** https://nodejs.org/api/worker_threads.html#porthasref */
type Referable = MessagePort & { hasRef(): boolean }

/** A port with a filter before it: comlink listens to `endpoint`, and the port to nobody but the filter. */
export interface CheckedPort {
	readonly endpoint: Endpoint
	/** Nothing that still waits in the port is delivered any more. */
	close(): void
}

/**
 * Puts a filter before a port. The first message that `check` refuses closes the port.
 * @param onClose called once, when the port is closed, by whichever side
 */
export function checkedPort(port: MessagePort, check: MessageCheck, onClose?: () => void): CheckedPort {
	let deliver: ((event: { readonly data: object }) => void) | undefined
	let closed = false

	function end(): void {
		if (closed) return
		closed = true
		onClose?.()
		port.close()
	}

	function refuse(): void {
		if (closed) return
		process.emitWarning('a message from another thread was refused, and its port closed', 'KoaMsalWarning')
		end()
	}

	port.on('close', end)
	// A message that was nested too deeply to be read.
	port.on('messageerror', refuse)
	port.addEventListener('message', (event) => {
		const { data, ports } = event as PortMessage
		for (const unasked of ports) unasked.close()
		// What was queued before the port was closed is still emitted after it.
		if (closed) return
		const message = ports.length === 0 ? check(data) : undefined
		if (message) deliver?.({ data: message })
		else refuse()
	})
	// A port that was closed before this does not emit 'close' again, nor does listening keep its thread alive.
	if (!(port as Referable).hasRef()) queueMicrotask(end)

	return {
		endpoint: {
			addEventListener(_type: string, listener: typeof deliver) {
				deliver = listener
			},
			removeEventListener() {
				deliver = undefined
			},
			// Without a transfer list: nothing is handed over but values.
			postMessage(message: unknown) {
				port.postMessage(message)
			},
		} as Endpoint,
		close: end,
	}
}
