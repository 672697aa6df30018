import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { redisTokenStore } from '../../src/index.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { findProgram } from '../support/programs.js'
import { startRedis } from '../support/redis.js'

/** Longer than the two minutes for which Chromium treats a new cookie without SameSite as None. */
const atTheProvider = 125_000

describe('a sign-in that takes over two minutes at the provider', () => {
	let world: World
	let redis: Awaited<ReturnType<typeof startRedis>>
	let app: Application
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, {
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			store: redisTokenStore({ path: redis.path }),
		})
	})
	after(async () => {
		await app.close()
		await Promise.all([redis.stop(), world.close()])
	})

	it('works in a real browser, after a real wait', { timeout: 200_000 }, async () => {
		const browser = await chromium.launch({
			executablePath: findProgram('chromium') as string,
			args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
		})
		try {
			const page = await browser.newPage()
			await page.goto(`${app.origin}/user/login/orders?page=2`)
			await sleep(atTheProvider)
			await page.getByRole('button', { name: /Ada Lovelace/ }).click()
			await page.waitForURL(`${app.origin}/orders?page=2`)
			await page.goto(`${app.origin}/token`)
			assert.equal(JSON.parse((await page.textContent('body')) ?? '').username, 'ada@contoso.example')
		} finally {
			await browser.close()
		}
	})
})
