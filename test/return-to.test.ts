import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { returnToOf, toLocalPath } from '../src/koa/return-to.js'

const origin = 'https://app.example'

/** What tempts a parser of addresses: separators, dots, their encodings, what browsers skip, other origins. */
const piece = fc.oneof(
	fc.constantFrom(
		'/',
		'//',
		'\\',
		'.',
		'..',
		'/./',
		'/../',
		'%2e',
		'%2E%2e',
		'%2F',
		'%2f',
		'%5C',
		'%00',
		'%',
	),
	fc.constantFrom('\t', '\n', '\r', '\0', ' ', '\u00a0', '\u2028', '\ufeff', '／', '．', '\ud800'),
	fc.constantFrom('@', ':', ':80', '?', '#', '&', '=', ';', '[', ']', '"', '<', '>', "'", '`', '|'),
	fc.constantFrom('evil.example', 'http:', 'https://evil.example', 'javascript:alert(1)', 'data:', 'user:pw'),
	fc.string({ maxLength: 5 }),
	fc.string({ unit: 'grapheme', maxLength: 5 }),
)
const temptation = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
const addresses = fc.oneof(
	temptation,
	temptation.map((text) => `/${text}`),
)

/** The one thing that matters: a browser that is sent there stays here. */
function assertLocal(path: string): void {
	assert.match(path, /^\/(?![/\\])[\x21-\x7e]*$/, 'an absolute path, safe in a header')
	assert.equal(new URL(path, origin).origin, origin)
	assert.equal(new URL(path, origin).href, origin + path, 'nothing is left to be resolved')
	assert.ok(path.length <= 1024, `${path.length} characters fit into a cookie`)
}

describe('toLocalPath', () => {
	it('never leads to another origin, whatever it is given', () => {
		fc.assert(
			fc.property(addresses, (address) => assertLocal(toLocalPath(address))),
			{ numRuns: 10_000 },
		)
	})

	it('leaves alone what it has made', () => {
		fc.assert(
			fc.property(addresses, (address) => {
				const path = toLocalPath(address)
				assert.equal(toLocalPath(path), path)
			}),
			{ numRuns: 2_000 },
		)
	})

	it('keeps a local path with its query and fragment', () => {
		for (const path of [
			'/',
			'/orders?page=2',
			'/a/b/?q=a%2Fb&x=//y#part',
			'/~me/@home:1',
			'/%2F%2Fevil.example',
		])
			assert.equal(toLocalPath(path), path)
	})

	it('resolves dots and encodes what a header cannot carry, as a browser does', () => {
		assert.equal(toLocalPath('/a/../b/./c'), '/b/c')
		assert.equal(toLocalPath('/grüße?größe=ü'), '/gr%C3%BC%C3%9Fe?gr%C3%B6%C3%9Fe=%C3%BC')
	})

	it('drops every address of another origin', () => {
		const foreign = [
			...['//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example', '\\/evil.example'],
			...['/.//evil.example', '/..//evil.example', '/a/..//evil.example', '/%2e//evil.example', '/.\\/evil'],
			...['/\t/evil.example', '/\n/evil.example', '/\r/evil.example', '\t//evil.example', ' //evil.example'],
			...[
				'https://evil.example/',
				'http:evil.example',
				'javascript:alert(1)',
				'data:text/html,x',
				'evil.example',
			],
			...['', ' ', '?next=//evil.example', '#', '@evil.example', undefined],
		]
		for (const address of foreign) assert.equal(toLocalPath(address), '/', JSON.stringify(address))
	})

	it('drops what is too long for a cookie, also when only its encoding is', () => {
		assert.equal(toLocalPath(`/${'a'.repeat(1023)}`).length, 1024)
		assert.equal(toLocalPath(`/${'a'.repeat(1024)}`), '/')
		assert.equal(toLocalPath(`/${'€'.repeat(1000)}`), '/')
	})
})

describe('returnToOf', () => {
	const leadsTo = (url: string) => {
		const [, path = '', search = ''] = /^([^?]*)(.*)$/s.exec(url) ?? []
		return returnToOf({ path, search: search === '?' ? '' : search }, '/user/login')
	}

	it('reads the path behind the route, plain or percent-encoded', () => {
		assert.equal(leadsTo('/user/login/orders?page=2'), '/orders?page=2')
		assert.equal(leadsTo('/user/login/%2Forders%3Fpage%3D2'), '/orders?page=2')
		assert.equal(leadsTo('/user/login/%2forders%3Fname%3Dgr%25C3%25BCn'), '/orders?name=gr%C3%BCn')
		for (const none of ['/user/login', '/user/login/', '/user/login?next=/orders', '/user/login/%2F'])
			assert.equal(leadsTo(none), '/', none)
	})

	it('never leads to another origin, whatever follows the route', () => {
		for (const rest of [
			'//evil.example',
			'/%2F%2Fevil.example',
			'/%2F%5Cevil.example',
			'/%2f.%2f%2Fevil.example',
		])
			assert.equal(leadsTo(`/user/login${rest}`), '/', rest)
		for (const rest of [
			'/%2F%09/evil.example',
			'/%2F%0A%2Fevil.example',
			'/%2F%zz',
			'/\\evil.example',
			'/%2F%E0',
		])
			assert.equal(leadsTo(`/user/login${rest}`), '/', rest)
		fc.assert(
			fc.property(temptation, fc.boolean(), (text, encoded) => {
				// A lone surrogate has no encoding, and none can be in a request.
				const rest = encoded ? encodeURIComponent(text.replace(/\p{Surrogate}/gu, '')) : text
				assertLocal(leadsTo(`/user/login/${rest}`))
				assertLocal(leadsTo(`/user/login/%2F${rest}`))
			}),
			{ numRuns: 5_000 },
		)
	})

	it('decodes once: what is encoded twice stays a name', () => {
		assert.equal(leadsTo('/user/login/%2F%252F%252Fevil.example'), '/%2F%2Fevil.example')
	})
})
