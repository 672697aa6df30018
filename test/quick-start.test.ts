import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createBrowser, type Page } from '../dev/cookie-jar-browser.js'
import { createWorld, environmentOf, type World } from './support/application.js'
import { freePort } from './support/redis.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The first TypeScript block of the README, as it stands there: it is also plain JavaScript. */
function snippet(): string {
	const [, code = ''] = /```ts\n([\s\S]+?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []
	return code
}

const shortest = `import Koa from 'koa'
import { koaMsal } from 'koa-msal'

const { broker, msalSession, msalRoutes } = await koaMsal()   // settings from the environment
const app = new Koa()
app.use(msalSession)                                          // koa-session, on koa-redis when REDIS_URL is set
app.use(msalRoutes)                                           // /user/login, /user/authorized, /user/logout, …
app.use(async (ctx) => {
  const { accessToken } = await broker.acquireSilent(ctx.session)
})`

describe('the quick start of the README', () => {
	let world: World
	before(async () => {
		world = await createWorld()
	})
	after(() => world.close())

	it('is the example that the compiler checks', () => {
		const example = readFileSync(join(root, 'examples', 'quick-start.ts'), 'utf8')
		assert.equal(snippet(), example)
	})

	it('runs as it stands, with settings from the environment, and signs a person in', async () => {
		assert.ok(snippet().trim().split('\n').length <= 15)
		await signsIn(snippet(), (home) => {
			assert.equal(home.status, 200, home.html)
			assert.match(home.html, /Ada Lovelace/)
		})
	})

	it('runs as short as it can be: nothing is answered, but the token was had', () =>
		// Without a body Koa says 404; without a token it would be the broker's 401.
		signsIn(`${shortest}\napp.listen(Number(process.env.PORT))`, (home) => assert.equal(home.status, 404)))

	async function signsIn(code: string, check: (home: Page) => void): Promise<void> {
		// In the package's own folder, its name resolves to itself.
		const folder = await mkdtemp(join(root, 'dist', 'quick-start-'))
		await writeFile(
			join(folder, 'app.mjs'),
			`import { Server } from 'node:http'
const { listen } = Server.prototype
Server.prototype.listen = function (...options) {
	process.stdin.once('end', async () => { this.close(); this.closeAllConnections(); await broker.close() }).resume()
	return listen.apply(this, options).once('listening', () => console.log('ready'))
}
${code}`,
		)
		const port = await freePort()
		const origin = `http://localhost:${port}`
		const child = spawn(process.execPath, [join(folder, 'app.mjs')], {
			stdio: ['pipe', 'pipe', 'inherit'],
			env: {
				PATH: process.env.PATH,
				PORT: String(port),
				...environmentOf(world, origin),
			},
		})
		const browser = createBrowser()
		try {
			const ended = once(child, 'exit').then(() => {
				throw new Error('the program ended before it was ready')
			})
			await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended])
			ended.catch(() => {})
			assert.equal((await browser.get(`${origin}/`)).status, 401, 'nobody is signed in')
			await browser.follow(`${origin}/user/login/`)
			const home = await browser.press('Ada Lovelace')
			check(home)
			child.stdin.end()
			const [exitCode] = await once(child, 'exit')
			assert.equal(exitCode, 0, 'the process ends by itself after broker.close()')
		} finally {
			child.kill('SIGKILL')
			await browser.close()
			await rm(folder, { recursive: true })
		}
	}
})
