import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { hardenServer, type KoaMsalEnvironmentOptions, koaMsal } from '../../src/index.js'
import { createDemo } from './app.js'
import { createEnd, endWithParent } from './end.js'
import { listenOnLoopback, readPort } from './ports.js'
import { startStandIn } from './stand-in.js'

const { AZURE_CLIENT_ID, MSAL_REDIRECT_URI, MSAL_SECRETS, REDIS_URL } = process.env

/** What was started, to be closed in the opposite order. */
const started: (() => Promise<unknown>)[] = []

const end = createEnd(async () => {
	for (const close of started.reverse()) await close()
})

async function main(): Promise<void> {
	endWithParent(() => end(0))
	const port = readPort('PORT', 3000)
	const local = `http://localhost:${port}`
	const standIn = AZURE_CLIENT_ID ? undefined : await startProvider(local)
	const redirectUri = MSAL_REDIRECT_URI || `${local}/user/authorized`

	// What is not said here comes from the environment: AZURE_TENANT_ID, AZURE_CLIENT_SECRET, REDIS_URL, …
	const parts = await koaMsal({ auth: { redirectUri }, ...standIn, ...ownSecrets() })
	started.push(() => parts.broker.close())

	const origin = standIn ? local : new URL(redirectUri).origin
	const demo = createDemo(parts, { origin, standIn: standIn !== undefined, redis: Boolean(REDIS_URL) })
	const handle = demo.callback()
	const servers = [createServer(handle), createServer(handle)].map((server) => hardenServer(server))
	await listenOnLoopback(servers, port, 'PORT')
	started.push(async () => {
		for (const server of servers) server.close().closeAllConnections()
	})

	const provider = standIn
		? 'sign-in by a stand-in for Microsoft Entra ID, for development only'
		: 'sign-in by Microsoft Entra ID'
	console.log(`koa-msal demo: ${origin} (${provider})`)
}

/** The stand-in for Microsoft Entra ID; without it there is no demo. */
async function startProvider(origin: string) {
	// It is on this machine, where no proxy leads.
	for (const name of ['HTTPS_PROXY', 'https_proxy']) delete process.env[name]
	const standIn = await startStandIn(origin, readPort('IDP_PORT', 0))
	started.push(() => standIn.close())
	standIn.ended.then(() => end(1, 'The stand-in for Microsoft Entra ID has ended, and the demo with it.'))
	return standIn.options
}

/** Random secrets sign everybody out at the next start, which suits a demo and nothing else. */
function ownSecrets(): Pick<KoaMsalEnvironmentOptions, 'secrets'> {
	if (MSAL_SECRETS) return {}
	if (REDIS_URL)
		console.error(
			'Note: MSAL_SECRETS is not set, so a restart of the demo signs everybody out of this Redis.',
		)
	return { secrets: [randomBytes(32).toString('base64url')] }
}

main().catch((error: unknown) => end(1, error instanceof Error ? error.message : String(error)))
