import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertTook } from '../support/took.js'
import { freePorts, runDemo, startDemo } from './demo-process.js'

describe('the process of the demo', { timeout: 60_000 }, () => {
	it('prints one line and ends with everything it started', async () => {
		const demo = await startDemo(await freePorts())
		const standIn = childOf(demo.process.pid)
		assert.equal(
			demo.output.stdout,
			`koa-msal demo: ${demo.origin} (sign-in by a stand-in for Microsoft Entra ID, for development only)\n`,
		)
		assert.equal(demo.output.stderr, '')
		const asked = performance.now()
		assert.equal(await demo.stop(), 0)
		assertTook(performance.now() - asked, 2_500)
		assert.equal(demo.output.stderr, '')
		if (standIn !== undefined) assert.throws(() => process.kill(standIn, 0), { code: 'ESRCH' })
	})

	for (const variable of ['PORT', 'IDP_PORT'] as const)
		it(`says which variable to change when ${variable} is taken`, async () => {
			const ports = await freePorts()
			const taken = createServer().listen(variable === 'PORT' ? ports.port : ports.idpPort, '127.0.0.1')
			await once(taken, 'listening')
			try {
				const { ended, output } = runDemo(ports)
				assert.equal(await ended, 1)
				assert.match(output.stderr, new RegExp(`is already in use.* ${variable}\\b`))
				assert.doesNotMatch(output.stderr, /^\s+at /m)
				assert.equal(output.stdout, '')
			} finally {
				taken.close()
			}
		})

	it('says so and ends when the provider does', async (t) => {
		const demo = await startDemo(await freePorts())
		const standIn = childOf(demo.process.pid)
		if (standIn === undefined) {
			await demo.stop()
			return t.skip('this system does not tell the children of a process')
		}
		process.kill(standIn, 'SIGKILL')
		assert.deepEqual([await demo.ended, demo.process.signalCode], [1, null])
		assert.match(demo.output.stderr, /^The stand-in for Microsoft Entra ID has ended/)
	})

	it('ends when its parent is gone', async () => {
		const ports = await freePorts()
		const main = fileURLToPath(new URL('../../examples/demo/main.js', import.meta.url))
		const program = `require('node:child_process').spawn(process.execPath, [${JSON.stringify(main)}], { stdio: 'inherit' })`
		const { PORT, IDP_PORT, REDIS_URL, AZURE_CLIENT_ID, ...env } = process.env
		const parent = spawn(process.execPath, ['-e', program], {
			env: { ...env, PORT: String(ports.port), IDP_PORT: String(ports.idpPort) },
			stdio: ['ignore', 'pipe', 'inherit'],
		})
		await once(parent.stdout, 'data')
		parent.kill('SIGKILL')
		// The pipe has its end when the last process that holds it is gone.
		await once(parent.stdout.resume(), 'end')
		await assert.rejects(fetch(`http://localhost:${ports.port}`))
	})
})

/** The one child of a process, where the system tells. */
function childOf(pid: number | undefined): number | undefined {
	try {
		return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]) || undefined
	} catch {
		return undefined
	}
}
