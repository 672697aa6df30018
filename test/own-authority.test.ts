import assert from 'node:assert/strict'
import { createSecretKey, randomBytes, webcrypto } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type Server } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { ConfidentialClientApplication } from '@azure/msal-node'
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import { clientId, clientSecret, grantedScopes, objectId, tenantId, tokensOf } from '../bench/people.js'
import { createTokenBroker, memoryTokenStore, type SignedInAccount } from '../src/index.js'
import { createSealer } from '../src/sealing.js'
import { createOwnAuthority } from '../workers/own-authority.js'
import { createSetting, namespace, type Session, type Setting, secret } from './cluster/setting.js'

const account: SignedInAccount = {
	homeAccountId: `${objectId(1)}.${tenantId}`,
	tenantId,
	objectId: objectId(1),
	username: 'person1@contoso.example',
}
const other = '00000000-1111-4222-8333-444444444444'

describe('the own authority', () => {
	const accepts = (
		authority: string,
		environment: string | undefined,
		allowedTenants: readonly string[] | 'any' = 'any',
	) =>
		createOwnAuthority({ authority, allowedTenants }).accepts(
			{ Account: { a: environment === undefined ? {} : { environment } } },
			account,
		)
	const microsoft = 'https://login.microsoftonline.com'

	it('knows a cloud by each of its names, and any other host by its own alone', () => {
		for (const host of ['login.microsoftonline.com', 'login.windows.net', 'sts.windows.net'])
			assert.ok(accepts(`${microsoft}/${tenantId}`, host), host)
		assert.ok(accepts('https://login.microsoftonline.us/common', 'login.usgovcloudapi.net'))
		assert.ok(accepts(`https://login.example:8443/${tenantId}`, 'login.example:8443'))
		for (const host of ['login.microsoftonline.us', 'login.example', 'windows.net', '', undefined])
			assert.ok(!accepts(`${microsoft}/${tenantId}`, host), host)
		assert.ok(!accepts(`https://login.example/${tenantId}`, 'login.example:8443'))
	})

	it('takes accounts of its tenant alone, where it names one by id, and of those that are allowed', () => {
		assert.ok(accepts(`${microsoft}/${tenantId.toUpperCase()}`, 'login.windows.net'))
		assert.ok(!accepts(`${microsoft}/${other}`, 'login.windows.net'))
		for (const tenant of ['common', 'organizations', 'contoso.example']) {
			assert.ok(accepts(`${microsoft}/${tenant}`, 'login.windows.net'), tenant)
			assert.ok(accepts(`${microsoft}/${tenant}`, 'login.windows.net', [other, tenantId]), tenant)
			assert.ok(!accepts(`${microsoft}/${tenant}`, 'login.windows.net', [other]), tenant)
		}
	})
})

describe('a session of before the settings changed', () => {
	let setting: Setting
	let session: Session
	before(async () => {
		setting = await createSetting()
		session = await setting.signIn()
	})
	after(() => setting.close())

	it('is signed out where its tenant is not allowed any more, and the provider is not asked', async () => {
		const narrowed = await setting.start({ auth: { ...setting.options().auth, allowedTenants: [other] } })
		const key = `${namespace}:t:{${session.msal.partition}}`
		const before = await setting.redis.client().hgetall(key)
		setting.world.standIn.clearLog()
		const [reply] = await narrowed.acquire([session])
		assert.equal(reply && 'error' in reply && reply.error, 'ERR_SIGNED_OUT')
		assert.equal(setting.world.standIn.count('token'), 0)
		assert.deepEqual(await setting.redis.client().hgetall(key), before, 'left for those who may use it')
		const [still] = await (await setting.start()).acquire([session])
		assert.ok(still && 'token' in still)
	})
})

