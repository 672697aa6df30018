import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import type { Announcement } from '../../dev/main.js'
import { readSettings } from '../../dev/settings.js'

const MAIN = fileURLToPath(new URL('../../dev/main.js', import.meta.url))

type Stdin = 'pipe' | 'ignore'

function start(env: Record<string, string>, stdin: Stdin = 'pipe', withIpc = false): ChildProcess {
	const stdio = [stdin, 'pipe', 'pipe', ...(withIpc ? ['ipc' as const] : [])] as const
	return spawn(process.execPath, [MAIN], { env: { PATH: process.env.PATH ?? '', ...env }, stdio: [...stdio] })
}

async function announced(child: ChildProcess): Promise<{ announcement: Announcement; lines: string[] }> {
	assert.ok(child.stdout)
	const lines: string[] = []
	const reader = createInterface(child.stdout).on('line', (line) => lines.push(line))
	await once(reader, 'line')
	return { announcement: JSON.parse(lines[0] ?? '') as Announcement, lines }
}

test('the process prints one line, works with the certificate it wrote, and ends with its stdin', async () => {
	const child = start({ IDP_REDIRECT_URI: 'http://localhost:4000/callback' })
	const { announcement, lines } = await announced(child)
	const { caFile, authority, graphEndpoint, pagesOrigin, redirectUris } = announcement
	assert.deepEqual(redirectUris, ['http://localhost:4000/callback'])
	assert.match(pagesOrigin, /^http:\/\/127\.0\.0\.1:\d+$/)
	assert.equal(statSync(dirname(caFile)).mode & 0o777, 0o700)
	const browser = createBrowser({ ca: await readFile(caFile, 'utf8') })
	assert.equal((await browser.get(`${authority}/v2.0/.well-known/openid-configuration`)).status, 200)
	assert.equal((await browser.get(`${graphEndpoint}/v1.0/me`)).status, 401)
	await browser.close()
	child.stdin?.end()
	const [code] = await once(child, 'exit')
	assert.equal(code, 0)
	assert.equal(lines.length, 1)
	assert.equal(existsSync(dirname(caFile)), false)
})

test('the process ends when its parent disconnects, and on SIGTERM', async () => {
	const forked = start({}, 'ignore', true)
	const terminated = start({}, 'ignore')
	await Promise.all([announced(forked), announced(terminated)])
	const exits = Promise.all([once(forked, 'exit'), once(terminated, 'exit')])
	forked.disconnect()
	terminated.kill('SIGTERM')
	assert.deepEqual(
		(await exits).map(([code]) => code),
		[0, 0],
	)
})

test('the process says which port is taken, and which variable changes it', async () => {
	const first = start({})
	const { announcement } = await announced(first)
	const port = new URL(announcement.origin).port
	const second = start({ IDP_PORT: port })
	let complaint = ''
	second.stderr?.on('data', (chunk) => {
		complaint += chunk
	})
	const [code] = await once(second, 'close')
	assert.equal(code, 1)
	assert.equal(
		complaint,
		`Port ${port} on 127.0.0.1 is already in use. Stop what uses it, or choose another port with IDP_PORT.\n`,
	)
	first.kill()
	await once(first, 'exit')
})

test('settings come from the command line before the environment, and are checked', () => {
	const settings = readSettings(['--port', '1', '--auto-login', 'hinted'], {
		IDP_PORT: '2',
		IDP_PAGES_PORT: '3',
	})
	assert.equal(settings.port, 1)
	assert.equal(settings.pagesPort, 3)
	assert.equal(settings.autoLogin, 'hinted')
	assert.throws(
		() => readSettings([], { IDP_PORT: 'x' }),
		/--port \(IDP_PORT\) must be a whole number, not "x"/,
	)
	assert.throws(() => readSettings(['--rotation', 'often'], {}), /IDP_ROTATION.*entra or strict/)
})
