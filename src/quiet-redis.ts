import { createRequire } from 'node:module'

type Formatter = (this: { readonly namespace?: string }, value: unknown) => string

let done = false

/**
 * Has `DEBUG=ioredis:*` print commands without their arguments, of which some are passwords: ioredis prints them all,
 * and has no setting for it. Its commands, and what other packages print, stay as they are.
 */
export function hideArgumentsOfRedis(): void {
	if (done) return
	done = true
	const formatters = formattersOfRedis()
	const format = formatters?.o
	if (!formatters || !format) return
	formatters.o = function (value) {
		return this.namespace?.startsWith('ioredis:') ? '…' : format.call(this, value)
	}
}

/** Of the very copy of the package `debug` that ioredis prints with. */
function formattersOfRedis(): Record<string, Formatter> | undefined {
	const here = createRequire(import.meta.url)
	try {
		const debug = createRequire(here.resolve('ioredis'))('debug') as { formatters: Record<string, Formatter> }
		return debug.formatters
	} catch {
		// A version that prints with something else. A test looks at what is printed.
		return undefined
	}
}
