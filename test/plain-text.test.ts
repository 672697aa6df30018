import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isId, isPlainText, toPlainText, toWord } from '../src/plain-text.js'
import { checkSilentRequest } from '../src/silent-request.js'

describe('texts of others', () => {
	it('are plain without controls, separators, and what turns them around', () => {
		for (const text of ['', 'Ada Lovelace', 'Łukasz Żak', '山田 太郎', 'עדה', 'a‍b', '👩🏽‍💻', '<b>'])
			assert.ok(isPlainText(text), text)
		const codes = [0, 9, 10, 13, 0x1b, 0x7f, 0x80, 0x85, 0x9b, 0x9f, 0x61c, 0x200e, 0x200f, 0x2028, 0x2029]
		for (const code of [...codes, 0x202a, 0x202e, 0x2066, 0x2069, 0xd800, 0xdfff]) {
			const character = String.fromCharCode(code)
			assert.ok(!isPlainText(`a${character}b`), code.toString(16))
			assert.equal(toPlainText(`a${character}b`, 9), 'ab', code.toString(16))
		}
	})

	it('are cut between characters, and are none when they are no text', () => {
		assert.equal(toPlainText('👩👩👩', 2), '👩👩')
		assert.equal(toPlainText(`\0${'a'.repeat(10_000_000)}`, 3), 'aaa')
		for (const none of [undefined, null, 42, {}, ['a'], '\0', ' \r\n']) assert.equal(toPlainText(none, 9), '')
	})

	it('are ids when they are of printable ASCII, and not long', () => {
		for (const id of ['a', '0d000000-0000-4000-8000-000000000001', 'x'.repeat(256)]) assert.ok(isId(id), id)
		for (const no of ['', 'x'.repeat(257), 'a\n', '\na', 'ä', 'a\x7f', 42, null, ['a']])
			assert.ok(!isId(no), String(no))
	})

	it('are error codes when they are one word', () => {
		assert.equal(toWord('invalid_grant'), 'invalid_grant')
		assert.equal(toWord(50173), '50173')
		for (const no of ['', 'a b', 'a\n', '<b>', 'x'.repeat(65), {}, null, Number.NaN.toString().repeat(30)])
			assert.equal(toWord(no), undefined, String(no))
	})

	it('C6: are correlation ids of a request when they are printable ASCII', () => {
		for (const correlationId of ['a', 'trace 1/2', 'x'.repeat(256)])
			assert.deepEqual(checkSilentRequest({ correlationId }), { correlationId })
		assert.deepEqual(checkSilentRequest({ correlationId: '' }), {})
		for (const correlationId of ['a\r\nX-Evil: 1', '\x1b[2J', 'x'.repeat(257), 'ä', '\0', 42, {}, null])
			assert.throws(() => checkSilentRequest({ correlationId }), { code: 'ERR_BAD_REQUEST' })
	})
})
