import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { startRedis } from './support/redis.js'

const at = (path: string) => new URL(`../${path}`, import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), 'koa-msal-'))

/** Node's own loader closes files, now and then. */
const settle = `
import { setTimeout as sleep } from 'node:timers/promises'
const resources = () => process.getActiveResourcesInfo().filter((type) => type !== 'CloseReq').sort()
await sleep(20)`

/** Runs a module in a process of its own, which has to end by itself, and says what it prints. */
function run<T>(code: string, flags: readonly string[] = []): T {
	const { status, signal, stdout, stderr } = spawnSync(
		process.execPath,
		// Its own streams are resources as well, made when first used.
		[...flags, '--input-type=module', '-e', `void [process.stdout, process.stderr];${settle}${code}`],
		{ cwd: folder, encoding: 'utf8', env: { PATH: process.env.PATH }, timeout: 20_000 },
	)
	assert.deepEqual([status, signal], [0, null], stderr)
	return JSON.parse(stdout) as T
}

/** Node allows nothing then but to read files. https://nodejs.org/api/permissions.html */
const onlyReads = [
	process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission',
	'--allow-fs-read=*',
	'--no-warnings',
]

describe('a process that uses the library (J4)', { timeout: 60_000 }, () => {
	after(() => rmSync(folder, { recursive: true }))

	for (const entry of ['src/index.js', 'src/remote.js'])
		it(`has no timer, socket, thread, listener or file of ${entry} by importing it, and ends`, () => {
			const code = `
				import { createHook } from 'node:async_hooks'
				const made = new Set()
				createHook({ init: (id, type) => made.add(type) }).enable()
				const listening = () => process.eventNames().map((name) => [String(name), process.listenerCount(name)])
				const before = [resources(), listening()]
				await import(${JSON.stringify(at(entry))})
				const found = [resources(), listening()]
				console.log(JSON.stringify({ before, found, made: [...made] }))`
			const { before, found, made } = run<Record<'before' | 'found' | 'made', string[]>>(code, onlyReads)
			assert.deepEqual(found, before)
			assert.deepEqual(
				made.filter((type) => /Timeout|TCP|TLS|UDP|PIPE|PROCESSWRAP|WORKER|ADDRINFO|QUERY|SIGNAL/.test(type)),
				[],
			)
			assert.deepEqual(readdirSync(folder), [])
		})

	for (const kind of ['memory', 'Redis'] as const)
		it(`has nothing left of a broker that is closed, twice, and ends: ${kind}`, async () => {
			const redis = kind === 'Redis' ? await startRedis() : undefined
			try {
				const store = redis ? `, store: redisTokenStore({ path: ${JSON.stringify(redis.path)} })` : ''
				const code = `
					import { koaMsal, redisTokenStore } from ${JSON.stringify(at('src/index.js'))}
					const before = resources()
					const { broker } = await koaMsal({
						auth: {
							clientId: '11111111-2222-3333-4444-555555555555',
							authority: 'https://127.0.0.1:9/tenant',
							knownAuthorities: ['127.0.0.1:9'],
							redirectUri: 'http://localhost/user/authorized',
							clientSecret: 'not used here',
						},
						secrets: ['a test secret of more than 32 bytes: 0123456789']${store},
					})
					const { workers } = await broker.health()
					await broker.getAuthCodeUrl().catch(() => {})
					await Promise.all([broker.close(), broker.close()])
					await broker.close()
					// A connection takes a moment to end.
					for (let turn = 0; turn < 50 && resources().length > before.length; turn++) await sleep(20)
					console.log(JSON.stringify({ before, workers, left: resources() }))`
				const { before, workers, left } = run<{ before: string[]; workers: { ok: boolean }; left: string[] }>(
					code,
				)
				assert.ok(workers.ok)
				assert.deepEqual(left, before)
			} finally {
				await redis?.stop()
			}
		})
})
