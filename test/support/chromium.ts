import { type Browser, chromium } from 'playwright-core'
import { findProgram } from './programs.js'

/**
 * A Chromium without a window and without traffic of its own.
 * @param sites hosts, as `evil.test`, that it finds at 127.0.0.1: each is a site of its own to it, on any port
 */
export function launchChromium(sites: readonly string[] = []): Promise<Browser> {
	const executablePath = findProgram('chromium')
	const rules = sites.map((site) => `MAP ${site} 127.0.0.1`).join(', ')
	return chromium.launch({
		...(executablePath && { executablePath }),
		args: [
			'--no-sandbox',
			'--disable-gpu',
			'--disable-quic',
			'--no-first-run',
			'--disable-background-networking',
			'--disable-component-update',
			'--disable-sync',
			...(rules && [`--host-resolver-rules=${rules}`]),
		],
	})
}
