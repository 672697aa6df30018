import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { AuthOptions } from '../../src/index.js'

/** A provider on this machine, in a process of its own. */
export interface StandIn {
	/** What `koaMsal` has to know of it. */
	readonly options: {
		readonly auth: AuthOptions
		readonly network: { readonly caFile: string }
		readonly graph: { readonly endpoint: string }
	}
	/** Resolves when its process has ended, whoever ended it. */
	readonly ended: Promise<unknown>
	close(): Promise<void>
}

/** What the stand-in prints, as one line of JSON, when it is ready. */
interface Announcement {
	readonly authority: string
	readonly knownAuthority: string
	readonly tenantId: string
	readonly clientId: string
	readonly clientSecret: string
	readonly caFile: string
	readonly graphEndpoint: string
}

/**
 * Starts the stand-in for Microsoft Entra ID and Microsoft Graph. Its other settings (`IDP_ACCESS_TOKEN_TTL`,
 * `IDP_REFRESH_IN`, …) come from the environment.
 * @throws {Error} with what the stand-in says when it cannot start
 */
export async function startStandIn(origin: string, pagesPort: number): Promise<StandIn> {
	const program = fileURLToPath(new URL('../../dev/main.js', import.meta.url))
	const settings = [
		'--port=0',
		`--pages-port=${pagesPort}`,
		`--redirect-uri=${origin}/user/authorized`,
		`--post-logout-redirect-uri=${origin}/`,
	]
	// In a process group of its own, because Ctrl-C is for us to act on. It ends when its input does.
	const child = spawn(process.execPath, [program, ...settings], { stdio: 'pipe', detached: true })
	const ended = once(child, 'exit')
	let complaint = ''
	const collect = (chunk: Buffer) => {
		complaint += chunk
	}
	child.stderr.on('data', collect)
	child.stdin.on('error', () => {})

	const line = await Promise.race([once(createInterface(child.stdout), 'line'), ended.then(() => undefined)])
	if (!line) {
		// What is one of two ports there is the only one here.
		const reason = complaint.trim().replace('IDP_PAGES_PORT', 'IDP_PORT')
		throw new Error(`The stand-in for Microsoft Entra ID did not start. ${reason}`)
	}
	child.stderr.off('data', collect).pipe(process.stderr)

	const announced = JSON.parse(String(line[0])) as Announcement
	return {
		options: {
			auth: {
				clientId: announced.clientId,
				clientSecret: announced.clientSecret,
				authority: announced.authority,
				knownAuthorities: [announced.knownAuthority],
				allowedTenants: [announced.tenantId],
				redirectUri: `${origin}/user/authorized`,
			},
			network: { caFile: announced.caFile },
			graph: { endpoint: `${announced.graphEndpoint}/v1.0` },
		},
		ended,
		async close() {
			child.stdin.end()
			await ended
		},
	}
}
