import assert from 'node:assert/strict'
import { it } from 'node:test'
import { rememberGroups } from '../src/koa/groups.js'
import { gate } from './support/session-application.js'

const sessionOf = (letter: string) => ({
	msal: {
		partition: letter.repeat(43),
		account: { homeAccountId: letter, tenantId: 't', objectId: letter, username: letter },
	},
})

it('somebody’s groups are found also when those of many others take all the room meanwhile', async () => {
	const slow = gate()
	const groupsOf = rememberGroups(async (session) => {
		if (session === ada) await slow.opened
		return session === ada ? ['A'] : Array.from({ length: 60_000 }, (_, i) => `group ${i}`)
	})
	const ada = sessionOf('a')
	const asked = groupsOf(ada)
	for (const letter of ['b', 'c']) assert.equal((await groupsOf(sessionOf(letter))).size, 60_000)
	slow.open()
	assert.deepEqual([...(await asked)], ['a'])
})
