import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTokenBroker, redisTokenStore } from '../../src/index.js'
import { createSetting, type Setting, signIn } from './setting.js'

describe('signing out, while others ask for the session’s token', { timeout: 60_000 }, () => {
	let setting: Setting
	before(async () => {
		setting = await createSetting()
	})
	after(() => setting.close())

	// It hears its own notices, so only a user who may not publish shows what it knows by itself.
	it('is known to the process that was asked when it is done, also where nobody can be told', async () => {
		const admin = setting.redis.client()
		await admin.acl('SETUSER', 'silent', 'on', '>pw', '~*', '&*', '+@all', '-publish')
		const { redis: _, ...own } = setting.options()
		const broker = await createTokenBroker({
			...own,
			store: redisTokenStore({ path: setting.redis.path, username: 'silent', password: 'pw' }),
			pool: { threads: 2 },
		})
		try {
			await sleep(500)
			for (let i = 0; i < 16; i++) {
				const session = await signIn(setting.world, broker, 'ada@contoso.example')
				// The thread that is told to sign out has to connect anew, one time in two: the other one is faster.
				const ids = String(await admin.client('LIST'))
					.split('\n')
					.filter((line) => line.includes('user=silent') && line.includes(' sub=0'))
					.map((line) => /id=(\d+)/.exec(line)?.[1])
				await admin.client('KILL', 'ID', Number(ids[i % ids.length]))
				await sleep(3)
				let done = false
				const signedOut = broker.signOut(session).then(() => {
					done = true
				})
				while (!done) {
					await Promise.race([broker.acquireSilent(session).catch(() => {}), signedOut])
					await sleep(1)
				}
				await sleep(100)
				await assert.rejects(broker.acquireSilent(session), /no tokens any more/, `round ${i}`)
			}
		} finally {
			await broker.close()
		}
	})
})
