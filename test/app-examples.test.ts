import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Browser, createBrowser } from '../dev/cookie-jar-browser.js'
import { API } from '../dev/directory.js'
import { type ApiStub, createApiStub } from './support/api-stub.js'
import { createWorld, environmentOf, type World } from './support/application.js'
import { freePort } from './support/redis.js'

/** Each is started as its reader would start it, in a process of its own, with settings from the environment. */
describe('the examples of applications', () => {
	let world: World
	let api: ApiStub
	let child: ChildProcess
	let browser: Browser
	let origin: string
	before(async () => {
		world = await createWorld({ autoLogin: false })
		api = await createApiStub(world.standIn.tls)
	})
	afterEach(async () => {
		child.kill()
		await browser.close()
	})
	after(() => Promise.all([api.close(), world.close()]))

	async function start(name: string): Promise<void> {
		const port = await freePort()
		origin = `http://localhost:${port}`
		browser = createBrowser()
		child = spawn(process.execPath, [fileURLToPath(new URL(`../examples/${name}.js`, import.meta.url))], {
			stdio: ['ignore', 'inherit', 'inherit'],
			env: {
				PATH: process.env.PATH,
				PORT: String(port),
				...environmentOf(world, origin),
				GRAPH_ENDPOINT: `${world.graph.origin}/v1.0`,
				API_URL: api.origin,
				API_SCOPE: `${API}/access_as_user`,
			},
		})
		while (!(await listens(port))) {
			assert.equal(child.exitCode, null, 'it ended early')
			await sleep(50)
		}
	}

	/** A browser is sent to sign in from a page of the application, and comes back to it. */
	async function signIn(path: string, name: string) {
		await browser.follow(`${origin}${path}`)
		return browser.press(name)
	}

	it('protected-page shows itself to everybody, to who is signed in, and to who has the role', async () => {
		await start('protected-page')
		assert.match((await browser.get(`${origin}/`)).html, /for everybody/)
		assert.match((await signIn('/me', 'Ada Lovelace')).html, /Hello Ada Lovelace/)
		assert.equal((await browser.get(`${origin}/reports`)).status, 403)
		const other = createBrowser()
		try {
			await other.follow(`${origin}/reports`)
			const page = await other.press('Grace Hopper')
			assert.match(page.html, /The reports/)
		} finally {
			await other.close()
		}
	})

	it('call-graph shows what Microsoft Graph says', async () => {
		await start('call-graph')
		const page = await signIn('/', 'Ada Lovelace')
		const said = JSON.parse(page.html)
		assert.equal(said.name, 'Ada Lovelace')
		assert.match(said.mail, /@/)
		assert.match(said.photo, /^image\//)
	})

	it('two-apis calls each API with a token of its own', async () => {
		await start('two-apis')
		const page = await signIn('/', 'Ada Lovelace')
		assert.deepEqual(JSON.parse(page.html), { name: 'Ada Lovelace', orders: { path: '/orders' } })
		const [ofApi] = api.calls.map(({ authorization }) => authorization)
		const ofGraph = world.graph.log.at(-1)?.authorization
		assert.ok(ofApi && ofGraph && ofApi !== ofGraph)
	})
})

async function listens(port: number): Promise<boolean> {
	const socket = connect(port, 'localhost')
	try {
		await once(socket, 'connect')
		return true
	} catch {
		return false
	} finally {
		socket.destroy()
	}
}
