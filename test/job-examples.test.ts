import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { people } from '../dev/people.js'
import { createSetting, type Setting, secret } from './cluster/setting.js'
import { environmentOf } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

describe('the examples of work outside a request (the original’s redis_tools.get_session)', () => {
	let redis: TestRedis
	let setting: Setting
	before(async () => {
		redis = await startRedis({ tcp: true })
		setting = await createSetting({}, {}, { ...redis.connection })
	})
	after(async () => {
		await setting.close()
		await redis.stop()
	})

	/** Runs an example to its end, as its first lines say. */
	const run = (name: string, ...args: string[]) =>
		new Promise<{ code: unknown; out: string; log: string }>((resolve) => {
			const { world } = setting
			execFile(
				process.execPath,
				[fileURLToPath(new URL(`../examples/${name}.js`, import.meta.url)), ...args],
				{
					timeout: 20_000,
					env: {
						PATH: process.env.PATH,
						...environmentOf(world, 'http://localhost'),
						MSAL_SECRETS: secret,
						REDIS_URL: redis.url,
						GRAPH_ENDPOINT: `${world.graph.origin}/v1.0`,
					},
				},
				(error, out, log) => resolve({ code: error?.code ?? 0, out, log }),
			)
		})

	for (const [name, done] of [
		['nightly-job', /^The report of Ada Lovelace is done\.\n$/],
		['report-thread', /^The report of Ada Lovelace was made in a thread of its own\.\n$/],
	] as const)
		it(`${name} runs for somebody who has signed in, and says that somebody else has not`, async () => {
			const { tenantId } = setting.world.standIn
			const session = await setting.signIn()
			const { code, out, log } = await run(name, tenantId, people.ada.oid)
			assert.equal(code, 0, log)
			assert.match(out, done)
			const { accessToken } = await setting.broker.acquireSilent(session)
			assert.ok(!`${out}${log}`.includes(accessToken))
			const stranger = await run(name, tenantId, people.alan.oid)
			assert.equal(stranger.code, 1)
			assert.match(stranger.log, /has no session now/)
		})
})
