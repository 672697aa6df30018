import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { clientIds, clientSecrets } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { type AuthOptions, BrokerError, createTokenBroker, redisTokenStore } from '../src/index.js'
import { secret, signIn } from './cluster/setting.js'
import { createWorld, type World } from './support/application.js'
import { startRedis, type TestRedis } from './support/redis.js'

describe('the options of MSAL (app_kwargs)', () => {
	let world: World
	let redis: TestRedis
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
	})
	after(() => Promise.all([redis.stop(), world.close()]))

	const start = (auth: Partial<AuthOptions>) =>
		createTokenBroker({
			auth: {
				clientId: clientIds.web,
				authority: world.standIn.authority,
				redirectUri: 'http://localhost/user/authorized',
				...auth,
			},
			secrets: [secret],
			network: { caFile: world.caFile },
			pool: { threads: 1 },
			store: redisTokenStore({ path: redis.path }),
		})

	it('are each broker’s own, as are its sessions, in one process and on one Redis', async () => {
		const { thumbprintSha256, privateKey } = world.certificate
		const brokers = await Promise.all([
			start({ clientSecret: clientSecrets.web }),
			start({
				clientId: clientIds.certificate,
				clientCertificate: { thumbprintSha256, privateKey },
				clientCapabilities: [],
			}),
		])
		try {
			const claims: unknown[] = []
			for (const [at, broker] of brokers.entries()) {
				const session = await signIn(world, broker, people.ada.upn)
				const { accessToken } = await broker.acquireSilent(session, { forceRefresh: true })
				const { appid, azp, xms_cc } = decodeJwt(accessToken)
				claims.push([appid ?? azp, xms_cc])
				const user = { tenantId: world.standIn.tenantId, objectId: people.ada.oid }
				const found = await broker.sessions.find(user)
				assert.deepEqual(
					found.map(({ partition }) => partition),
					[session.msal.partition],
				)
				const other = brokers[1 - at] as (typeof brokers)[number]
				await assert.rejects(
					other.acquireSilent(session),
					(error) => error instanceof BrokerError && error.code === 'ERR_SIGNED_OUT',
				)
			}
			assert.deepEqual(claims, [
				[clientIds.web, ['CP1']],
				[clientIds.certificate, undefined],
			])
		} finally {
			await Promise.all(brokers.map((broker) => broker.close()))
		}
	})

	it('that a thread can’t be given, or that would undo what is promised, are no settings', async () => {
		for (const name of ['cachePlugin', 'networkClient', 'loggerOptions', 'nativeBrokerPlugin'])
			await assert.rejects(start({ clientSecret: clientSecrets.web, [name]: () => {} }), (error) => {
				assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG')
				assert.match(error.message, new RegExp(`auth\\.${name} is not a setting`))
				return true
			})
	})
})
