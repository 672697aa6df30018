import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, beforeEach, describe, test } from 'node:test'
import { Agent, fetch, type Response } from 'undici'
import { GRAPH } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn } from '../../dev/entra-stand-in.js'
import { createGraphStub, type GraphStub } from '../../dev/graph-stub.js'
import { type Person, people, userNameOf } from '../../dev/people.js'
import { drawPhoto } from '../../dev/photo.js'
import { createClient, signIn } from './support/msal.js'

interface GraphError {
	readonly error: { readonly code: string; readonly message: string }
}

describe('the Graph stub', () => {
	let standIn: EntraStandIn
	let graph: GraphStub
	let dispatcher: Agent
	before(async () => {
		standIn = await createEntraStandIn({ autoLogin: true })
		graph = await createGraphStub({ standIn })
		dispatcher = new Agent({ connect: { ca: standIn.ca } })
	})
	after(async () => {
		await dispatcher.destroy()
		await Promise.all([graph.close(), standIn.close()])
	})
	beforeEach(() => {
		graph.clearLog()
		graph.clearFaults()
	})

	async function tokenOf(person: Person, scopes = ['User.Read']): Promise<string> {
		const attempt = await signIn(createClient(standIn), standIn, { loginHint: userNameOf(person), scopes })
		return (await attempt.redeem()).accessToken
	}
	function ask(
		path: string,
		token?: string,
		headers: Record<string, string> = {},
		method = 'GET',
	): Promise<Response> {
		const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
		return fetch(`${graph.origin}/v1.0${path}`, {
			method,
			dispatcher,
			headers: { ...authorization, ...headers },
		})
	}
	async function problem(path: string, token?: string): Promise<[number, string]> {
		const response = await ask(path, token)
		return [response.status, ((await response.json()) as GraphError).error.code]
	}

	test('describes the person whose token it is', async () => {
		const me = (await (await ask('/me', await tokenOf(people.ada))).json()) as Record<string, unknown>
		assert.equal(me.id, people.ada.oid)
		assert.equal(me.mail, people.ada.upn)
		const alan = (await (await ask('/me', await tokenOf(people.alan))).json()) as Record<string, unknown>
		assert.equal(alan.mail, null)
		const emmy = (await (await ask('/me', await tokenOf(people.emmy))).json()) as Record<string, unknown>
		assert.equal(emmy.userPrincipalName, people.emmy.upn)
		assert.equal(emmy.mail, people.emmy.mail)
	})

	test('refuses a missing, a foreign and an unsigned token', async () => {
		const bad: [number, string] = [401, 'InvalidAuthenticationToken']
		assert.deepEqual(await problem('/me'), bad)
		const app = createClient(standIn)
		const { idToken } = await (await signIn(app, standIn)).redeem()
		assert.deepEqual(await problem('/me', idToken), bad)
		const claims = {
			iss: standIn.issuer,
			aud: '00000003-0000-0000-c000-000000000000',
			scp: 'User.Read',
			exp: 4e9,
		}
		const forged = { ...claims, oid: people.ada.oid }
		assert.equal((await ask('/me', await standIn.signIdToken(forged))).status, 200)
		assert.deepEqual(await problem('/me', await standIn.signIdToken(forged, { key: 'foreign' })), bad)
		assert.deepEqual(await problem('/me', await standIn.signIdToken(forged, { key: 'none' })), bad)
		assert.deepEqual(await problem('/me', await standIn.signIdToken({ ...forged, exp: 1e9 })), bad)
	})

	test('shows a manager only to those who may read everybody, and 404 where there is none', async () => {
		assert.deepEqual(await problem('/me/manager', await tokenOf(people.ada)), [
			403,
			'Authorization_RequestDenied',
		])
		const scopes = ['User.Read', 'User.Read.All']
		const manager = await ask('/me/manager', await tokenOf(people.ada, scopes))
		assert.equal(((await manager.json()) as { id: string }).id, people.charles.oid)
		const alan = await tokenOf(people.alan, scopes)
		assert.deepEqual(await problem('/me/manager', alan), [404, 'Request_ResourceNotFound'])
	})

	test('has a photo of its own for everybody who has one, with an ETag', async () => {
		const token = await tokenOf(people.ada)
		const photo = await ask('/me/photo/$value', token)
		assert.equal(photo.headers.get('content-type'), 'image/png')
		const png = Buffer.from(await photo.arrayBuffer())
		assert.ok(png.readUInt32BE(16) >= 96 && png.readUInt32BE(20) >= 96)
		assert.notDeepEqual(png, drawPhoto(people.charles.oid))
		const etag = photo.headers.get('etag') ?? ''
		assert.equal((await ask('/me/photo/$value', token, { 'if-none-match': etag })).status, 304)
		assert.deepEqual(await problem('/me/photo/$value', await tokenOf(people.alan)), [404, 'ImageNotFound'])
	})

	test('lists everybody to an application that may read everybody', async () => {
		const app = createClient(standIn)
		const result = await app.acquireTokenByClientCredential({ scopes: [`${GRAPH}/.default`] })
		const token = result?.accessToken ?? ''
		const { value } = (await (await ask('/users', token)).json()) as { value: unknown[] }
		assert.equal(value.length, Object.keys(people).length)
		assert.deepEqual(await problem('/me', token), [400, 'BadRequest'])
	})

	test('answers what a group overage asks', async () => {
		const response = await ask('/me/getMemberObjects', await tokenOf(people.radia), {}, 'POST')
		assert.equal(((await response.json()) as { value: unknown[] }).value.length, 250)
	})

	test('lists groups and roles page by page, no more than a hundred on one', async () => {
		const token = await tokenOf(people.radia)
		const counts: number[] = []
		let path = '/me/transitiveMemberOf?$select=id&$top=999'
		for (let next: string | undefined = path; next !== undefined; ) {
			const page = (await (await ask(path, token)).json()) as { value: unknown[]; '@odata.nextLink'?: string }
			counts.push(page.value.length)
			next = page['@odata.nextLink']
			path = next?.replace(`${graph.origin}/v1.0`, '') ?? ''
		}
		assert.deepEqual(counts, [100, 100, 50])
		const { value } = (await (await ask('/me/transitiveMemberOf', await tokenOf(people.grace))).json()) as {
			value: { '@odata.type': string }[]
		}
		assert.deepEqual(
			value.map((member) => member['@odata.type'].replace('#microsoft.graph.', '')),
			['directoryRole', 'directoryRole', 'group', 'group'],
		)
	})

	test('answers no more than the fields that are selected', async () => {
		const me = (await (await ask('/me?$select=id,mail', await tokenOf(people.ada))).json()) as object
		assert.deepEqual(Object.keys(me).sort(), ['@odata.context', 'id', 'mail'])
	})

	test('throttles once when told to, with Retry-After', async () => {
		const token = await tokenOf(people.ada)
		graph.inject({ path: '/v1.0/me', status: 429, retryAfter: 7 })
		const throttled = await ask('/me', token)
		assert.equal(throttled.status, 429)
		assert.equal(throttled.headers.get('retry-after'), '7')
		assert.equal((await ask('/me', token)).status, 200)
		graph.inject({ path: '/v1.0/me', drop: true })
		await assert.rejects(ask('/me', token))
	})

	test('challenges a token until it has the authentication context', async () => {
		const app = createClient(standIn)
		const { account, accessToken } = await (await signIn(app, standIn)).redeem()
		const claims = { access_token: { acrs: { essential: true, value: 'c1' } } }
		graph.inject({ path: '/v1.0/me', claims, satisfiedByAcrs: 'c1', times: 10 })
		const challenged = await ask('/me', accessToken)
		assert.equal(challenged.status, 401)
		const header = challenged.headers.get('www-authenticate') ?? ''
		assert.match(header, /error="insufficient_claims"/)
		const [, encoded = ''] = /claims="([^"]+)"/.exec(header) ?? []
		const asked = Buffer.from(encoded, 'base64').toString()
		assert.deepEqual(JSON.parse(asked), claims)
		const stepped = await app.acquireTokenSilent({
			account: account as never,
			scopes: ['User.Read'],
			claims: asked,
		})
		assert.equal((await ask('/me', stepped.accessToken)).status, 200)
	})

	test('remembers of a token no more than its fingerprint', async () => {
		const token = await tokenOf(people.ada)
		await ask('/me', token)
		await ask('/me')
		const [first, second] = graph.log
		const fingerprint = createHash('sha256').update(`Bearer ${token}`).digest('hex').slice(0, 12)
		assert.equal(first?.authorization, fingerprint)
		assert.equal(first?.host, new URL(graph.origin).host)
		assert.equal(second?.authorization, undefined)
		assert.ok(!JSON.stringify(graph.log).includes(token.slice(-12)))
		assert.equal(graph.count('/v1.0/me'), 2)
	})
})
