import assert from 'node:assert/strict'
import { createPrivateKey, randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { decodeJwt, SignJWT, UnsecuredJWT } from 'jose'
import { clientIds } from '../dev/directory.js'
import { createAssertionCache } from '../src/client-assertion.js'
import { BrokerError, type ClientAssertionFunction } from '../src/index.js'
import { createApplication, createWorld, type World } from './support/application.js'

describe('a clientAssertion function', () => {
	let world: World
	before(async () => {
		world = await createWorld({ accessTokenTtl: 120 })
	})
	after(() => world.close())

	const sign = (seconds: number): ClientAssertionFunction => {
		const key = createPrivateKey(world.certificate.privateKey)
		return ({ clientId, tokenEndpoint }) =>
			new SignJWT()
				.setProtectedHeader({ alg: 'PS256' })
				.setIssuer(clientId)
				.setSubject(clientId)
				.setAudience(tokenEndpoint)
				.setJti(randomUUID())
				.setIssuedAt()
				.setExpirationTime(`${seconds}s`)
				.sign(key)
	}

	const signInAndRefreshTwice = async (clientAssertion: ClientAssertionFunction) => {
		const app = await createApplication(world, { auth: { clientId: clientIds.certificate, clientAssertion } })
		try {
			const browser = app.browser()
			assert.equal((await app.signIn(browser)).status, 200)
			for (let i = 0; i < 2; i++)
				assert.equal(
					(await browser.get(`${app.origin}/token`)).json<{ outcome: string }>().outcome,
					'refreshed',
				)
		} finally {
			await app.close()
		}
	}

	it('that never ends holds nobody up beyond the deadline, and is called anew', async () => {
		let calls = 0
		const make = sign(300)
		const clientAssertion: ClientAssertionFunction = (request) =>
			++calls === 1 ? new Promise<string>(() => {}) : make(request)
		const app = await createApplication(world, {
			auth: { clientId: clientIds.certificate, clientAssertion },
			network: { caFile: world.caFile, timeout: 1000 },
		})
		try {
			const refused = await app.signIn(app.browser())
			assert.equal(refused.status, 503)
			assert.equal((app.errors.at(-1) as BrokerError).code, 'ERR_IDP_UNAVAILABLE')
			assert.equal((await app.signIn(app.browser())).status, 200)
			assert.equal(calls, 2)
		} finally {
			await app.close()
		}
	})

	it('is called on the main thread once, and again only when its assertion nears its end', async () => {
		let calls = 0
		const counted = (seconds: number): ClientAssertionFunction => {
			const make = sign(seconds)
			return (request) => {
				calls++
				return make(request)
			}
		}
		await signInAndRefreshTwice(counted(600))
		assert.equal(calls, 1)
		await signInAndRefreshTwice(counted(30))
		assert.equal(calls, 1 + 3)
	})

	it('that throws at once, as one that reads a file may, is called anew for the next sign-in', async () => {
		let missing = true
		const make = sign(300)
		const app = await createApplication(world, {
			auth: {
				clientId: clientIds.certificate,
				clientAssertion: (request) => {
					if (missing) throw new Error('ENOENT')
					return make(request)
				},
			},
		})
		try {
			assert.equal((await app.signIn(app.browser())).status, 503)
			missing = false
			assert.equal((await app.signIn(app.browser())).status, 200)
		} finally {
			await app.close()
		}
	})

	it('is called anew after a reload, also when the call before it has not answered yet', async () => {
		const expiring = (jti: string) => new UnsecuredJWT().setJti(jti).setExpirationTime('300s').encode()
		const answers: ((assertion: string) => void)[] = []
		const assertion = createAssertionCache(
			() => new Promise((resolve) => answers.push(resolve)),
			'a client',
			1000,
		)
		const before = assertion('https://example.com')
		assertion.forget()
		const anew = assertion('https://example.com')
		answers[1]?.(expiring('new'))
		assert.equal(decodeJwt(await anew).jti, 'new')
		answers[0]?.(expiring('old'))
		assert.equal(decodeJwt(await before).jti, 'old')
		assert.equal(decodeJwt(await assertion('https://example.com')).jti, 'new')
		assert.equal(answers.length, 2)
	})

	it('that fails is ERR_CLIENT_REJECTED, without its message', async () => {
		const app = await createApplication(world, {
			auth: {
				clientId: clientIds.certificate,
				clientAssertion: () => Promise.reject(new Error('a secret in here')),
			},
		})
		try {
			const page = await app.signIn(app.browser())
			assert.equal(page.status, 503)
			assert.match(page.html, /ERR_CLIENT_REJECTED/)
			assert.doesNotMatch(page.html, /a secret in here/)
			assert.ok(
				app.errors.every(
					(error) => error instanceof BrokerError && !error.message.includes('secret in here'),
				),
			)
		} finally {
			await app.close()
		}
	})
})
