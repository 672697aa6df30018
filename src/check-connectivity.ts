import { checked, failed } from './connectivity.js'
import type { SignOutNotices } from './sign-out-notices.js'
import type { ConnectivityCheck } from './wire.js'
import type { WorkerPool } from './worker-pool.js'

/**
 * Asks a worker, which is what connects to the provider and the store, and this thread's own connection to Redis, on
 * which it hears of sign-outs.
 */
export async function checkConnectivity(
	pool: WorkerPool,
	notices: SignOutNotices | undefined,
): Promise<readonly ConnectivityCheck[]> {
	const started = performance.now()
	const ofWorker = pool.run('checkConnectivity', {}).then(
		({ checks }) => checks,
		// No worker has answered, so nothing is known of any of them.
		(error: unknown) =>
			(['authority', 'keys', 'store'] as const).map((name) =>
				failed({ name }, error, performance.now() - started),
			),
	)
	const own = notices && checked({ name: 'notices' }, () => notices.check())
	const [checks, ...more] = await Promise.all([ofWorker, ...(own ? [own] : [])])
	return [...checks, ...more]
}
