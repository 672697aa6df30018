import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { after, afterEach, before, describe, it } from 'node:test'
import { type ClientCertificate, createClientCertificate } from '../dev/certificates.js'
import { BrokerError, memoryTokenStore, redisTokenStore } from '../src/index.js'
import { resolveSettings } from '../src/settings.js'

/** Stands in every bad value that can hold it, and must not come back in a message. */
const canary = 'canary-7f3a9'
const secret = '0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3JpW'
const good = {
	auth: {
		clientId: '11111111-2222-3333-4444-555555555555',
		authority: 'https://login.microsoftonline.com/contoso.example',
		redirectUri: 'https://app.example/user/authorized',
		clientSecret: 'a client secret',
	},
	secrets: [secret],
}
type Tree = { readonly [name: string]: unknown }

/** `good` with values in place of others, by path. */
function changed(changes: Tree): unknown {
	const copy = structuredClone(good) as Record<string, unknown>
	for (const [path, value] of Object.entries(changes)) {
		const names = path.split('.')
		const last = names.pop() as string
		let at = copy
		for (const name of names) {
			at[name] ??= {}
			at = at[name] as Record<string, unknown>
		}
		if (value === undefined) delete at[last]
		else at[last] = value
	}
	return copy
}

function refusal(options: unknown): BrokerError {
	try {
		resolveSettings(options)
	} catch (error) {
		assert.ok(error instanceof BrokerError, String(error))
		assert.equal(error.code, 'ERR_CONFIG')
		return error
	}
	throw new assert.AssertionError({ message: 'the settings were taken' })
}

/** The settings that a message names, one per line. */
function named(error: BrokerError): string[] {
	return error.message
		.split('\n')
		.slice(1)
		.map((line) => line.trim().split(' ')[0] ?? '')
		.sort()
}

const pem = (type: 'rsa' | 'ec', bits = 2048) =>
	type === 'rsa'
		? generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export({ type: 'pkcs8', format: 'pem' })
		: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })

