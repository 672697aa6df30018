import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { type ClientCertificate, createClientCertificate } from '../dev/certificates.js'
import { withEnvironment } from '../src/environment.js'
import { BrokerError, koaMsal, memoryTokenStore } from '../src/index.js'
import { resolveSettings, type Settings } from '../src/settings.js'

const secret = '0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3JpW'
const clientId = '11111111-2222-3333-4444-555555555555'
const canary = 'canary-7f3a9'

/** What an environment makes of options. */
function settings(environment: Record<string, string>, options: Record<string, unknown> = {}): Settings {
	return resolveSettings(withEnvironment(options, environment))
}

const azure = {
	AZURE_CLIENT_ID: clientId,
	AZURE_TENANT_ID: 'contoso.example',
	AZURE_CLIENT_SECRET: 'a client secret',
	MSAL_REDIRECT_URI: 'https://app.example/user/authorized',
	MSAL_SECRETS: secret,
}
const original = {
	SP_APP_ID: clientId,
	SP_APP_PW: 'a client secret',
	SP_AUTHORITY: 'https://login.microsoftonline.com/contoso.example',
	DOMAIN: 'app.example',
	MSAL_SECRETS: secret,
}
const clientSecretOf = async ({ auth }: Settings) => {
	const credential = await auth.credential.load()
	return credential.kind === 'secret' && credential.secret.export().toString()
}
const prefixed = (prefix: string, environment: Record<string, string>) =>
	Object.fromEntries(Object.entries(environment).map(([name, value]) => [`${prefix}${name}`, value]))

const proxyOf = ({ network }: Settings) => network.proxy?.export().toString()

