import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'
import { people } from '../dev/people.js'
import { BrokerError, type Graph } from '../src/index.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const groupsPath = '/v1.0/me/transitiveMemberOf'

describe('what Microsoft Graph says of a person (get_user_info, get_manager_info, retry)', () => {
	let world: World
	let app: Application
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, { secrets })
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	afterEach(() => world.graph.clearFaults())

	/** Somebody's own view of Graph. */
	async function graphOf(name: string, at = app): Promise<Graph> {
		assert.equal((await at.signIn(at.browser(), name)).status, 200)
		const session = at.seen.session
		world.graph.clearLog()
		return at.broker.forSession(session).graph
	}
	const statuses = () => world.graph.log.map(({ status }) => status)

	describe('a manager, before anybody has allowed to read everybody', () => {
		it('needs the person, for a permission that they have not given', async () => {
			const { manager } = await graphOf('Ada Lovelace')
			await assert.rejects(manager(), (error) => {
				assert.ok(error instanceof BrokerError)
				assert.equal(error.code, 'ERR_INTERACTION_REQUIRED')
				assert.deepEqual(error.scopes, ['User.Read', 'User.Read.All'])
				return true
			})
			assert.equal(world.graph.count(), 0)
		})

		it('is refused by Graph to a token that is not for it', async () => {
			const { manager } = await graphOf('Ada Lovelace')
			await assert.rejects(manager({ scopes: ['User.Read'] }), code('ERR_FORBIDDEN', 403))
		})
	})

	describe('the person', () => {
		it('is described by what the directory knows, and by nothing else', async () => {
			const { me } = await graphOf('Ada Lovelace')
			assert.deepEqual(await me(), {
				id: people.ada.oid,
				displayName: 'Ada Lovelace',
				givenName: 'Ada',
				surname: 'Lovelace',
				mail: people.ada.upn,
				userPrincipalName: people.ada.upn,
				jobTitle: 'Analyst',
			})
			const [{ search } = { search: '' }] = world.graph.log
			assert.equal(search, '?$select=id,displayName,givenName,surname,mail,userPrincipalName,jobTitle')
		})

		it('without a mailbox has no address, and a guest has the one from home', async () => {
			const alan = await (await graphOf('Alan Turing')).me()
			assert.deepEqual([alan.id, 'mail' in alan, 'jobTitle' in alan], [people.alan.oid, false, false])
			const emmy = await (await graphOf('Emmy Noether')).me()
			assert.deepEqual([emmy.mail, emmy.userPrincipalName], [people.emmy.mail, people.emmy.upn])
		})

		it('is asked for again when Graph wants to be left alone for a moment', async () => {
			const { me } = await graphOf('Ada Lovelace')
			world.graph.inject({ status: 429, retryAfter: 1 })
			assert.equal((await me()).id, people.ada.oid)
			assert.deepEqual(statuses(), [429, 200])
		})

		it('is not asked for again when Graph fails for a reason of its own', async () => {
			const { me } = await graphOf('Ada Lovelace')
			for (const [fault, expected, status] of [
				[{ status: 400 }, 'ERR_DOWNSTREAM_PROTOCOL', 502],
				[{ status: 401 }, 'ERR_INTERACTION_REQUIRED', 401],
				[{ status: 403 }, 'ERR_FORBIDDEN', 403],
				[{ status: 404 }, 'ERR_NOT_FOUND', 404],
				[{ status: 500 }, 'ERR_DOWNSTREAM_UNAVAILABLE', 503],
				[{ drop: true }, 'ERR_DOWNSTREAM_UNAVAILABLE', 503],
				[{ halfBody: true }, 'ERR_DOWNSTREAM_UNAVAILABLE', 503],
			] as const) {
				world.graph.clearLog()
				world.graph.inject(fault)
				await assert.rejects(me(), code(expected, status), JSON.stringify(fault))
				assert.equal(world.graph.count(), 1, JSON.stringify(fault))
			}
		})

		it('is not waited for longer than the caller says', async () => {
			const { me } = await graphOf('Ada Lovelace')
			world.graph.inject({ status: 429, retryAfter: 30 })
			await assert.rejects(me({ timeout: 1000 }), (error) => {
				assert.ok(error instanceof BrokerError)
				assert.deepEqual([error.code, error.retryAfter], ['ERR_DOWNSTREAM_UNAVAILABLE', 30])
				return true
			})
			world.graph.inject({ hang: true })
			await assert.rejects(me({ timeout: 50 }), code('ERR_DOWNSTREAM_UNAVAILABLE', 503))
			world.graph.inject({ hang: true })
			const reason = new Error('enough')
			const controller = new AbortController()
			const asked = me({ signal: controller.signal })
			controller.abort(reason)
			await assert.rejects(asked, reason)
		})

		it('is answered with a token that Graph takes, when it does not take the one that is held', async () => {
			const { me } = await graphOf('Ada Lovelace')
			const claims = { access_token: { acrs: { essential: true, value: 'c1' } } }
			world.graph.inject({ claims, satisfiedByAcrs: 'c1', times: 10 })
			assert.equal((await me()).id, people.ada.oid)
			assert.deepEqual(statuses(), [401, 200])
		})
	})

	describe('the groups', () => {
		it('are all of them, of a person who has more than a token can carry', async () => {
			const { groups } = await graphOf('Radia Perlman')
			assert.deepEqual(await groups(), people.radia.groups)
			assert.deepEqual(statuses(), [200, 200, 200])
		})

		it('are groups alone, and none is no error', async () => {
			const { groups } = await graphOf('Grace Hopper')
			assert.deepEqual(await groups(), people.grace.groups)
			assert.deepEqual(await (await graphOf('Alan Turing')).groups(), [])
		})

		it('come whole when Graph wants to be left alone in the middle, or not at all', async () => {
			const { groups } = await graphOf('Radia Perlman')
			world.graph.inject({ path: groupsPath, status: 429, retryAfter: 1, skip: 1 })
			assert.equal((await groups()).length, 250)
			assert.deepEqual(statuses(), [200, 429, 200, 200])
			world.graph.inject({ path: groupsPath, status: 500, skip: 2 })
			await assert.rejects(groups(), code('ERR_DOWNSTREAM_UNAVAILABLE', 503))
		})
	})

	describe('a manager, of somebody who may read everybody', () => {
		let allowed: Application
		before(async () => {
			allowed = await createApplication(world, { secrets, scopes: ['User.Read', 'User.Read.All'] })
		})
		after(() => allowed.close())

		it('is described as a person is', async () => {
			const { manager } = await graphOf('Ada Lovelace', allowed)
			const { id, displayName, mail } = (await manager()) ?? {}
			assert.deepEqual([id, displayName, mail], [people.charles.oid, people.charles.name, people.charles.upn])
		})

		it('is nobody for a person who has none', async () => {
			for (const name of ['Alan Turing', 'Emmy Noether', 'Charles Babbage'])
				assert.equal(await (await graphOf(name, allowed)).manager(), undefined)
		})
	})

	it('is said to nobody who is not signed in', async () => {
		world.graph.clearLog()
		const { me, manager, photo, groups } = app.broker.forSession({}).graph
		for (const ask of [me, manager, photo, groups]) await assert.rejects(ask(), code('ERR_SIGNED_OUT', 401))
		assert.equal(world.graph.count(), 0)
	})

	it('of a photo is undefined where there is none', async () => {
		assert.equal(await (await graphOf('Alan Turing')).photo(), undefined)
		const photo = await (await graphOf('Ada Lovelace')).photo()
		photo?.body.destroy()
		assert.equal(photo?.type, 'image/png')
		assert.ok(Number(photo.length) > 100)
	})

	describe('when something else answers', () => {
		let server: Server
		let respond: (response: ServerResponse, path: string) => void
		let odd: Application
		let asked: string[] = []
		before(async () => {
			server = createServer(world.standIn.tls, (request, response) => {
				asked.push(request.url ?? '')
				respond(response, request.url ?? '')
			})
			await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
			const endpoint = `https://localhost:${(server.address() as AddressInfo).port}/v1.0`
			const downstream = { allowedHosts: ['evil.example'] }
			odd = await createApplication(world, { secrets, graph: { endpoint }, downstream })
		})
		after(async () => {
			await odd.close()
			server.closeAllConnections()
			await new Promise((resolve) => server.close(resolve))
		})

		for (const body of ['', '<html>', 'null', '[]', '"id"', '{}', '{"id":5}'])
			it(`describes nobody by it: ${body || 'nothing'}`, async () => {
				const { me } = await graphOf('Ada Lovelace', odd)
				respond = (response) => response.end(body)
				await assert.rejects(me(), code('ERR_DOWNSTREAM_PROTOCOL', 502))
			})

		it('keeps of a person only fields that are texts', async () => {
			const { me } = await graphOf('Ada Lovelace', odd)
			respond = (response) => response.end('{"id":"1","mail":null,"surname":{"a":1},"jobTitle":"","x":"y"}')
			assert.deepEqual(await me(), { id: '1' })
		})

		it('reads no more than a person can have', async () => {
			const { me } = await graphOf('Ada Lovelace', odd)
			respond = (response) => response.end(JSON.stringify({ id: 'x'.repeat(2 * 1024 * 1024) }))
			await assert.rejects(me(), code('ERR_DOWNSTREAM_PROTOCOL', 502))
		})

		const group = { '@odata.type': '#microsoft.graph.group', id: 'g' }
		for (const [what, answer] of Object.entries({
			'no list': { value: 'g' },
			'nobody’s groups': {},
			'a group without an id': { value: [{ ...group, id: 1 }] },
			'a page on another host, though an allowed one': {
				value: [group],
				'@odata.nextLink': 'https://evil.example/v1.0/me',
			},
			'a page over plain http': { value: [group], '@odata.nextLink': 'http://localhost/v1.0/me' },
			'a page that is no address': { value: [group], '@odata.nextLink': 'next' },
		}))
			it(`takes no groups from it: ${what}`, async () => {
				const { groups } = await graphOf('Ada Lovelace', odd)
				asked = []
				respond = (response) => response.end(JSON.stringify(answer))
				await assert.rejects(groups(), code('ERR_DOWNSTREAM_PROTOCOL', 502))
				assert.equal(asked.length, 1)
			})

		it('does not follow pages without end', async () => {
			const { groups } = await graphOf('Ada Lovelace', odd)
			asked = []
			const next = `https://localhost:${(server.address() as AddressInfo).port}${groupsPath}`
			respond = (response) => response.end(JSON.stringify({ value: [group], '@odata.nextLink': next }))
			await assert.rejects(groups(), code('ERR_DOWNSTREAM_PROTOCOL', 502))
			assert.equal(asked.length, 100)
		})
	})
})

function code(expected: string, status: number) {
	return (error: unknown) => {
		assert.ok(error instanceof BrokerError, String(error))
		assert.deepEqual([error.code, error.status], [expected, status])
		assert.ok(!/eyJ|Bearer/.test(error.message), error.message)
		return true
	}
}
