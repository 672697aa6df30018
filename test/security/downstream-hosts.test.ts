import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, beforeEach, describe, it } from 'node:test'
import { API } from '../../dev/directory.js'
import { BrokerError, type SessionHandle } from '../../src/index.js'
import { type ApiStub, createApiStub, status } from '../support/api-stub.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'

/** `{port}`: of the API that is allowed, `localhost:{port}`; `{evil}`: of one on 127.0.0.1 that is not. */
interface Corpus {
	/** By what is tried; `refused`, and `sent` to the API that is allowed, for it is its name all the same. */
	readonly refused: Readonly<Record<string, readonly string[]>>
	readonly sent: Readonly<Record<string, readonly string[]>>
	/** Where an answer leads; `followed` to the same origin. */
	readonly redirects: { readonly followed: readonly string[]; readonly handed: readonly string[] }
}

const corpus = JSON.parse(
	readFileSync(new URL('../../../test/corpora/downstream-hosts.json', import.meta.url), 'utf8'),
) as Corpus
const scopes = [`${API}/access_as_user`]

describe('addresses that are not what they seem', () => {
	let world: World
	let api: ApiStub
	/** Not among the allowed hosts. */
	let evil: ApiStub
	let app: Application
	let handle: SessionHandle
	before(async () => {
		world = await createWorld()
		;[api, evil] = await Promise.all([
			createApiStub(world.standIn.tls),
			createApiStub(world.standIn.tls, '127.0.0.1'),
		])
		app = await createApplication(world, {
			secrets: ['a test secret of more than 32 bytes: 0123456789'],
			downstream: { allowedHosts: [api.host] },
		})
		await app.signIn(app.browser())
		handle = app.broker.forSession(app.seen.session)
		await handle.acquireSilent({ scopes })
	})
	after(async () => {
		await app.close()
		await Promise.all([api.close(), evil.close()])
		await world.close()
	})
	beforeEach(() => {
		for (const stub of [api, evil]) stub.clear()
	})

	const placed = (text: string) =>
		text.replaceAll('{port}', new URL(api.origin).port).replaceAll('{evil}', new URL(evil.origin).port)

	it('are more than 300, no two the same', () => {
		const all = [corpus.refused, corpus.sent].flatMap((families) => Object.values(families).flat())
		assert.ok(all.length >= 500, `${all.length}`)
		assert.equal(new Set(all).size, all.length)
		const { followed, handed } = corpus.redirects
		assert.ok(new Set([...followed, ...handed]).size >= 60)
	})

	for (const [what, addresses] of Object.entries(corpus.refused))
		it(`are refused before a socket is opened: ${what}`, async () => {
			const { tasks } = app.broker.statistics
			for (const address of addresses)
				await assert.rejects(
					handle.get(placed(address), { scopes }),
					(error) => error instanceof BrokerError && error.code === 'ERR_FORBIDDEN_TARGET',
					JSON.stringify(address),
				)
			assert.equal(api.connections + evil.connections, 0)
			assert.equal(app.broker.statistics.tasks, tasks)
		})

	for (const [what, addresses] of Object.entries(corpus.sent))
		it(`are the API that is allowed all the same, and it alone is called: ${what}`, async () => {
			for (const address of addresses) {
				await (await handle.get(placed(address), { scopes })).text()
				assert.equal(evil.connections, 0, JSON.stringify(address))
				assert.deepEqual(
					api.calls.map(({ host }) => host),
					[api.host],
					JSON.stringify(address),
				)
				api.clear()
			}
		})

	for (const kind of ['followed', 'handed'] as const)
		it(`lead no token elsewhere, where an answer names them (${kind === 'handed' ? 'handed on' : 'same origin'})`, async () => {
			for (const location of corpus.redirects[kind])
				for (const code of [302, 307]) {
					// A header has no line break; the rest of it goes as its bytes.
					api.answer((response) => response.writeHead(code, { location: placed(location) }).end())
					const answer = await handle.get(`${api.origin}/start`, { scopes })
					await answer.text()
					assert.equal(evil.connections, 0, JSON.stringify(location))
					assert.ok(api.calls.every(({ host }) => host === api.host))
					assert.equal(api.calls.length, kind === 'followed' ? 2 : 1, `${code} ${JSON.stringify(location)}`)
					if (kind === 'handed') assert.equal(answer.status, code)
					api.clear()
				}
		})

	it('are called once more only where the answer asks for it: a call that is not repeated is handed on', async () => {
		api.answer(status(307, { location: '/elsewhere' }))
		const answer = await handle.post(`${api.origin}/start`, { scopes, body: { a: 1 } })
		assert.deepEqual([answer.status, api.calls.length], [307, 1])
	})
})
