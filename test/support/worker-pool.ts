import { resolveSettings, type Settings } from '../../src/settings.js'
import { WorkerPool } from '../../src/worker-pool.js'

const settings = resolveSettings({
	auth: {
		clientId: '11111111-2222-3333-4444-555555555555',
		authority: 'https://login.example/tenant',
		redirectUri: 'http://localhost/user/authorized',
		clientSecret: 'not used here',
	},
	secrets: ['a test secret of more than 32 bytes: 0123456789'],
	pool: { threads: 1 },
})

/** A pool of the workers of `test/fixtures/{worker}.ts`, which do what the correlation id of their task says. */
export function startPool(
	worker: string,
	pool: Partial<Settings['pool']> = {},
	more: Partial<Settings> = {},
): Promise<WorkerPool> {
	const file = new URL(`../fixtures/${worker}.js`, import.meta.url).href
	return WorkerPool.start(
		{ ...settings, pool: { ...settings.pool, ...pool }, ...more },
		{ kind: 'assertion' },
		file,
	)
}

/** Has a worker do something. */
export function order(pool: WorkerPool, what: string, promised = false): Promise<unknown> {
	const params = {
		partition: '',
		homeAccountId: '',
		scopes: [],
		forceRefresh: false,
		lease: 'never',
		sentAt: 0,
		correlationId: what,
	} as const
	return pool.within(pool.begin('acquire', params, promised))
}
