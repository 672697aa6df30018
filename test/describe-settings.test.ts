import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { inspect } from 'node:util'
import { createClientCertificate } from '../dev/certificates.js'
import { createTokenBroker, describeSettings, type KoaMsalOptions, redisTokenStore } from '../src/index.js'

const canary = 'canary7f3a9Zq0mXw7Vh2Zq9Lr4Tn8Yc5Bd1Kf6Gs3JpW'
const auth = {
	clientId: '11111111-2222-3333-4444-555555555555',
	authority: 'https://login.microsoftonline.com/contoso.example',
	redirectUri: 'https://app.example/user/authorized',
	clientSecret: canary,
}
const secrets = [canary, `${canary}-2`]

/** Any way to print a value. */
const printed = (value: unknown) => JSON.stringify(value) + inspect(value, { depth: 20, showHidden: true })

function assertSafe(value: unknown): void {
	const text = printed(value)
	assert.ok(!/canary|7f3a9/i.test(text), text)
	for (const encoding of ['base64', 'base64url', 'hex'] as const) {
		assert.ok(!text.includes(Buffer.from(canary).toString(encoding).slice(0, 12)))
		for (const hash of ['sha256', 'sha1', 'md5'])
			assert.ok(!text.includes(createHash(hash).update(canary).digest(encoding).slice(0, 12)))
	}
}

describe('described settings (the original’s ENV.asdict)', () => {
	const folder = mkdtempSync(join(tmpdir(), 'koa-msal-described-'))
	after(() => rmSync(folder, { recursive: true }))

	it('name every setting, defaults among them', () => {
		const shown = describeSettings({ auth, secrets })
		assert.deepEqual(shown.session, {
			idleTimeout: 28_800_000,
			absoluteTimeout: 604_800_000,
			cookieName: 'msal',
		})
		assert.equal(shown.store, 'memoryTokenStore()')
		assert.deepEqual(shown.scopes, ['User.Read'])
		assert.equal((shown.auth as { redirectUri: string }).redirectUri, auth.redirectUri)
	})

	it('are plain, and can be printed whatever they hold', async () => {
		const certificate = await createClientCertificate()
		const { thumbprintSha256, privateKey } = certificate
		const file = join(folder, 'certificate.pem')
		await writeFile(file, `${certificate.privateKey}\n${certificate.certificate}`)
		const proxied = { network: { proxy: `http://user:${canary}@proxy.example:3128` } }
		const redis = (source: Parameters<typeof redisTokenStore>[0]) => ({ store: redisTokenStore(source) })
		const { clientSecret: _, ...registration } = auth
		const all: Partial<KoaMsalOptions>[] = [
			proxied,
			redis(`redis://user:${canary}@redis.example:6379/2`),
			redis({
				host: 'redis.example',
				password: canary,
				tls: { key: undefined, passphrase: canary },
			} as never),
			redis({
				sentinels: [{ host: 's.example', port: 1 }],
				name: 'm',
				sentinelPassword: canary,
				password: canary,
			}),
			redis({ nodes: [`redis://:${canary}@a.example:1`, { host: 'b.example', port: 2 }] }),
			redis({ host: 'redis.example', newOption: canary, nested: { deeper: [canary] } } as never),
			{ auth: { ...registration, clientSecret: async () => canary } },
			{ auth: { ...registration, clientAssertion: async () => canary } },
			{ auth: { ...registration, clientCertificate: { file } } },
			{
				auth: {
					...registration,
					clientCertificate: { thumbprintSha256, privateKey, x5c: certificate.certificate },
				},
			},
		]
		for (const options of all) {
			const shown = describeSettings({ auth, secrets, ...options })
			assertSafe(shown)
			assert.ok(!printed(shown).includes(privateKey.split('\n')[1] ?? 'none'))
			assert.deepEqual(JSON.parse(JSON.stringify(shown)), shown)
		}
	})

	it('tell that a secret is set and how long it is, and what a function is called', () => {
		const shown = describeSettings({
			auth: {
				...auth,
				clientSecret: async function fromTheVault() {
					return canary
				},
			},
			secrets,
			network: { proxy: `http://user:${canary}@proxy.example:3128/` },
			store: redisTokenStore(`redis://user:${canary}@redis.example:6379/2`),
		})
		assert.deepEqual(shown.secrets, [`(set, ${canary.length} bytes)`, `(set, ${canary.length + 2} bytes)`])
		assert.equal((shown.auth as { clientSecret: string }).clientSecret, '(function fromTheVault)')
		assert.deepEqual(shown.store, {
			host: 'redis.example',
			port: 6379,
			username: 'user',
			password: `(set, ${canary.length} bytes)`,
			db: 2,
		})
		assert.equal((shown.network as { proxy: string }).proxy, 'http://(set)@proxy.example:3128/')
		const plain = describeSettings({ auth, secrets })
		assert.equal((plain.auth as { clientSecret: string }).clientSecret, `(set, ${canary.length} characters)`)
	})

	it('are the broker’s own too', async () => {
		const broker = await createTokenBroker({ auth, secrets, pool: { threads: 1 } })
		try {
			assertSafe(broker.settings)
			assertSafe(broker.settings.describe())
			assert.deepEqual((broker.settings.describe().pool as { threads: number }).threads, 1)
		} finally {
			await broker.close()
		}
	})
})
