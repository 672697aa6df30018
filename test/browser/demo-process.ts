import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

/** Ports of the demo and of the stand-in's pages. */
export interface Ports {
	readonly port: number
	readonly idpPort: number
}

/** A demo that runs as it does for people: a process of its own. */
export interface Demo {
	readonly origin: string
	readonly pagesOrigin: string
	/** What it has printed. */
	readonly output: { readonly stdout: string; readonly stderr: string }
	readonly process: ChildProcess
	/** Its exit code, when it has ended. */
	readonly ended: Promise<number | null>
	/** Asks it to end, and answers with its exit code. */
	stop(): Promise<number | null>
}

/** Two ports that nobody uses now. */
export async function freePorts(): Promise<Ports> {
	const servers = [createServer(), createServer()]
	const ports = await Promise.all(
		servers.map(async (server) => {
			await once(server.listen(0, '127.0.0.1'), 'listening')
			return (server.address() as { port: number }).port
		}),
	)
	await Promise.all(servers.map((server) => once(server.close(), 'close')))
	return { port: ports[0] as number, idpPort: ports[1] as number }
}

/** Runs the demo, ready or not. */
export function runDemo({ port, idpPort }: Ports, more: NodeJS.ProcessEnv = {}) {
	const { NODE_TEST_CONTEXT, REDIS_URL, MSAL_SECRETS, AZURE_CLIENT_ID, ...env } = process.env
	const main = fileURLToPath(new URL('../../examples/demo/main.js', import.meta.url))
	const child = spawn(process.execPath, [main], {
		env: { ...env, PORT: String(port), IDP_PORT: String(idpPort), ...more },
		stdio: ['ignore', 'pipe', 'pipe'],
	})
	const output = { stdout: '', stderr: '' }
	for (const stream of ['stdout', 'stderr'] as const)
		child[stream].setEncoding('utf8').on('data', (text: string) => {
			output[stream] += text
		})
	const ended = once(child, 'close').then(([code]) => code as number | null)
	return { process: child, output, ended }
}

/** Starts the demo and waits until it says that it is ready. */
export async function startDemo(ports: Ports, more: NodeJS.ProcessEnv = {}): Promise<Demo> {
	const { process: child, output, ended } = runDemo(ports, more)
	while (!output.stdout.includes('\n')) {
		const event = await Promise.race([once(child.stdout as NonNullable<typeof child.stdout>, 'data'), ended])
		if (!Array.isArray(event)) throw new Error(`The demo did not start.\n${output.stderr}`)
	}
	return {
		origin: `http://localhost:${ports.port}`,
		pagesOrigin: `http://127.0.0.1:${ports.idpPort}`,
		output,
		process: child,
		ended,
		stop() {
			child.kill('SIGTERM')
			return ended
		},
	}
}