describe('settings that are wrong (J2)', () => {
	const thumbprintSha256 = 'ab'.repeat(32)
	const cases: readonly (readonly [setting: string, changes: Tree, also?: string])[] = [
		['auth.clientId', { 'auth.clientId': undefined }],
		['auth.clientId', { 'auth.clientId': '' }],
		['auth.clientId', { 'auth.clientId': `${canary} with spaces` }],
		['auth.clientId', { 'auth.clientId': 42 }],
		['auth.authority', { 'auth.authority': undefined }],
		['auth.authority', { 'auth.authority': canary }],
		['auth.authority', { 'auth.authority': `http://login.example/${canary}` }],
		['auth.authority', { 'auth.authority': `https://${canary}.example` }],
		['auth.authority', { 'auth.authority': `https://login.example/tenant?secret=${canary}` }],
		['auth.authority', { 'auth.authority': `https://login.example/tenant#${canary}` }],
		['auth.authority', { 'auth.authority': `https://user:${canary}@login.example/tenant` }],
		['auth.authority', { 'auth.authority': `https://:${canary}@login.example/tenant` }],
		['auth.redirectUri', { 'auth.redirectUri': undefined }],
		['auth.redirectUri', { 'auth.redirectUri': `/${canary}` }],
		['auth.redirectUri', { 'auth.redirectUri': `http://${canary}.example/user/authorized` }],
		['auth.redirectUri', { 'auth.redirectUri': `ftp://${canary}.example/user/authorized` }],
		['auth.redirectUri', { 'auth.redirectUri': `javascript:${canary}` }],
		['auth.redirectUri', { 'auth.redirectUri': `https://app.example/authorized?code=${canary}` }],
		['auth.redirectUri', { 'auth.redirectUri': `https://app.example/authorized#${canary}` }],
		['auth.redirectUri', { 'auth.redirectUri': `https://:${canary}@app.example/authorized` }],
		['auth.redirectUri', { 'auth.redirectUri': [`https://${canary}.example/`] }],
		['auth.credential', { 'auth.clientSecret': undefined }],
		['auth.credential', { 'auth.clientAssertion': async () => canary }],
		['auth.clientSecret', { 'auth.clientSecret': '' }],
		['auth.clientSecret', { 'auth.clientSecret': [canary] }],
		['auth.clientSecret', { 'auth.clientSecret': Buffer.from(canary) }],
		['auth.clientAssertion', { 'auth.clientSecret': undefined, 'auth.clientAssertion': canary }],
		[
			'auth.clientCertificate',
			{
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { thumbprintSha256: canary, privateKey: pem('rsa') },
			},
		],
		[
			'auth.clientCertificate',
			{
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { thumbprintSha256, privateKey: canary },
			},
		],
		[
			'auth.clientCertificate',
			{
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { thumbprintSha256, privateKey: pem('ec') },
			},
		],
		[
			'auth.clientCertificate',
			{
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { thumbprintSha256, privateKey: pem('rsa', 1024) },
			},
		],
		[
			'auth.clientCertificate',
			{
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { thumbprintSha256, privateKey: pem('rsa'), x5c: canary },
			},
		],
		['auth.clientCertificate', { 'auth.clientSecret': undefined, 'auth.clientCertificate': {} }],
		['auth.knownAuthorities', { 'auth.knownAuthorities': [`https://${canary}`] }],
		['auth.knownAuthorities', { 'auth.knownAuthorities': canary }],
		['auth.authorityMetadata', { 'auth.authorityMetadata': canary }],
		['auth.authorityMetadata', { 'auth.authorityMetadata': `{ ${canary}` }],
		['auth.authorityMetadata', { 'auth.authorityMetadata': {} }],
		['auth.allowedTenants', { 'auth.allowedTenants': [] }],
		['auth.allowedTenants', { 'auth.allowedTenants': canary }],
		['auth.allowedTenants', { 'auth.allowedTenants': [`${canary}/x`] }],
		['auth.allowedTenants', { 'auth.authority': 'https://login.microsoftonline.com/common' }],
		['auth.allowedTenants', { 'auth.authority': 'https://login.microsoftonline.com/common/v2.0' }],
		['auth.authority', { 'auth.authority': 'https://login.microsoftonline.com/%63ommon' }],
		['auth.allowedTenants', { 'auth.authority': 'https://login.microsoftonline.com/organizations/' }],
		['auth.clientCapabilities', { 'auth.clientCapabilities': canary }],
		['auth.responseMode', { 'auth.responseMode': canary }],
		['auth.responseMode', { 'auth.responseMode': 'fragment' }],
		['auth.tenant', { 'auth.tenant': canary }],
		['scopes', { scopes: [] }],
		['scopes', { scopes: canary }],
		['scopes', { scopes: [`User.Read ${canary}`] }],
		['scopes', { scopes: [`"${canary}"`] }],
		['store', { store: `redis://:${canary}@host`, secrets: [secret] }],
		['store', { store: { kind: 'memory' } }],
		['store', { store: { kind: 'redis' } }],
		['store', { store: { kind: 'redis', connection: canary } }],
		['secrets', { secrets: [canary] }],
		// Long enough, and still what somebody typed: few characters, one after the other, or the same ones again.
		...[
			'a'.repeat(44),
			'abcdefghijklmnopqrstuvwxyz0123456789',
			`${canary}-`.repeat(3),
			'0123456789'.repeat(4),
			'changeme'.repeat(5),
			`${'x'.repeat(40)}${canary}`.slice(0, 46),
			'00000000-0000-4000-8000-000000000001',
			' '.repeat(32),
		].map((key) => ['secrets', { secrets: [secret, key] }] as const),
		['secrets', { secrets: canary }],
		['secrets', { secrets: [secret, secret] }],
		['secrets', { secrets: [] }],
		['secrets', { secrets: undefined, store: redisTokenStore('redis://host') }],
		['prefix', { prefix: canary }],
		['prefix', { prefix: '/' }],
		['prefix', { prefix: `//${canary}` }],
		['prefix', { prefix: `/${canary}/` }],
		['prefix', { prefix: `/user?${canary}` }],
		['prefix', { prefix: `/user\r\nX: ${canary}` }],
		['paths', { paths: canary }],
		['paths', { 'paths.login': canary }],
		['paths', { 'paths.login': `/${canary}`, 'paths.logout': `/${canary}` }],
		['paths', { 'paths.login': `/${canary}`, 'paths.photo': `/${canary}/photo` }],
		['paths.signin', { 'paths.signin': `/${canary}` }],
		['basePath', { basePath: canary }],
		['basePath', { basePath: '/' }],
		['basePath', { basePath: `/${canary}` }],
		['onError', { onError: canary }],
		['keepOnSignIn', { keepOnSignIn: canary }],
		['keepOnSignIn', { keepOnSignIn: [''] }],
		['session.idleTimeout', { 'session.idleTimeout': 59_999 }],
		['session.idleTimeout', { 'session.idleTimeout': '8h' }],
		['session.idleTimeout', { 'session.idleTimeout': Number.NaN }],
		['session.idleTimeout', { 'session.idleTimeout': Number.POSITIVE_INFINITY }],
		['session.idleTimeout', { 'session.idleTimeout': 120_000, 'session.absoluteTimeout': 60_000 }],
		['session.absoluteTimeout', { 'session.absoluteTimeout': 0 }],
		['session.absoluteTimeout', { 'session.absoluteTimeout': 91 * 86_400_000 }],
		['session.cookieName', { 'session.cookieName': `${canary};` }],
		['session.cookieName', { 'session.cookieName': '' }],
		['session.maxAge', { 'session.maxAge': 1 }],
		['session', { session: canary }],
		['logoutTargets', { logoutTargets: [`https://${canary}.example/`] }],
		['logoutTargets', { logoutTargets: [`//${canary}.example`] }],
		['logoutTargets', { logoutTargets: [`/\\${canary}.example`] }],
		['logoutTargets', { logoutTargets: [] }],
		['pool.threads', { 'pool.threads': 0 }],
		['pool.threads', { 'pool.threads': 1.5 }],
		['pool.threads', { 'pool.threads': 65 }],
		['pool.concurrency', { 'pool.concurrency': -1 }],
		['pool.maxQueue', { 'pool.maxQueue': Number.POSITIVE_INFINITY }],
		['pool.taskTimeout', { 'pool.taskTimeout': 99 }],
		['network.timeout', { 'network.timeout': 0 }],
		['network.caFile', { 'network.caFile': `/nowhere/${canary}.pem` }],
		['network.caFile', { 'network.caFile': '/' }],
		['network.proxy', { 'network.proxy': `${canary}:8080` }],
		['network.proxy', { 'network.proxy': `socks5://${canary}` }],
		// Passwords that are not percent-encoded: read as a port and what follows it.
		...['/', '?', '#'].map(
			(one) => ['network.proxy', { 'network.proxy': `http://user:8${one}${canary}@proxy.example` }] as const,
		),
		['cache.maxEntries', { 'cache.maxEntries': 0 }],
		['cache.maxBytes', { 'cache.maxBytes': 1024 }],
		['cache.expiryMargin', { 'cache.expiryMargin': -1 }],
		['cache.maxBlobBytes', { 'cache.maxBlobBytes': 16_383 }],
		['outOfBand.scopes', { 'outOfBand.scopes': canary }],
		['outOfBand.scopes', { 'outOfBand.scopes': [`${canary} x`] }],
		['graph.endpoint', { 'graph.endpoint': `http://${canary}.example/v1.0` }],
		['graph.endpoint', { 'graph.endpoint': `https://:${canary}@graph.example/v1.0` }],
		['downstream.allowedHosts', { 'downstream.allowedHosts': canary }],
		...[
			`https://${canary}.example`,
			`${canary}.example/path`,
			`${canary}@api.example`,
			`*.${canary}.example`,
			`.${canary}.example`,
			`${canary}.example.`,
			`${canary}.example:99999`,
			`${canary}é.example`,
			'0x7f.1',
			'',
		].map((host) => ['downstream.allowedHosts', { 'downstream.allowedHosts': [host] }] as const),
		['downstream.timeout', { 'downstream.timeout': 0 }],
		['downstream.maxBytes', { 'downstream.maxBytes': canary }],
		['downstream.serialiser', { 'downstream.serialiser': { stringify: canary } }],
		['downstream.hosts', { 'downstream.hosts': [canary] }],
		['profile', { profile: canary }],
		['profile', { profile: 'manager' }],
		['trustedProxies', { trustedProxies: [canary] }],
		['trustedProxies', { trustedProxies: ['10.0.0.0/33'] }],
		['trustedProxies', { trustedProxies: true }],
		['redirectUrl', { redirectUrl: canary }],
	]

	for (const [setting, changes] of cases)
		it(`${setting}: ${inWords(changes)}`, () => {
			const error = refusal(changed(changes))
			assert.deepEqual(named(error), [setting])
			assert.ok(!error.message.includes(canary), error.message)
			assert.ok(!JSON.stringify(error).includes(canary))
			for (const key of [changes.secrets].flat())
				assert.ok(typeof key !== 'string' || !error.message.includes(key), 'never the value')
			// What stands there must be of help.
			assert.match(error.message, /\n {2}\S+ (is missing|is not valid|is not a setting)/)
		})

	it('are at least forty in this table', () => {
		assert.ok(cases.length >= 40)
	})

	for (const options of [undefined, null, 'text', 42, [], () => good])
		it(`are whatever is not an object: ${JSON.stringify(options) ?? typeof options}`, () => {
			refusal(options)
		})

	it('are all told at once, those that hang together too', () => {
		const error = refusal({
			...(changed({
				'auth.clientId': undefined,
				'auth.authority': 'https://login.microsoftonline.com/common',
				'auth.redirectUri': 'nowhere',
				'auth.clientSecret': undefined,
				'session.idleTimeout': 3_600_000,
				'session.absoluteTimeout': 60_000,
				'network.caFile': '/nowhere',
				'pool.threads': 0,
				prefix: 'user',
				secrets: undefined,
				typo: 1,
			}) as object),
			store: redisTokenStore('redis://host'),
		})
		assert.deepEqual(named(error), [
			'auth.allowedTenants',
			'auth.clientId',
			'auth.credential',
			'auth.redirectUri',
			'network.caFile',
			'pool.threads',
			'prefix',
			'secrets',
			'session.idleTimeout',
			'typo',
		])
	})

	it('are told as missing or as not valid, with an example and the environment variable', () => {
		const missing = refusal(changed({ 'auth.clientId': undefined })).message
		assert.match(missing, /auth\.clientId is missing: .*AZURE_CLIENT_ID.*like 11111111-/)
		assert.match(
			refusal(changed({ 'auth.clientId': '?' })).message,
			/auth\.clientId is not valid: it should be the application/,
		)
	})
})

