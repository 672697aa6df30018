import assert from 'node:assert/strict'
import { request as httpsRequest } from 'node:https'
import { after, before, beforeEach, describe, test } from 'node:test'
import { decodeJwt } from 'jose'
import { Agent, fetch } from 'undici'
import { clientIds, clientSecrets, GRAPH } from '../../dev/directory.js'
import { createEntraStandIn, type EntraStandIn, type Fault } from '../../dev/entra-stand-in.js'

describe('faults at the token endpoint', () => {
	let standIn: EntraStandIn
	let dispatcher: Agent
	before(async () => {
		standIn = await createEntraStandIn()
		dispatcher = new Agent({ connect: { ca: standIn.ca } })
	})
	after(async () => {
		await dispatcher.destroy()
		await standIn.close()
	})
	beforeEach(() => {
		standIn.clearLog()
		standIn.clearFaults()
	})

	const post = (grant_type = 'client_credentials') =>
		fetch(`${standIn.authority}/oauth2/v2.0/token`, {
			method: 'POST',
			dispatcher,
			body: new URLSearchParams({
				grant_type,
				client_id: clientIds.web,
				client_secret: clientSecrets.web,
				scope: `${GRAPH}/.default`,
			}),
		})

	async function request(grant_type?: string) {
		const response = await post(grant_type)
		const { status, headers } = response
		const text = await response.text()
		return { status, headers, text, json: <T>() => JSON.parse(text) as T }
	}
	const requestWith = (...faults: Fault[]) => {
		standIn.inject(...faults)
		return request()
	}

	test('answer with an error of Entra, and then no more', async () => {
		const claims = '{"access_token":{}}'
		const error = { error: 'interaction_required', code: 50076, suberror: 'basic_action', claims }
		const refused = await requestWith({ error })
		assert.equal(refused.status, 400)
		const body = refused.json<Record<string, unknown>>()
		assert.match(String(body.error_description), /^AADSTS50076: /)
		assert.equal(body.suberror, 'basic_action')
		assert.equal(body.claims, claims)
		assert.equal((await request()).status, 200)
	})

	test('answer with any status, header and body', async () => {
		const throttled = await requestWith({ status: 429, headers: { 'retry-after': '3' } })
		assert.equal(throttled.status, 429)
		assert.equal(throttled.headers.get('retry-after'), '3')
		const html = await requestWith({ status: 502, body: '<h1>Bad gateway</h1>' })
		assert.match(html.headers.get('content-type') ?? '', /html/)
	})

	test('cut the connection before or amid the answer', async () => {
		await assert.rejects(requestWith({ drop: true }))
		await assert.rejects(requestWith({ halfBody: true }))
		assert.equal(standIn.log[0]?.status, undefined)
	})

	test('cut the connection amid a good answer, whose request is done', async () => {
		for (const cutAfter of [0, 0.5]) {
			standIn.clearLog()
			let granted = ''
			let received = 0
			standIn.inject({
				cutAfter,
				rewrite: (answer) => {
					granted = JSON.stringify(answer)
					return answer
				},
			})
			await assert.rejects(async () => {
				for await (const chunk of (await post()).body ?? []) received += chunk.length
			})
			assert.ok(granted.includes('access_token'))
			assert.equal(received, Math.floor(cutAfter * granted.length))
			const [{ passed, status } = assert.fail('nothing logged')] = standIn.log
			assert.deepEqual({ passed, status }, { passed: true, status: undefined })
		}
	})

	test('delay an answer, which then is a good one', async () => {
		const delayed = await requestWith({ delayMs: 60 })
		assert.equal(delayed.status, 200)
		assert.ok((standIn.log[0]?.ms ?? 0) >= 59, `${standIn.log[0]?.ms}`)
	})

	test('leave a request unanswered', async () => {
		const hanging = requestWith({ hang: true })
		const first = await Promise.race([hanging, request().then(() => 'the next one')])
		assert.equal(first, 'the next one')
		hanging.catch(() => {})
	})

	test('begin an answer and never end it', async () => {
		standIn.inject({ stall: true })
		const url = `${standIn.authority}/oauth2/v2.0/token`
		const { status, body } = await fetch(url, { method: 'POST', dispatcher })
		const reader = body?.getReader()
		assert.equal(status, 200)
		assert.ok((await reader?.read())?.value?.length)
		const first = await Promise.race([reader?.read(), request().then(() => 'the next one')])
		assert.equal(first, 'the next one')
		await reader?.cancel()
	})

	test('answer byte by byte', async () => {
		standIn.inject({ drip: true })
		const { body } = await post()
		const reader = body?.getReader()
		for (let reads = 0; reads < 3; reads++) assert.ok((await reader?.read())?.value?.length)
		await reader?.cancel()
	})

	test('strike the requests they are meant for, as often as they are told', async () => {
		standIn.inject({ grant: 'refresh_token', status: 500 }, { status: 503, skip: 1, times: 2 })
		const statuses = [await request(), await request(), await request(), await request()].map(
			({ status }) => status,
		)
		assert.deepEqual(statuses, [200, 503, 503, 200])
		assert.equal((await request('refresh_token')).status, 500)
	})

	test('rewrite a good answer, also with forged tokens', async () => {
		const claims = { iss: 'https://evil.example', aud: 'me' }
		const rewritten = await requestWith({
			rewrite: async (answer) => ({
				...answer,
				id_token: await standIn.signIdToken(claims, { key: 'foreign' }),
			}),
		})
		const { id_token, access_token } = rewritten.json<{ id_token: string; access_token: string }>()
		assert.deepEqual(decodeJwt(id_token), claims)
		assert.ok(access_token)
		const unsigned = await standIn.signIdToken(claims, { key: 'none' })
		assert.match(unsigned, /\.$/)
	})

	test('are counted like any other request, by kind and grant', async () => {
		await requestWith({ status: 500 })
		await request()
		await request('refresh_token')
		assert.equal(standIn.count('token'), 3)
		assert.equal(standIn.count('token', 'client_credentials'), 2)
		const [{ kind, method, grant, status } = assert.fail('nothing logged')] = standIn.log
		assert.deepEqual(
			{ kind, method, grant, status },
			{ kind: 'token', method: 'POST', grant: 'client_credentials', status: 500 },
		)
		standIn.clearLog()
		assert.equal(standIn.count('*'), 0)
	})

	test('a client that hangs up amid its request costs nobody else anything', async () => {
		const half = httpsRequest(`${standIn.authority}/oauth2/v2.0/token`, {
			method: 'POST',
			ca: standIn.ca,
			headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': 100 },
		})
		half.on('error', () => {})
		half.write('grant_type=', () => half.destroy())
		await new Promise((resolve) => half.once('close', resolve))
		assert.equal((await request()).status, 200)
	})
})
