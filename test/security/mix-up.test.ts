import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { people } from '../../dev/people.js'
import { answersOf, assertRefused, assertSignedIn, deliver } from '../support/answers.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']

/** Two tenants under one client id and one secret: their cookies have the same names and are sealed alike. */
describe('A17: one application with the brokers of two tenants', () => {
	let worlds: readonly [World, World]
	let home: Application
	let foreign: Application
	let answers: ReturnType<typeof answersOf>
	before(async () => {
		worlds = await Promise.all([
			createWorld(),
			createWorld({ tenantId: '22222222-2222-4333-8444-555555555555' }),
		])
		;[home, foreign] = await Promise.all([
			createApplication(worlds[0], { secrets }),
			createApplication(worlds[1], { secrets }),
		])
		answers = answersOf(worlds[0].standIn)
	})
	after(async () => {
		await Promise.all([home.close(), foreign.close()])
		await Promise.all(worlds.map((world) => world.close()))
	})
	afterEach(() => answers.close())

	const noCall = () =>
		assert.deepEqual(
			worlds.map(({ standIn }) => standIn.count('token')),
			[0, 0],
		)
	const begin = async (of: World, at: Application) => {
		const own = answersOf(of.standIn)
		const browser = own.browser()
		const fields = await own.answerOf(browser, at)
		for (const { standIn } of worlds) standIn.clearLog()
		return { browser, fields, close: own.close }
	}

	it('refuses at one what began at the other, with its own cookie and whatever `iss` says', async () => {
		for (const iss of ['as it came', 'absent', 'of the one that is asked'] as const) {
			const { browser, fields, close } = await begin(worlds[1], foreign)
			const { iss: came = '', ...rest } = fields
			const sent = {
				'as it came': fields,
				absent: rest,
				'of the one that is asked': { ...rest, iss: worlds[0].standIn.issuer },
			}[iss]
			const refused = await deliver(browser, home, sent)
			assertRefused(refused, 'ERR_LOGIN_REJECTED')
			noCall()
			assert.ok(came === '' || !refused.text.includes(came))
			await close()
		}
	})

	it('refuses the answer of one with the transaction of the other', async () => {
		const mine = await begin(worlds[0], home)
		const theirs = await begin(worlds[1], foreign)
		const { state = '' } = mine.fields
		for (const fields of [theirs.fields, { ...theirs.fields, state }])
			assertRefused(await deliver(mine.browser, home, fields), 'ERR_LOGIN_REJECTED')
		noCall()
		await Promise.all([mine.close(), theirs.close()])
	})

	it('signs in at each with what began there', async () => {
		for (const [world, at] of [
			[worlds[0], home],
			[worlds[1], foreign],
		] as const) {
			const { browser, fields, close } = await begin(world, at)
			assertSignedIn(await deliver(browser, at, fields))
			const token = await browser.get(`${at.origin}/token`)
			assert.equal(token.json<{ username: string }>().username, people.ada.upn)
			await close()
		}
	})
})

describe('A17: a transaction that an application keeps itself', () => {
	it('counts at the broker that began it, and at no other', async () => {
		const worlds = await Promise.all([
			createWorld(),
			createWorld({ tenantId: '22222222-2222-4333-8444-555555555555' }),
		])
		const [one, two] = await Promise.all(worlds.map((world) => createApplication(world, { secrets })))
		try {
			const { transaction } = (await two?.broker.getAuthCodeUrl()) ?? {}
			assert.equal(transaction?.issuer, worlds[1].standIn.issuer)
			const { state } = transaction
			for (const iss of [{}, { iss: worlds[0].standIn.issuer }, { iss: worlds[1].standIn.issuer }])
				await assert.rejects(
					async () => one?.broker.acquireByCode({ state, code: 'x', ...iss }, transaction),
					{ code: 'ERR_LOGIN_REJECTED' },
				)
			assert.deepEqual(
				worlds.map(({ standIn }) => standIn.count('token')),
				[0, 0],
			)
		} finally {
			await Promise.all([one?.close(), two?.close()])
			await Promise.all(worlds.map((world) => world.close()))
		}
	})

	it('A2: counts with its own state alone, however good the rest of the answer is', async () => {
		const world = await createWorld()
		const { broker, close } = await createApplication(world, { secrets })
		const answers = answersOf(world.standIn)
		try {
			const answerOf = async () => {
				const { url, transaction } = await broker.getAuthCodeUrl({ loginHint: people.ada.upn })
				const { form } = await answers.browser().follow(url)
				return { transaction, fields: form?.fields ?? {} }
			}
			const other = (await broker.getAuthCodeUrl()).transaction.state
			for (const wrong of [undefined, '', 'x', other, `${other}x`]) {
				const { transaction, fields } = await answerOf()
				assert.equal(fields.state, transaction.state)
				const { state: _, ...rest } = fields
				const answer = { ...rest, ...(wrong !== undefined && { state: wrong }) }
				await assert.rejects(broker.acquireByCode(answer, transaction), { code: 'ERR_LOGIN_REJECTED' })
			}
			assert.equal(world.standIn.count('token'), 0)
			const { transaction, fields } = await answerOf()
			assert.equal((await broker.acquireByCode(fields, transaction)).repeated, false)
		} finally {
			await answers.close()
			await close()
			await world.close()
		}
	})
})
