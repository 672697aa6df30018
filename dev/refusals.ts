const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1', '[::1]'])

/**
 * Anyone who can reach a stand-in can sign in as anybody, so it runs only where nobody else can reach it.
 * @throws {Error} code `STAND_IN_IN_PRODUCTION` or `STAND_IN_NOT_LOOPBACK`
 */
export function assertDevelopmentOnly(what: string, hosts: readonly string[]): void {
	if (process.env.NODE_ENV === 'production') {
		throw refusal(
			'STAND_IN_IN_PRODUCTION',
			`${what} signs anybody in as anybody and refuses to start with NODE_ENV=production.`,
		)
	}
	for (const host of hosts) {
		if (!isLoopback(host)) {
			throw refusal(
				'STAND_IN_NOT_LOOPBACK',
				`${what} listens on loopback only (127.0.0.1, localhost or ::1), not on ${JSON.stringify(host)}.`,
			)
		}
	}
}

/** Whether `host`, as written in an option or a URL, is one of this machine's loopback names. */
export function isLoopback(host: string): boolean {
	return LOOPBACK.has(host)
}

function refusal(code: string, message: string): Error {
	return Object.assign(new Error(message), { code })
}
