import assert from 'node:assert/strict'
import fc from 'fast-check'
import { returnToOf, toBrowserPath, toLocalPath } from '../../src/koa/return-to.js'
import type { Target } from './fuzz.js'
import { oddValues, temptingText } from './odd.js'

interface Input {
	readonly text: string
	readonly value: unknown
	readonly way: 'function' | 'address' | 'encoded address' | 'startSignIn'
}

const origins = ['https://app.example', 'http://localhost:3000', 'https://app.example:8443']

/** A browser that is sent there stays where it is, and the header that sends it has one line. */
function assertLocal(path: string): void {
	assert.match(path, /^\/(?![/\\])[\x21-\x7e]*$/)
	for (const origin of origins) {
		assert.equal(new URL(path, origin).origin, origin)
		assert.equal(new URL(path, `${origin}/user/authorized`).href, origin + path)
	}
	assert.ok(path.length <= 1024)
}

/** Where to go after a sign-in: what the functions make of it, and what the running application remembers. */
export const returnTo: Target<Input> = async (world) => {
	const app = await world.application()
	/** What was put into the cookie that goes with a redirect to the provider. */
	const remembered = (lines: readonly string[]): string | undefined => {
		for (const line of lines) {
			const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
			if (!name.startsWith(app.transactionCookie) || value === '') continue
			const opened = app.sealer.open('transaction', name, value)
			assert.ok(opened.ok)
			return (JSON.parse(opened.plaintext) as { returnTo: string }).returnTo
		}
		return undefined
	}
	const overHttp = async (path: string): Promise<string> => {
		const answer = await app.get(path)
		// Node’s own parser ends a connection that brings no HTTP.
		if (!answer || answer.status === 400) return 'no HTTP'
		// A request line that leads to another route of the application.
		if (answer.status === 404 || answer.status === 200) return 'another route'
		assert.equal(answer.status, 303, `${path} → ${answer.status}`)
		const place = remembered(answer.headers.get('set-cookie') ?? [])
		assert.ok(place !== undefined)
		assertLocal(place)
		return place === '/' ? 'the front page' : 'a local path'
	}
	return {
		inputs: fc.record({
			text: fc.oneof(
				temptingText,
				temptingText.map((text) => `/${text}`),
			),
			value: fc.oneof(oddValues, temptingText),
			way: fc.oneof(
				{ weight: 5, arbitrary: fc.constant('function' as const) },
				{
					weight: 1,
					arbitrary: fc.constantFrom('address' as const, 'encoded address' as const, 'startSignIn' as const),
				},
			),
		}),
		reaches: ['the front page', 'a local path'],
		async attempt({ text, value, way }) {
			if (way === 'function') {
				const path = toLocalPath(text)
				assertLocal(path)
				assert.equal(toLocalPath(path), path)
				for (const base of ['', '/app', '/a/b']) assertLocal(toBrowserPath(base, text))
				for (const encoded of [text, `/${text}`, `/%2F${text}`]) {
					const [before = '', ...after] = `/user/login${encoded}`.split('?')
					const search = after.length > 0 ? `?${after.join('?')}` : ''
					assertLocal(returnToOf({ path: before, search }, '/user/login'))
				}
				return path === '/' ? 'the front page' : 'a local path'
			}
			if (way === 'startSignIn') {
				app.returnTo = value
				return overHttp('/start')
			}
			// A request line ends with its line; a byte is a byte.
			const line = Buffer.from(text.replace(/[\r\n ]/g, '')).toString('latin1')
			return overHttp(
				`/user/login/${way === 'address' ? line : encodeURIComponent(text.replace(/\p{Surrogate}/gu, ''))}`,
			)
		},
	}
}