describe('the environment (the original’s ENV.load)', () => {
	let folder: string
	let certificate: ClientCertificate
	before(async () => {
		;[folder, certificate] = await Promise.all([
			mkdtemp(join(tmpdir(), 'koa-msal-environment-')),
			createClientCertificate(),
		])
	})
	after(() => rm(folder, { recursive: true }))
	const file = async (name: string, text: string) => {
		await writeFile(join(folder, name), text)
		return join(folder, name)
	}

	for (const [names, environment] of Object.entries({ 'Azure’s': azure, 'the original’s': original }))
		for (const prefix of ['', 'X_'])
			it(`says everything under ${names} names${prefix && ', with a prefix'}`, () => {
				const { auth, ...rest } = settings(prefixed(prefix, environment), {
					...(prefix && { environmentPrefix: prefix }),
				})
				assert.equal(auth.clientId, clientId)
				assert.equal(auth.authority, 'https://login.microsoftonline.com/contoso.example')
				assert.equal(auth.redirectUri.href, 'https://app.example/user/authorized')
				assert.equal(auth.credential.kind, 'secret')
				assert.equal(rest.secrets.length, 1)
				assert.equal(rest.store.kind, 'memory')
			})

	it('is trimmed, and a name without a value says nothing', () => {
		const { auth, session } = settings({
			...azure,
			AZURE_CLIENT_ID: `  ${clientId}\n`,
			AZURE_CLIENT_CERTIFICATE_PATH: ' ',
			AZURE_FEDERATED_TOKEN_FILE: '',
			REDIS_URL: '',
			HTTPS_PROXY: '',
			COOKIE_NAME: ' ',
		})
		assert.equal(auth.clientId, clientId)
		assert.equal(auth.credential.kind, 'secret')
		assert.equal(session.cookieName, 'msal')
	})

	it('names other clouds, many tenants, several secrets, a cookie and a proxy', () => {
		const all = settings({
			...azure,
			AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.us/',
			AZURE_TENANT_ID: 'common',
			MSAL_ALLOWED_TENANTS: 'a.example, b.example',
			MSAL_SECRETS: `${secret}, second-${secret}`,
			COOKIE_NAME: 'portal',
			MSAL_PROFILE: 'user+manager',
			MSAL_SESSION_ABSOLUTE_TIMEOUT: '86400000',
			HTTPS_PROXY: 'http://proxy.example:8080',
		})
		assert.equal(all.auth.authority, 'https://login.microsoftonline.us/common')
		assert.deepEqual(all.auth.allowedTenants, ['a.example', 'b.example'])
		assert.equal(all.secrets.length, 2)
		assert.equal(all.session.cookieName, 'portal')
		assert.equal(all.session.absoluteTimeout, 86_400_000)
		assert.equal(all.profile, 'user+manager')
		assert.equal(proxyOf(all), 'http://proxy.example:8080')
		assert.equal(settings({ ...azure, MSAL_ALLOWED_TENANTS: 'any' }).auth.allowedTenants, 'any')
	})

	for (const name of ['REDIS_URL', 'REDIS'])
		it(`keeps sessions and tokens in Redis by ${name}`, () => {
			assert.equal(settings({ ...azure, [name]: 'redis://host:6379/1' }).store.kind, 'redis')
		})

	it('makes the redirect URI from DOMAIN and the prefix of the routes', () => {
		const of = (DOMAIN: string, options = {}) =>
			settings({ ...original, DOMAIN }, options).auth.redirectUri.href
		assert.equal(of('app.example'), 'https://app.example/user/authorized')
		assert.equal(of('app.example', { prefix: '/account' }), 'https://app.example/account/authorized')
		assert.equal(
			of('app.example', { basePath: '/tenant1/app' }),
			'https://app.example/tenant1/app/user/authorized',
		)
		assert.equal(of('localhost:3000'), 'http://localhost:3000/user/authorized')
		assert.equal(of('127.0.0.1:3000'), 'http://127.0.0.1:3000/user/authorized')
		assert.equal(of('localhost.example'), 'https://localhost.example/user/authorized')
	})

	it('gives way to every option', () => {
		const store = memoryTokenStore()
		const all = settings(
			{ ...azure, REDIS_URL: 'redis://host', COOKIE_NAME: 'theirs', HTTPS_PROXY: 'http://theirs.example' },
			{
				auth: {
					clientId: 'mine',
					authority: 'https://mine.example/tenant',
					redirectUri: 'https://mine.example/user/authorized',
					allowedTenants: ['mine'],
				},
				store,
				secrets: [`mine-${secret}`, secret],
				session: { cookieName: 'mine', idleTimeout: 60_000 },
				network: { proxy: 'http://mine.example', timeout: 500 },
			},
		)
		assert.equal(all.auth.clientId, 'mine')
		assert.equal(all.auth.authority, 'https://mine.example/tenant')
		assert.equal(all.auth.redirectUri.host, 'mine.example')
		assert.equal(all.store, store)
		assert.equal(all.secrets.length, 2)
		assert.deepEqual([all.session.cookieName, all.session.idleTimeout], ['mine', 60_000])
		assert.deepEqual([proxyOf(all), all.network.timeout], ['http://mine.example', 500])
	})

	it('gives way only where an option has a value', () => {
		const all = settings(
			{ ...azure, COOKIE_NAME: 'theirs', HTTPS_PROXY: 'http://theirs.example' },
			{
				auth: { clientId: undefined, clientSecret: undefined },
				secrets: undefined,
				store: undefined,
				session: undefined,
				network: { proxy: undefined },
			},
		)
		assert.equal(all.auth.clientId, clientId)
		assert.equal(all.auth.credential.kind, 'secret')
		assert.equal(all.secrets.length, 1)
		assert.equal(all.session.cookieName, 'theirs')
		assert.equal(proxyOf(all), 'http://theirs.example')
	})

	it('brings no second credential beside one among the options', async () => {
		const { auth } = settings(azure, { auth: { clientAssertion: async () => 'assertion' } })
		assert.equal(auth.credential.kind, 'assertion')
		const mine = settings({ ...azure, AZURE_FEDERATED_TOKEN_FILE: '/x' }, { auth: { clientSecret: 'mine' } })
		assert.equal(await clientSecretOf(mine), 'mine')
	})

	it('is asked with the prefix first, for the credential as a whole', async () => {
		const pem = await file('other.pem', `${certificate.privateKey}\n${certificate.certificate}`)
		const both = settings(
			{ ...azure, AZURE_CLIENT_CERTIFICATE_PATH: pem, ...prefixed('X_', { ...original, SP_APP_PW: 'mine' }) },
			{ environmentPrefix: 'X_' },
		)
		assert.equal(await clientSecretOf(both), 'mine')
		const names = settings(
			{ ...azure, AZURE_CLIENT_ID: 'theirs', X_SP_APP_ID: 'mine', X_SP_AUTHORITY: 'https://mine.example/t' },
			{ environmentPrefix: 'X_' },
		)
		assert.deepEqual([names.auth.clientId, names.auth.authority], ['mine', 'https://mine.example/t'])
	})

	it('brings a certificate in a file with its key, in either order', async () => {
		const { AZURE_CLIENT_SECRET: _, ...without } = azure
		const { privateKey, certificate: pem, thumbprintSha256 } = certificate
		for (const text of [
			`${privateKey}\n${pem}`,
			`${pem}\n${privateKey}`,
			`Bag Attributes\n${pem}\n${privateKey}`,
		]) {
			const path = await file('client.pem', text)
			const { auth } = settings({ ...without, AZURE_CLIENT_CERTIFICATE_PATH: path })
			const credential = await auth.credential.load()
			assert.ok(credential.kind === 'certificate')
			assert.equal(credential.thumbprintSha256.toUpperCase(), thumbprintSha256)
			assert.match(credential.x5c ?? '', /^-----BEGIN CERTIFICATE-----/)
		}
	})

	it('names the variable, not the contents, when that file is of no use (J2)', async () => {
		const { AZURE_CLIENT_SECRET: _, ...without } = azure
		for (const path of [
			join(folder, 'nowhere', canary),
			folder,
			await file('empty.pem', ''),
			await file('words.pem', canary),
			await file('key-only.pem', certificate.privateKey),
			await file('certificate-only.pem', certificate.certificate),
		])
			assert.throws(
				() => settings({ ...without, AZURE_CLIENT_CERTIFICATE_PATH: path }),
				(error: Error) => {
					assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG')
					assert.match(error.message, /auth\.clientCertificate .*AZURE_CLIENT_CERTIFICATE_PATH/)
					assert.ok(!error.message.includes(canary) && !error.message.includes('PRIVATE'))
					return true
				},
			)
	})

	it('brings a federated token from a file that is read again each time', async () => {
		const { AZURE_CLIENT_SECRET: _, ...without } = azure
		const path = await file('token', 'first\n')
		const { auth } = settings({ ...without, AZURE_FEDERATED_TOKEN_FILE: path })
		assert.equal(auth.credential.kind, 'assertion')
		const request = { clientId, tokenEndpoint: 'https://x.example' }
		assert.equal(await auth.clientAssertion?.(request), 'first')
		await file('token', 'second\n')
		assert.equal(await auth.clientAssertion?.(request), 'second')
	})

	it('is completed by a file, counts before it, and is not changed', async () => {
		const envFile = await file(
			'.env',
			// As an editor of Windows writes it.
			`\ufeff${Object.entries({ ...azure, COOKIE_NAME: '"from-the-file" # a comment', X_SP_APP_ID: 'mine' })
				.map(([name, value], at) => `${at === 0 ? '' : 'export '}${name}=${value}`)
				.join('\r\n')}`,
		)
		const environment = Object.freeze({
			COOKIE_NAME: 'from-the-environment',
			MSAL_SECRETS: `other-${secret}`,
		})
		const known = { ...process.env }
		const { auth, session, secrets } = settings(environment, { envFile })
		assert.equal(auth.clientId, clientId)
		assert.equal(session.cookieName, 'from-the-environment')
		assert.equal(secrets[0]?.export().toString(), `other-${secret}`)
		assert.equal(settings({}, { envFile }).session.cookieName, 'from-the-file')
		assert.equal(settings({}, { envFile, environmentPrefix: 'X_' }).auth.clientId, 'mine')
		assert.deepEqual({ ...process.env }, known)
	})

	it('is told of a file that can’t be read together with the rest, and not which it was', () => {
		assert.throws(
			() => settings({}, { envFile: join(folder, canary) }),
			(error: Error) => {
				assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG')
				assert.match(error.message, /envFile is not valid: it should be a readable file/)
				assert.match(error.message, /auth\.clientId is missing/)
				assert.ok(!error.message.includes(canary))
				return true
			},
		)
	})

	it('accepts the cookie of the original by name', () => {
		assert.equal(settings(azure).legacyCookie, undefined)
		assert.deepEqual(settings({ ...azure, MSAL_LEGACY_COOKIE: 'AIOHTTP_SESSION' }).legacyCookie, {
			name: 'AIOHTTP_SESSION',
			domain: 'app.example',
		})
		const legacyCookie = { name: 'mine', domain: 'example' }
		const mine = settings({ ...azure, MSAL_LEGACY_COOKIE: 'theirs' }, { legacyCookie })
		assert.deepEqual(mine.legacyCookie, legacyCookie)
		for (const bad of [{ name: 'a b' }, { domain: 'a b' }, { other: 1 }, true])
			assert.throws(() => settings(azure, { legacyCookie: bad }), /legacyCookie/)
	})

	it('that says nothing is told everything that is missing, at once (J2)', () => {
		assert.throws(
			() => settings({}),
			(error: Error) => {
				assert.ok(error instanceof BrokerError)
				for (const [setting, variable] of [
					['auth.clientId', 'AZURE_CLIENT_ID'],
					['auth.authority', 'AZURE_TENANT_ID'],
					['auth.redirectUri', 'MSAL_REDIRECT_URI'],
					['auth.credential', 'AZURE_CLIENT_SECRET'],
				] as const)
					assert.match(error.message, new RegExp(`${setting} is missing.*${variable}`))
				assert.equal(error.message.split('\n').length, 5, error.message)
				return true
			},
		)
	})

	for (const url of [
		`http://:${canary}@host`,
		`redis://:${canary}%zz@host`,
		`redis://host/${canary}`,
		canary,
	])
		it(`that has a malformed REDIS_URL is told so together with the rest: ${url.replace(canary, '…')} (J2)`, () => {
			assert.throws(
				() => settings({ REDIS_URL: url }),
				(error: Error) => {
					assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG', String(error))
					assert.match(error.message, /store is not valid: .*REDIS_URL/)
					assert.match(error.message, /auth\.clientId is missing/)
					assert.match(error.message, /secrets is missing/)
					assert.ok(!error.message.includes(canary))
					return true
				},
			)
		})

	it('that has a malformed MSAL_SECRETS is not quoted (J2)', () => {
		assert.throws(
			() => settings({ ...azure, MSAL_SECRETS: `${canary},${secret}` }),
			(error: Error) =>
				/secrets is not valid: .*MSAL_SECRETS/.test(error.message) && !error.message.includes(canary),
		)
	})
})

describe('koaMsal() and the environment', () => {
	const known = { ...process.env }
	afterEach(() => {
		for (const name of Object.keys(process.env)) if (!(name in known)) delete process.env[name]
		Object.assign(process.env, known)
	})

	it('starts with settings from the environment alone', async () => {
		Object.assign(process.env, azure)
		const parts = await koaMsal()
		assert.deepEqual(Object.keys(parts).sort(), ['broker', 'msalRoutes', 'msalSession'])
		await parts.broker.close()
	})

	it('starts nothing when something is missing', async () => {
		await assert.rejects(koaMsal({ environmentPrefix: 'NOBODY_HAS_THIS_' }), (error: Error) => {
			assert.ok(error instanceof BrokerError && error.code === 'ERR_CONFIG')
			return true
		})
	})
})