describe('the authority of Microsoft’s cloud', () => {
	const host = 'login.microsoftonline.com'
	const authority = `https://${host}/${tenantId}`
	const startedAt = Math.floor(Date.now() / 1000)
	const answer = (generation: 'seeded' | 'refreshed', nonce?: string) => {
		const { accessToken, refreshToken, idToken, clientInfo } = tokensOf(
			1,
			generation,
			`${authority}/v2.0`,
			startedAt,
		)
		const [head, claims = '', signature] = idToken.split('.')
		const named = { ...JSON.parse(Buffer.from(claims, 'base64url').toString()), nonce }
		return {
			token_type: 'Bearer',
			scope: grantedScopes,
			expires_in: 3600,
			access_token: accessToken,
			refresh_token: refreshToken,
			id_token: [head, Buffer.from(JSON.stringify(named)).toString('base64url'), signature].join('.'),
			client_info: clientInfo,
		}
	}
	const posts: URLSearchParams[] = []
	const servers: Server[] = []
	let folder: string
	let proxy: string
	before(async () => {
		const { key, cert } = await certificateFor(host)
		folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
		await writeFile(join(folder, 'ca.pem'), cert)
		const entra = createServer({ key, cert }, async (request, response) => {
			posts.push(new URLSearchParams(await text(request)))
			response.setHeader('content-type', 'application/json').end(JSON.stringify(answer('refreshed')))
		})
		await new Promise<void>((resolve) => entra.listen(0, '127.0.0.1', resolve))
		// Whatever host is asked for: this is the whole Internet.
		const internet = createHttpServer().on('connect', (_, socket) => {
			const target = connect((entra.address() as AddressInfo).port, '127.0.0.1', () => {
				socket.write('HTTP/1.1 200 OK\r\n\r\n')
				target.pipe(socket).pipe(target)
			})
			for (const end of [target, socket]) end.on('error', () => {})
		})
		await new Promise<void>((resolve) => internet.listen(0, '127.0.0.1', resolve))
		proxy = `http://127.0.0.1:${(internet.address() as AddressInfo).port}`
		servers.push(entra, internet)
	})
	after(async () => {
		for (const server of servers) server.close()
		await rm(folder, { recursive: true })
	})

	it('goes by another name in what plain msal-node stores, which is read and refreshed from here', async () => {
		const msal = new ConfidentialClientApplication({
			auth: { clientId, authority, clientSecret },
			system: {
				networkClient: {
					sendGetRequestAsync: () => assert.fail('MSAL knows this host'),
					sendPostRequestAsync: async <T>() => ({
						status: 200,
						headers: {},
						body: answer('seeded', 'nonce') as T,
					}),
				},
			},
		})
		const redirectUri = 'http://localhost/user/authorized'
		await msal.acquireTokenByCode({ code: 'code', nonce: 'nonce', redirectUri, scopes: ['User.Read'] })
		const cache = msal.getTokenCache().serialize()
		assert.match(cache, /"environment":"login\.windows\.net"/)

		const partition = randomBytes(32).toString('base64url')
		const store = memoryTokenStore()
		const sealer = createSealer([createSecretKey(Buffer.from(secret))], clientId)
		store.create(partition, sealer.seal('tokens', partition, cache), 60_000, account)
		const broker = await createTokenBroker({
			auth: {
				clientId,
				authority,
				clientSecret,
				redirectUri,
				authorityMetadata: JSON.stringify({
					issuer: `${authority}/v2.0`,
					authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
					token_endpoint: `${authority}/oauth2/v2.0/token`,
					jwks_uri: `${authority}/discovery/v2.0/keys`,
				}),
			},
			store,
			secrets: [secret],
			network: { proxy, caFile: join(folder, 'ca.pem') },
		})
		try {
			const session = { msal: { partition, account } }
			const cached = await broker.acquireSilent(session)
			assert.deepEqual([cached.outcome, cached.accessToken], ['cached', answer('seeded').access_token])
			const refreshed = await broker.acquireSilent(session, { forceRefresh: true })
			assert.deepEqual(
				[refreshed.outcome, refreshed.accessToken],
				['refreshed', answer('refreshed').access_token],
			)
			assert.equal(posts.length, 1)
			assert.equal(posts[0]?.get('refresh_token'), answer('seeded').refresh_token)
			const opened = sealer.open('tokens', partition, store.read(partition)?.sealed ?? '')
			const { RefreshToken = {} } = JSON.parse(opened.ok ? opened.plaintext : '{}')
			assert.deepEqual(
				Object.values(RefreshToken as Record<string, { secret: string }>).map((entry) => entry.secret),
				[answer('refreshed').refresh_token],
				'the new refresh token in the place of the old one, not beside it',
			)
		} finally {
			await broker.close()
		}
	})
})

/** A certificate that is its own authority. */
async function certificateFor(host: string) {
	const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
	const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
	const certificate = await x509.X509CertificateGenerator.createSelfSigned(
		{
			name: `CN=${host}`,
			keys,
			signingAlgorithm: algorithm,
			extensions: [
				new x509.BasicConstraintsExtension(true),
				new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: host }]),
			],
		},
		webcrypto,
	)
	const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
	const key = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
	return { key, cert: certificate.toString('pem') }
}