/** A test's name must not change from run to run. */
function inWords(changes: Tree): string {
	return Object.entries(changes)
		.map(([path, value]) => {
			const text = JSON.stringify(value, (_, inner) => (typeof inner === 'function' ? '(function)' : inner))
			return `${path} = ${(text ?? 'nothing').replace(/-----BEGIN.*-----/s, '(a key)').slice(0, 90)}`
		})
		.join(', ')
}

describe('http redirect URIs', () => {
	const environment = process.env.NODE_ENV
	afterEach(() => {
		if (environment === undefined) delete process.env.NODE_ENV
		else process.env.NODE_ENV = environment
	})
	for (const host of ['localhost', 'localhost:3000', '127.0.0.1:3000', '[::1]:3000'])
		it(`are taken on ${host}, except in production (J2)`, () => {
			const options = changed({ 'auth.redirectUri': `http://${host}/user/authorized` })
			delete process.env.NODE_ENV
			resolveSettings(options)
			process.env.NODE_ENV = 'production'
			assert.deepEqual(named(refusal(options)), ['auth.redirectUri'])
		})
	for (const host of ['localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1', '0.0.0.0'])
		it(`are refused on ${host}`, () => {
			delete process.env.NODE_ENV
			refusal(changed({ 'auth.redirectUri': `http://${host}/user/authorized` }))
		})
})

