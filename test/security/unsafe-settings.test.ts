import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, mock } from 'node:test'
import { createDevCertificates } from '../../dev/certificates.js'
import {
	createMsalRoutes,
	createTokenBroker,
	type KoaMsalOptions,
	koaMsal,
	memoryTokenStore,
	type RedisSource,
	redisTokenStore,
	type TokenBroker,
} from '../../src/index.js'
import { resolveSettings } from '../../src/settings.js'
import { warnOfUnsafeSettings } from '../../src/unsafe-settings.js'
import { koaMsalHere } from '../support/command-line.js'

const canary = 'canary-7f3a9'
const secrets = ['0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3JpW']
const auth = {
	clientId: '11111111-2222-3333-4444-555555555555',
	authority: 'https://login.microsoftonline.com/22222222-2222-3333-4444-555555555555',
	redirectUri: 'https://app.example/user/authorized',
	clientSecret: canary,
}
const safe: KoaMsalOptions = { auth, secrets, pool: { threads: 1 } }

type Changes = Partial<Omit<KoaMsalOptions, 'auth'>> & { readonly auth?: Partial<KoaMsalOptions['auth']> }
type Environment = Readonly<Record<string, string | undefined>>

/** The warnings that something gives, as a listener or a log gets them. */
async function warningsOf(work: () => unknown, environment: Environment = {}): Promise<string[]> {
	const before = { ...process.env }
	for (const [name, value] of Object.entries(environment))
		if (value === undefined) delete process.env[name]
		else process.env[name] = value
	const warn = mock.method(process, 'emitWarning', () => {})
	try {
		await work()
		return warn.mock.calls.map(({ arguments: [message, type] }) => `${type as string}: ${message}`)
	} finally {
		warn.mock.restore()
		for (const name of Object.keys(environment))
			if (before[name] === undefined) delete process.env[name]
			else process.env[name] = before[name]
	}
}

const optionsWith = ({ auth: own, ...changes }: Changes): KoaMsalOptions => ({
	...safe,
	...changes,
	auth: { ...auth, ...own },
})
const warned = (changes: Changes, environment?: Environment) =>
	warningsOf(() => warnOfUnsafeSettings(resolveSettings(optionsWith(changes))), environment)
const redis = (source: RedisSource) => ({ store: redisTokenStore(source) })
const password = canary

