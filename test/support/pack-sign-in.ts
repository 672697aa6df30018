import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import type { Announcement } from '../../dev/main.js'

const standInMain = fileURLToPath(new URL('../../dev/main.js', import.meta.url))

/** What a process prints first; one that ends before it is an error. */
async function firstLine(child: ChildProcess): Promise<string> {
	assert.ok(child.stdout)
	const lines = createInterface({ input: child.stdout })
	const ended = once(child, 'exit').then(([code, signal]) => {
		throw new Error(`${child.spawnargs.join(' ')} ended with ${code ?? signal} before it was ready`)
	})
	const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
	return line
}

/** The exit code after a polite request to end; `null` when the process had to be killed. */
async function end(child: ChildProcess): Promise<number | null> {
	if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
	const exit = once(child, 'exit') as Promise<[number | null]>
	child.kill('SIGTERM')
	const insist = setTimeout(() => child.kill('SIGKILL'), 10_000)
	const [code] = await exit
	clearTimeout(insist)
	return code
}

/** Starts the stand-in provider and the installed application, and signs one person in. */
export async function signInOnce(consumer: string): Promise<void> {
	// The pipe to stdin tells the stand-in when this process is gone.
	const standIn = spawn(
		process.execPath,
		[standInMain, '--redirect-uri', 'http://localhost/user/authorized'],
		{ stdio: ['pipe', 'pipe', 'inherit'] },
	)
	let application: ChildProcess | undefined
	const browser = createBrowser()
	try {
		const idp = JSON.parse(await firstLine(standIn)) as Announcement
		const { clientId, clientSecret, authority, knownAuthority } = idp
		const settings = {
			auth: { clientId, clientSecret, authority, knownAuthorities: [knownAuthority] },
			scopes: ['User.Read'],
			secrets: [randomBytes(32).toString('base64')],
			network: { caFile: idp.caFile },
			graph: { endpoint: `${idp.graphEndpoint}/v1.0` },
		}
		application = spawn(process.execPath, [consumer], {
			cwd: dirname(consumer),
			env: { ...process.env, SETTINGS: JSON.stringify(settings), NODE_OPTIONS: '' },
			stdio: ['ignore', 'pipe', 'inherit'],
		})
		const origin = await firstLine(application)
		await browser.follow(`${origin}/user/login`)
		const home = await browser.press('Ada Lovelace')
		assert.equal(home.status, 200, `${home.url} answered ${home.status}: ${home.html.slice(0, 500)}`)
		const again = await browser.get(`${origin}/`)
		assert.deepEqual(again.json(), { outcome: 'hit', username: 'ada@contoso.example' })
		assert.equal(await end(application), 0, 'the application ends by itself after broker.close()')
	} finally {
		await browser.close()
		await Promise.all([end(standIn), application && end(application)])
	}
}