describe('settings that are right', () => {
	let certificate: ClientCertificate
	before(async () => {
		certificate = await createClientCertificate()
	})
	after(() => {})

	it('are completed with the documented defaults', () => {
		const settings = resolveSettings(good)
		const minute = 60_000
		assert.deepEqual(settings.scopes, ['User.Read'])
		assert.equal(settings.store.kind, 'memory')
		assert.equal(settings.prefix, '/user')
		assert.deepEqual(settings.session, {
			idleTimeout: 8 * 60 * minute,
			absoluteTimeout: 7 * 24 * 60 * minute,
			cookieName: 'msal',
		})
		assert.deepEqual(settings.logoutTargets, ['/'])
		assert.deepEqual(settings.auth.clientCapabilities, ['CP1'])
		assert.equal(settings.auth.responseMode, 'form_post')
		assert.equal(settings.auth.allowedTenants, 'any')
		assert.equal(settings.network.timeout, 10_000)
		assert.deepEqual(settings.cache, {
			maxEntries: 10_000,
			maxBytes: 64 * 1024 * 1024,
			expiryMargin: 5 * minute,
			maxBlobBytes: 1_048_576,
		})
		assert.equal(settings.pool.taskTimeout, 15_000)
		assert.equal(settings.pool.threads, Math.max(1, Math.min(4, availableParallelism() - 1)))
		assert.equal(settings.profile, 'none')
		assert.deepEqual(settings.trustedProxies, [])
		const { serialiser, ...downstream } = settings.downstream
		assert.deepEqual(downstream, { allowedHosts: [], timeout: 30_000, maxBytes: 64 * 1024 * 1024 })
		assert.deepEqual(serialiser.parse(serialiser.stringify({ a: 1 })), { a: 1 })
	})

	it('know a host as a URL names it', () => {
		const hosts = ['API.example', 'api.example:8443', 'other.example:443', '10.0.0.1', 'localhost:3000']
		const { downstream } = resolveSettings(changed({ 'downstream.allowedHosts': hosts }))
		assert.deepEqual(downstream.allowedHosts, [
			'api.example',
			'api.example:8443',
			'other.example',
			'10.0.0.1',
			'localhost:3000',
		])
	})

	it('leave the serialiser that they are given as it is', () => {
		const serialiser = { stringify: JSON.stringify, parse: JSON.parse }
		resolveSettings({ ...good, downstream: { serialiser } })
		assert.ok(!Object.isFrozen(serialiser))
		assert.ok(!Object.isFrozen(JSON))
	})

	it('give a session an idle time no longer than its absolute one', () => {
		const { session } = resolveSettings(changed({ 'session.absoluteTimeout': 3_600_000 }))
		assert.deepEqual([session.idleTimeout, session.absoluteTimeout], [3_600_000, 3_600_000])
	})

	it('are taken at the edges, and in every documented form', () => {
		for (const changes of [
			{ 'auth.authority': 'https://login.microsoftonline.com/common', 'auth.allowedTenants': 'any' },
			{ 'auth.authority': 'https://login.microsoftonline.com/common', 'auth.allowedTenants': ['a.example'] },
			{ 'auth.authority': 'https://login.microsoftonline.us/tenant/' },
			{ 'auth.responseMode': 'query' },
			{ 'auth.authorityMetadata': '{"issuer":"x"}' },
			{ 'auth.knownAuthorities': ['login.example:8443'] },
			{ 'auth.clientSecret': undefined, 'auth.clientAssertion': async () => 'assertion' },
			{ 'auth.clientCapabilities': [] },
			{ scopes: ['https://graph.microsoft.com/.default'] },
			{ scopes: ['api://11111111-2222-3333-4444-555555555555/access_as_user'] },
			{ prefix: '/a/b' },
			{ basePath: '/user', 'paths.authorized': '/back' },
			{ onError: () => {}, keepOnSignIn: ['basket'] },
			{ 'session.idleTimeout': 60_000, 'session.absoluteTimeout': 60_000 },
			{ 'session.absoluteTimeout': 90 * 86_400_000 },
			{ 'network.proxy': 'http://user:password@proxy.example:8080' },
			{ 'cache.expiryMargin': 0 },
			{ 'pool.threads': 64, 'pool.maxQueue': 1 },
			{ profile: 'user' },
			{ profile: 'user+manager' },
			{ trustedProxies: ['10.0.0.0/8', '::1', 'fe80::/10', '192.168.0.1'] },
			{ store: redisTokenStore('redis://host') },
		])
			resolveSettings(changed(changes))
		const { store: _, ...rest } = changed({}) as { store?: unknown }
		assert.equal(resolveSettings({ ...rest, store: memoryTokenStore() }).store.kind, 'memory')
	})

	it('take whatever a random generator makes for a secret (J2)', () => {
		for (const encoding of ['base64', 'base64url', 'hex'] as const)
			resolveSettings(
				changed({ secrets: Array.from({ length: 1000 }, () => randomBytes(32).toString(encoding)) }),
			)
	})

	it('take a certificate whose thumbprint the portal shows in capitals', () => {
		const { privateKey, thumbprintSha256, certificate: x5c } = certificate
		const { auth } = resolveSettings(
			changed({
				'auth.clientSecret': undefined,
				'auth.clientCertificate': { privateKey, thumbprintSha256, x5c },
			}),
		)
		assert.equal(auth.credential.kind, 'certificate')
	})

	it('hold secrets as opaque handles only', () => {
		const settings = resolveSettings(
			changed({ 'auth.clientSecret': canary, secrets: [secret, `${canary}${secret}`] }),
		)
		assert.ok(!JSON.stringify(settings).includes(canary))
		assert.equal(settings.secrets.length, 2)
	})

	it('are frozen through and through, and no longer hang on the options', () => {
		const options = changed({ scopes: ['User.Read'], 'auth.allowedTenants': ['a'] }) as {
			scopes: string[]
			auth: { allowedTenants: string[]; clientId: string }
		}
		const settings = resolveSettings(options)
		options.scopes.push('Mail.Read')
		options.auth.allowedTenants.push('b')
		options.auth.clientId = 'other'
		assert.deepEqual(settings.scopes, ['User.Read'])
		assert.deepEqual(settings.auth.allowedTenants, ['a'])
		assert.equal(settings.auth.clientId, good.auth.clientId)
		for (const [name, value] of Object.entries({
			settings,
			auth: settings.auth,
			credential: settings.auth.credential,
			allowedTenants: settings.auth.allowedTenants,
			knownAuthorities: settings.auth.knownAuthorities,
			scopes: settings.scopes,
			secrets: settings.secrets,
			session: settings.session,
			pool: settings.pool,
			network: settings.network,
			cache: settings.cache,
			graph: settings.graph,
			downstream: settings.downstream,
			allowedHosts: settings.downstream.allowedHosts,
			logoutTargets: settings.logoutTargets,
			trustedProxies: settings.trustedProxies,
		}))
			assert.ok(Object.isFrozen(value), name)
	})

	it('give two applications on one Redis and one host names that differ', () => {
		const one = resolveSettings(good)
		const two = resolveSettings(changed({ 'auth.clientId': 'another' }))
		assert.notEqual(one.namespace, two.namespace)
		assert.notEqual(one.cookieSuffix, two.cookieSuffix)
		assert.ok(!one.namespace.includes(good.auth.clientId))
	})
})
