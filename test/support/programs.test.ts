import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { findProgram } from './programs.js'

describe('findProgram', () => {
	let folder: string
	const program = (name: string): string => {
		const path = join(folder, name)
		writeFileSync(path, '#!/bin/sh\n')
		chmodSync(path, 0o755)
		return path
	}
	before(() => {
		folder = mkdtempSync(join(tmpdir(), 'koa-msal-programs-'))
	})
	after(() => rmSync(folder, { recursive: true, force: true }))

	it('prefers the variable to the PATH', () => {
		const own = program('my-redis')
		program('redis-server')
		assert.equal(findProgram('redis-server', { env: { PATH: folder, REDIS_SERVER_BIN: own } }), own)
	})

	it('looks a bare name in the variable up on the PATH', () => {
		const own = program('my-chrome')
		assert.equal(findProgram('chromium', { env: { PATH: folder, CHROMIUM_BIN: 'my-chrome' } }), own)
	})

	it('refuses a variable that names nothing to run', () => {
		program('redis-server')
		const env = { PATH: folder, REDIS_SERVER_BIN: join(folder, 'absent') }
		assert.throws(() => findProgram('redis-server', { env }), /REDIS_SERVER_BIN is ".*absent"/)
	})

	it('takes the first name that the PATH has, in the order of the names', () => {
		const chrome = program('google-chrome')
		const env = { PATH: ['', join(folder, 'nowhere'), folder].join(delimiter) }
		assert.equal(findProgram('chromium', { env }), chrome)
		const chromium = program('chromium')
		assert.equal(findProgram('chromium', { env }), chromium)
	})

	it('does not take a file that cannot be run', () => {
		const empty = mkdtempSync(join(folder, 'empty-'))
		writeFileSync(join(empty, 'redis-server'), 'text', { mode: 0o644 })
		assert.equal(findProgram('redis-server', { env: { PATH: empty } }), undefined)
	})

	it('finds nothing on a machine that has nothing', () => {
		assert.equal(findProgram('redis-server', { env: {}, platform: 'linux' }), undefined)
		assert.equal(findProgram('chromium', { env: {}, platform: 'linux' }), undefined)
	})
})
