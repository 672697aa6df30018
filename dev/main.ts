import { fstatSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clientIds, clientSecrets, createDirectory } from './directory.js'
import { createEntraStandIn } from './entra-stand-in.js'
import { createGraphStub } from './graph-stub.js'
import { readSettings, type Settings, USAGE } from './settings.js'

/** What is printed, as one line of JSON, when both servers listen. */
export interface Announcement {
	readonly authority: string
	/** For MSAL's `knownAuthorities`. */
	readonly knownAuthority: string
	readonly issuer: string
	readonly tenantId: string
	readonly origin: string
	readonly pagesOrigin: string
	readonly graphEndpoint: string
	/** The certificate to trust (`NODE_EXTRA_CA_CERTS` or a client's own option). */
	readonly caFile: string
	readonly clientId: string
	readonly clientSecret: string
	readonly redirectUris: readonly string[]
	readonly pid: number
}

/** Runs the stand-in and the Graph stub until the parent goes or a signal comes. */
async function main(): Promise<void> {
	const settings = readSettings(process.argv.slice(2), process.env)
	if (settings.help) {
		console.log(USAGE)
		return
	}
	const { clientId = clientIds.web, clientSecret = clientSecrets.web } = settings
	const standIn = await createEntraStandIn({ ...settings, ...createDirectory(settings) })
	const graph = await createGraphStub({ standIn, port: settings.graphPort })
	const caFile = await placeCertificate(standIn.ca, settings)
	endWithParent(async () => {
		await Promise.all([standIn.close(), graph.close(), caFile.remove()])
	})
	const announcement: Announcement = {
		authority: standIn.authority,
		knownAuthority: standIn.host,
		issuer: standIn.issuer,
		tenantId: standIn.tenantId,
		origin: standIn.origin,
		pagesOrigin: standIn.pagesOrigin,
		graphEndpoint: graph.origin,
		caFile: caFile.path,
		clientId,
		clientSecret,
		redirectUris: settings.redirectUris ?? ['http://localhost:3000/auth/redirect'],
		pid: process.pid,
	}
	process.stdout.write(`${JSON.stringify(announcement)}\n`)
}

/** Writes the certificate where it is wanted, else into a directory that only this user can open. */
async function placeCertificate(
	ca: string,
	{ caFile }: Settings,
): Promise<{ path: string; remove(): Promise<void> }> {
	if (caFile) {
		await writeFile(caFile, ca, { mode: 0o600 })
		return { path: caFile, remove: () => rm(caFile, { force: true }) }
	}
	// mkdtemp makes it with mode 0700.
	const directory = await mkdtemp(join(tmpdir(), 'entra-stand-in-'))
	const path = join(directory, 'ca.pem')
	await writeFile(path, ca, { mode: 0o600 })
	return { path, remove: () => rm(directory, { recursive: true, force: true }) }
}

/** Ends on a signal, and when whoever started this process is gone: nothing is left behind on a port. */
function endWithParent(cleanUp: () => Promise<void>): void {
	let ending = false
	const end = () => {
		if (ending) return
		ending = true
		cleanUp().finally(() => process.exit(0))
	}
	process.once('SIGTERM', end)
	process.once('SIGINT', end)
	process.once('disconnect', end)
	// Only a pipe tells of its other end; /dev/null is at its end from the beginning and a terminal never is.
	const stdin = fstatSync(0)
	if (stdin.isFIFO() || stdin.isSocket()) process.stdin.once('end', end).once('error', end).resume()
}

main().catch((error: unknown) => {
	process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
	process.exit(1)
})
