import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { TokenCredential } from '@azure/core-auth'
import { Client, GraphError } from '@microsoft/microsoft-graph-client'
import { TokenCredentialAuthenticationProvider } from '@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials/index.js'
import { Agent } from 'undici'
import { GRAPH } from '../dev/directory.js'
import { BrokerError, type SessionCredential } from '../src/index.js'
import { fingerprintOf } from './support/api-stub.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'

const secrets = ['a test secret of more than 32 bytes: 0123456789']
const scope = `${GRAPH}/.default`

const code = (expected: string) => (error: unknown) => error instanceof BrokerError && error.code === expected

describe('the credential of a session (GraphClient)', () => {
	let world: World
	let app: Application
	let credential: SessionCredential
	before(async () => {
		world = await createWorld()
		app = await createApplication(world, { secrets })
		await app.signIn(app.browser())
		credential = app.broker.credential(app.seen.session)
	})
	after(async () => {
		await app.close()
		await world.close()
	})
	afterEach(() => {
		world.graph.clearFaults()
		world.graph.clearLog()
		world.standIn.clearFaults()
		world.standIn.clearLog()
	})

	it('is one of the Azure SDK’s', async () => {
		const azure: TokenCredential = credential
		const token = await azure.getToken([scope])
		assert.equal(token?.tokenType, 'Bearer')
		const held = await app.broker.acquireSilent(app.seen.session, { scopes: [scope] })
		assert.deepEqual(token, {
			token: held.accessToken,
			expiresOnTimestamp: held.expiresOn.getTime(),
			refreshAfterTimestamp: held.refreshOn.getTime(),
			tokenType: 'Bearer',
		})
		assert.ok(held.refreshOn < held.expiresOn && held.expiresOn.getTime() > Date.now())
	})

	it('is answered from memory the second time, for one scope as for a list of them', async () => {
		const first = await credential.getToken(scope)
		const { tasks } = app.broker.statistics
		assert.deepEqual(await credential.getToken([scope]), first)
		assert.deepEqual(await credential.getToken(`${GRAPH}/User.Read`), first)
		assert.equal(app.broker.statistics.tasks, tasks)
	})

	it('asks the provider when the API has challenged for claims', async () => {
		const before = await credential.getToken(scope)
		const claims = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c1' } } })
		const after = await credential.getToken(scope, { claims, enableCae: true })
		assert.notEqual(after.token, before.token)
		assert.equal(world.standIn.count('token', 'refresh_token'), 1)
	})

	it('takes a scope of Graph’s by either of its names, from memory and from the store', async () => {
		const names = ['User.Read', `${GRAPH}/User.Read`]
		const [short, full] = await Promise.all(names.map((name) => credential.getToken(name)))
		assert.deepEqual(full, short)
		const session = app.seen.session
		for (const name of names) {
			const token = await app.broker.acquireSilent(session, { scopes: [name], forceRefresh: true })
			for (const other of names)
				assert.equal(
					(await app.broker.acquireSilent(session, { scopes: [other] })).accessToken,
					token.accessToken,
				)
		}
		assert.equal(world.standIn.count('token'), 2)
	})

	it('refuses another tenant than the person’s, before anything else', async () => {
		const { tenantId } = world.standIn
		assert.ok(await credential.getToken(scope, { tenantId }))
		assert.ok(await credential.getToken(scope, { tenantId: tenantId.toUpperCase() }))
		const { tasks } = app.broker.statistics
		for (const foreign of ['77777777-8888-4999-aaaa-bbbbbbbbbbbb', 'common', 'contoso.example', ''])
			await assert.rejects(
				credential.getToken('User.Read.All', { tenantId: foreign }),
				code('ERR_FORBIDDEN_TARGET'),
			)
		assert.equal(app.broker.statistics.tasks, tasks)
	})

	it('is nobody’s without a sign-in', async () => {
		await assert.rejects(app.broker.credential({}).getToken(scope), code('ERR_SIGNED_OUT'))
	})

	it('stops waiting when a signal says so, the Azure SDK’s own too', async () => {
		for (const [i, signal] of [new AbortController(), lookalike()].entries()) {
			const claims = JSON.stringify({ access_token: { nbf: { essential: true, value: `170000000${i}` } } })
			world.standIn.inject({ delayMs: 200 })
			const waiting = credential.getToken(scope, { claims, abortSignal: signal.signal })
			signal.abort()
			await assert.rejects(waiting, { name: 'AbortError' })
			// The work goes on, and what it brings is held.
			await credential.getToken(scope, { claims })
		}
		const aborted = { ...lookalike().signal, aborted: true }
		await assert.rejects(credential.getToken(scope, { abortSignal: aborted }), { name: 'AbortError' })
	})

	describe('given to the Microsoft Graph client', () => {
		let dispatcher: Agent
		let graph: Client
		before(() => {
			// Only so that it trusts the stub's certificate.
			dispatcher = new Agent({ connect: { ca: world.standIn.ca } })
			const stub = new URL(world.graph.origin)
			graph = Client.initWithMiddleware({
				baseUrl: `${stub.origin}/`,
				customHosts: new Set([stub.hostname]),
				authProvider: new TokenCredentialAuthenticationProvider(credential, { scopes: [scope] }),
				fetchOptions: { dispatcher } as object,
			})
		})
		after(() => dispatcher.destroy())

		it('reads the person’s profile', async () => {
			const me = await graph.api('/me').get()
			assert.equal(me.displayName, 'Ada Lovelace')
			assert.equal(
				world.graph.log[0]?.authorization,
				fingerprintOf({ accessToken: (await credential.getToken(scope)).token }),
			)
		})

		it('reads their photo as a stream, and their groups', async () => {
			const photo: ReadableStream = await graph.api('/me/photo/$value').getStream()
			let size = 0
			for await (const chunk of photo) size += chunk.length
			assert.ok(size > 100)
			const groups = await graph.api('/me/getMemberObjects').post({ securityEnabledOnly: true })
			assert.ok(Array.isArray(groups.value))
		})

		it('is told what Graph refuses, in Graph’s words', async () => {
			await assert.rejects(graph.api('/users').get(), (error: unknown) => {
				assert.ok(error instanceof GraphError)
				assert.equal(error.statusCode, 403)
				return true
			})
		})

		it('passes the errors of the broker through', async () => {
			const nobody = Client.initWithMiddleware({
				authProvider: new TokenCredentialAuthenticationProvider(app.broker.credential({}), {
					scopes: [scope],
				}),
			})
			await assert.rejects(nobody.api('/me').get(), /Nobody is signed in/)
		})
	})
})

/** A signal that the platform did not make. */
function lookalike() {
	const listeners = new Set<() => void>()
	return {
		signal: {
			aborted: false,
			addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
			removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
		},
		abort: () => {
			for (const listener of listeners) listener()
		},
	}
}