describe('a setting that takes a protection away', () => {
	let folder: string
	let caFile: string
	let clientCertificate: { readonly cert: string; readonly key: string }
	before(async () => {
		folder = await mkdtemp(join(tmpdir(), 'koa-msal-'))
		caFile = join(folder, `${canary}.pem`)
		const { ca, cert, key } = await createDevCertificates()
		clientCertificate = { cert, key }
		await writeFile(caFile, ca)
	})
	after(() => rm(folder, { recursive: true }))

	const unsafe: readonly (readonly [what: string, setting: string, changes: () => Changes, Environment?])[] =
		[
			[
				'any tenant, of everybody’s authority',
				'auth.allowedTenants',
				() => ({ auth: { authority: 'https://login.microsoftonline.com/Common/', allowedTenants: 'any' } }),
			],
			[
				'any tenant, of every organization',
				'auth.allowedTenants',
				() => ({
					auth: { authority: 'https://login.microsoftonline.com/organizations', allowedTenants: 'any' },
				}),
			],
			[
				'another host that is believed',
				'auth.knownAuthorities',
				() => ({ auth: { knownAuthorities: ['localhost', `${canary}.example`] } }),
			],
			['codes in URLs', 'auth.responseMode', () => ({ auth: { responseMode: 'query' } })],
			[
				'tokens in memory, in production',
				'store',
				() => ({ store: memoryTokenStore() }),
				{ NODE_ENV: 'production' },
			],
			['memory by default, in production', 'store', () => ({}), { NODE_ENV: 'production' }],
			['Redis without TLS', 'store.tls', () => redis(`redis://:${password}@${canary}.example`)],
			[
				'Redis without TLS, by its address',
				'store.tls',
				() => redis(`redis://user:${password}@[2001:db8::1]:6379/1`),
			],
			['a cluster without TLS', 'store.tls', () => redis({ nodes: [`redis://:${password}@a.example`] })],
			[
				'a cluster without TLS, of which one node is here',
				'store.tls',
				() =>
					redis({
						nodes: [7000, { host: 'a.example', port: 7000 }],
						redisOptions: { password },
					} as RedisSource),
			],
			[
				'sentinels without TLS',
				'store.tls',
				() =>
					redis({
						sentinels: [{ host: 's.example' }],
						name: 'm',
						password,
						tls: {},
						enableTLSForSentinelMode: true,
					}),
			],
			[
				'a Redis whose certificate is not checked',
				'store.tls.rejectUnauthorized',
				() => redis({ host: 'a.example', password, tls: { rejectUnauthorized: false } }),
			],
			[
				'a Redis here whose certificate is not checked',
				'store.tls.rejectUnauthorized',
				() => redis({ host: 'localhost', tls: { rejectUnauthorized: false } }),
			],
			[
				'a cluster whose certificates are not checked',
				'store.tls.rejectUnauthorized',
				() =>
					redis({
						nodes: [`rediss://:${password}@a.example`],
						redisOptions: { tls: { rejectUnauthorized: false } },
					} as RedisSource),
			],
			['a Redis without a password', 'store.password', () => redis('rediss://a.example')],
			[
				'a cluster without a password',
				'store.password',
				() => redis({ nodes: ['a.example'], redisOptions: { tls: {} } }),
			],
			[
				'a base path',
				'basePath',
				() => ({
					basePath: `/${canary}`,
					auth: { redirectUri: `https://app.example/${canary}/user/authorized` },
				}),
			],
			['data that stay', 'keepOnSignIn', () => ({ keepOnSignIn: [canary] })],
			['a page for developers', 'debug', () => ({ debug: true })],
			['other certificates', 'network.caFile', () => ({ network: { caFile } })],
			[
				'a password for a proxy',
				'network.proxy',
				() => ({ network: { proxy: `http://user:${canary}@proxy.example:3128` } }),
			],
			[
				'another Graph',
				'graph.endpoint',
				() => ({ graph: { endpoint: `https://graph.microsoft.com.${canary}.example/v1.0` } }),
			],
			['tokens without a session', 'outOfBand.scopes', () => ({ outOfBand: { scopes: [canary] } })],
			['proxies everywhere', 'trustedProxies', () => ({ trustedProxies: ['0.0.0.0/0'] })],
			['proxies everywhere in IPv6', 'trustedProxies', () => ({ trustedProxies: ['10.0.0.0/8', '::/0'] })],
			['proxies in two halves', 'trustedProxies', () => ({ trustedProxies: ['0.0.0.0/1', '128.0.0.0/1'] })],
			[
				'any tenant, of what is below everybody’s authority',
				'auth.allowedTenants',
				() => ({
					auth: { authority: 'https://login.microsoftonline.com/common/v2.0', allowedTenants: 'any' },
				}),
			],
			[
				'an empty password',
				'store.password',
				() => redis({ host: 'redis.example', port: 6379, password: '', tls: {} }),
			],
			[
				'a version of TLS that is broken',
				'store.tls.minVersion',
				() => redis({ host: 'redis.example', port: 6379, password, tls: { minVersion: 'TLSv1' } }),
			],
			...['TLSv1_method', 'TLSv1_1_client_method', 'TLS_method'].map(
				(secureProtocol) =>
					[
						`a version of TLS that is broken, by its method (${secureProtocol})`,
						'store.tls.minVersion',
						() => redis({ host: 'redis.example', port: 6379, password, tls: { secureProtocol } }),
					] as const,
			),
			['a proxy’s user alone', 'network.proxy', () => ({ network: { proxy: 'http://user@proxy.example' } })],
			[
				'another port of Microsoft Graph’s host',
				'graph.endpoint',
				() => ({ graph: { endpoint: 'https://graph.microsoft.com:8443/v1.0' } }),
			],
			[
				'proxies as IPv6 may also have IPv4',
				'trustedProxies',
				() => ({ trustedProxies: ['0:0:0:0:0:ffff:0:0/96'] }),
			],
			['proxies as IPv6 has IPv4', 'trustedProxies', () => ({ trustedProxies: ['::ffff:0.0.0.0/96'] })],
			['the original’s cookie', 'legacyCookie', () => ({ legacyCookie: {} })],
			[
				'no checks of certificates in Node',
				'NODE_TLS_REJECT_UNAUTHORIZED',
				() => ({}),
				{ NODE_TLS_REJECT_UNAUTHORIZED: '0' },
			],
		]
	for (const [what, setting, changes, environment] of unsafe)
		it(`is warned of once, by its name and not its value: ${what}`, async () => {
			const [only = '', ...more] = await warned(changes(), environment)
			assert.deepEqual(more, [])
			assert.equal(only.split(': ').slice(0, 3).join(': '), `KoaMsalWarning: unsafe setting: ${setting}`)
			assert.ok(!only.includes(canary) && !only.includes('.example'), only)
		})

	const harmless: readonly (readonly [what: string, changes: () => Changes, Environment?])[] = [
		['the defaults', () => ({})],
		[
			'the defaults, with Redis in production',
			() => redis(`rediss://:${password}@a.example`),
			{ NODE_ENV: 'production' },
		],
		['one tenant', () => ({ auth: { allowedTenants: 'any' } })],
		[
			'some tenants of everybody’s authority',
			() => ({
				auth: { authority: 'https://login.microsoftonline.com/common', allowedTenants: ['contoso.example'] },
			}),
		],
		[
			'the authority itself, named again',
			() => ({
				auth: { authority: 'https://login.example:8443/x', knownAuthorities: ['login.example:8443'] },
			}),
		],
		[
			'Microsoft’s own hosts',
			() => ({ auth: { knownAuthorities: ['login.microsoftonline.com', 'sts.windows.net'] } }),
		],
		['a provider on this machine', () => ({ auth: { knownAuthorities: ['localhost:8443', '127.0.0.1:1'] } })],
		['its certificate', () => ({ auth: { authority: 'https://localhost:8443/x' }, network: { caFile } })],
		['a Redis on this machine', () => redis('redis://localhost')],
		['a Redis on this machine, by its address', () => redis('redis://[::1]:6379')],
		['a Redis behind a socket', () => redis({ path: '/run/redis.sock' })],
		[
			'a Redis that knows its clients by certificate',
			() => redis({ host: 'a.example', tls: { ...clientCertificate, secureProtocol: 'TLSv1_2_method' } }),
		],
		[
			'sentinels with TLS',
			() =>
				redis({
					sentinels: [{ host: 's.example' }],
					name: 'm',
					password,
					tls: {},
					enableTLSForSentinelMode: true,
					sentinelTLS: {},
				}),
		],
		[
			'a cluster with TLS and a password',
			() =>
				redis({
					nodes: ['rediss://a.example', 'b.example'],
					redisOptions: { tls: {}, password },
				} as RedisSource),
		],
		['a proxy without a password', () => ({ network: { proxy: 'http://proxy.example:3128' } })],
		['a proxy over TLS', () => ({ network: { proxy: `https://user:${canary}@proxy.example` } })],
		['a proxy on this machine', () => ({ network: { proxy: `http://user:${canary}@localhost:3128` } })],
		['Graph of another cloud', () => ({ graph: { endpoint: 'https://graph.microsoft.us/v1.0' } })],
		['a Graph on this machine', () => ({ graph: { endpoint: 'https://localhost:9000/v1.0' } })],
		[
			'proxies of private networks',
			() => ({
				trustedProxies: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', '::1', '203.0.113.7'],
			}),
		],
		['a page for developers that is off', () => ({ debug: false })],
		['certificates that are checked', () => ({}), { NODE_TLS_REJECT_UNAUTHORIZED: '1' }],
	]
	for (const [what, changes, environment] of harmless)
		it(`is not: ${what}`, async () => {
			assert.deepEqual(await warned(changes(), environment), [])
		})

	it('is warned of when a broker starts, by whichever function, and once for each', async () => {
		const changes: Changes = { debug: true, keepOnSignIn: ['basket'], auth: { responseMode: 'query' } }
		const names = ['auth.responseMode', 'keepOnSignIn', 'debug']
		const started: TokenBroker[] = []
		try {
			for (const start of [
				async () => started.push(await createTokenBroker(optionsWith(changes))),
				async () => started.push((await koaMsal(optionsWith(changes))).broker),
			]) {
				const warnings = await warningsOf(start)
				assert.deepEqual(
					warnings.map((text) => text.split(': ')[2]),
					names,
				)
			}
			const [broker] = started
			assert.ok(broker)
			// Of its own settings alone, where a set of routes has some.
			const own = { keepOnSignIn: ['basket', 'other'], basePath: '/user' }
			const warnings = await warningsOf(() => createMsalRoutes(broker, { ...own, prefix: '/user' }))
			assert.deepEqual(
				warnings.map((text) => text.split(': ')[2]),
				['basePath'],
			)
			assert.deepEqual(await warningsOf(() => createMsalRoutes(broker)), [])
		} finally {
			for (const broker of started) await broker.close()
		}
	})

	it('is not warned of by the command line, whose errors are read by programs', async () => {
		const environment = {
			AZURE_CLIENT_ID: auth.clientId,
			AZURE_TENANT_ID: 'common',
			AZURE_AUTHORITY_HOST: 'https://localhost:1',
			MSAL_ALLOWED_TENANTS: 'any',
			AZURE_CLIENT_SECRET: canary,
			MSAL_REDIRECT_URI: auth.redirectUri,
			MSAL_SECRETS: secrets[0] ?? '',
		}
		assert.deepEqual(await warningsOf(() => koaMsalHere(['check', '--json'], environment)), [])
	})
})
