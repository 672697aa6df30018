import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { canonicalScope } from '../src/canonical-scope.js'

describe('canonicalScope', () => {
	it('has one form for all names of one scope', () => {
		for (const name of [
			'Mail.Read',
			'mail.read',
			'https://graph.microsoft.com/Mail.Read',
			'HTTPS://Graph.Microsoft.com/mail.read',
			'https://graph.microsoft.us/Mail.Read',
			'https://dod-graph.microsoft.us/Mail.Read',
			'https://microsoftgraph.chinacloudapi.cn/Mail.Read',
			'00000003-0000-0000-C000-000000000000/Mail.Read',
		])
			assert.equal(canonicalScope(name), 'mail.read')
		assert.equal(canonicalScope('https://graph.microsoft.com/.default'), '.default')
	})

	for (const scope of [
		'api://one/mail.read',
		'https://graph.microsoft.com.evil.example/mail.read',
		'https://graph.microsoft.example/mail.read',
		'https://graph-microsoft.com/mail.read',
		'https://dod-graph.microsoft.com/mail.read',
		'http://graph.microsoft.com/mail.read',
		'https://graph.microsoft.com/',
		'https://graph.microsoft.com//mail.read',
		'https://graph.microsoft.com/api://one/read',
		'https://evil.example/https://graph.microsoft.com/mail.read',
	])
		it(`takes nothing away from ${scope}`, () => assert.equal(canonicalScope(scope), scope))
})
