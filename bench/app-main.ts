import { createServer } from 'node:http'
import Koa from 'koa'
import { listen } from '../dev/listen.js'
import type { AddTo, BenchApp } from './apps/app.js'
import { startMeter, watchDelay } from './meter.js'
import { answerCalls } from './process.js'
import type { Params, World } from './scenario.js'

/** One Koa application in a process of its own. */
let bench: BenchApp
let storeCalls = 0
let stop: Awaited<ReturnType<typeof startMeter>>
let stopWatching: Awaited<ReturnType<typeof watchDelay>>

const calls = {
	async start({ name, params, world }: { name: string; params: Params; world: World }) {
		const app = new Koa()
		const failures: unknown[] = []
		app.on('error', (error) => {
			if (failures.push(error) === 1) console.error(error)
		})
		const server = createServer((request, response) => handle(request, response))
		const origin = `http://${await listen(server, { host: 'localhost', port: 0, variable: 'PORT' })}`
		// It has nothing to do with sessions, and comes before them.
		app.use(async (ctx, next) => {
			if (ctx.path === '/ping') ctx.body = 'pong'
			else await next()
		})
		const { addTo } = (await import(`./apps/${name}.js`)) as { addTo: AddTo }
		bench = await addTo(app, params, world, origin)
		const handle = app.callback()
		return { origin, signIn: bench.signIn, tokens: bench.tokens }
	},
	async begin() {
		storeCalls = await bench.storeCalls()
		stop = await startMeter()
	},
	async end() {
		const reading = stop()
		return {
			reading,
			rssMiB: process.memoryUsage.rss() / 2 ** 20,
			storeCalls: (await bench.storeCalls()) - storeCalls,
		}
	},
	async watch() {
		stopWatching = await watchDelay()
	},
	endWatch: async () => (await stopWatching()).delay,
}

export type AppCalls = typeof calls

answerCalls(calls, () => bench?.close())
