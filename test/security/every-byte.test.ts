import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

/** A text of base64url and dots with each character another, cut off at each, and with more behind and in front. */
function changed(text: string): string[] {
	const other = (character: string) => (character === '.' ? '-' : character === 'A' ? 'Q' : 'A')
	const each = Array.from(text, (character, i) => text.slice(0, i) + other(character) + text.slice(i + 1))
	const cut = Array.from(text, (_, i) => text.slice(0, i))
	return [
		...each,
		...cut,
		`${text}A`,
		`${text}AAAA`,
		`${text}=`,
		`${text}.`,
		`A${text}`,
		`AAAA${text}`,
		`${text}${text}`,
	]
}

describe('D2: each character of each cookie', { timeout: 120_000 }, () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
	})
	after(async () => {
		await app.close()
		await world.close()
	})

	it('D2: of the session counts: nobody is signed in with another, and nothing fails', async () => {
		const browser = app.browser()
		await app.signIn(browser)
		const header = browser.jar.headerFor(new URL(app.origin), {
			method: 'GET',
			crossSite: false,
			topLevel: true,
		})
		const [name = '', value = ''] = (/(?:__Host-)?msal-[0-9a-f]{8}=[^;]+/.exec(header)?.[0] ?? '').split('=')
		const ask = async (text: string) =>
			(await fetch(`${app.origin}/token`, { headers: { cookie: `${name}=${text}` } })).status
		assert.equal(await ask(value), 200)
		for (const text of changed(value)) assert.equal(await ask(text), 401, text)
		assert.equal(await ask(value), 200)
	})

	it('D2: of a sign-in under way counts: it is refused with another, and nothing fails', async () => {
		const begun = await fetch(`${app.origin}/user/login`, { redirect: 'manual' })
		const state = new URL(begun.headers.get('location') ?? '').searchParams.get('state') ?? ''
		const line = begun.headers.getSetCookie().find((one) => one.includes('msal-tx-')) ?? ''
		const [name = '', value = ''] = (line.split(';')[0] ?? '').split('=')
		assert.ok(value.length > 300)
		for (const text of changed(value)) {
			const { status } = await fetch(`${app.origin}/user/authorized`, {
				method: 'POST',
				redirect: 'manual',
				headers: { cookie: `${name}=${text}` },
				body: new URLSearchParams({ state, code: 'x' }),
			})
			assert.equal(status, 400, text)
		}
		assert.deepEqual(
			app.errors.filter((error) => !('status' in error) || Number(error.status) >= 500),
			[],
		)
	})
})
