import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { run } from '../../src/cli/run.js'

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

export interface Ended {
	readonly code: number | null
	readonly stdout: string
	readonly stderr: string
	/** What `--json` says, line by line. */
	json(): unknown[]
}

/** Runs `koa-msal` as a process of its own, with nothing in its environment but what is given. */
export async function koaMsalCommand(
	args: readonly string[],
	environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
	const child = spawn(process.execPath, [main, ...args], {
		env: { PATH: process.env.PATH ?? '', ...environment },
		stdio: ['ignore', 'pipe', 'pipe'],
	})
	let [stdout, stderr] = ['', '']
	child.stdout.setEncoding('utf8').on('data', (text: string) => {
		stdout += text
	})
	child.stderr.setEncoding('utf8').on('data', (text: string) => {
		stderr += text
	})
	const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done))
	return ended(code, stdout, stderr)
}

/** The same in this process: for what needs no certificate of a provider, which Node reads when it starts. */
export async function koaMsalHere(
	args: readonly string[],
	env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
	const said = { stdout: '', stderr: '' }
	const to = (name: 'stdout' | 'stderr') => ({
		write: (text: string) => {
			said[name] += text
		},
	})
	const code = await run(args, { env, stdout: to('stdout'), stderr: to('stderr') })
	return ended(code, said.stdout, said.stderr)
}

function ended(code: number | null, stdout: string, stderr: string): Ended {
	const lines = () => stdout.split('\n').filter(Boolean)
	return { code, stdout, stderr, json: () => lines().map((line) => JSON.parse(line) as unknown) }
}
