import { createClientCertificate } from '../../dev/certificates.js'
import type { RunningProcess } from '../process.js'
import type { ProviderCalls } from '../provider-main.js'
import type { ArmResult } from '../results.js'
import type { Case, Expectation, Params, World } from '../scenario.js'

/** What a case is run with. */
export interface Bench {
	readonly world: World
	readonly provider: RunningProcess<ProviderCalls>
	/** Says what is done now. */
	progress(step: string): void
}

/** What `runs/<name>.ts` exports as `run`. */
export type Run = (one: Case, bench: Bench) => Promise<readonly ArmResult[]>

/** Rounds in which the event loop is watched. */
export const watchedRounds = ({ rounds }: Params) => Math.min(rounds, 2)

/**
 * What a provider counted while `work` was done.
 * @param operations of its result
 * @throws Error when the count is not what was due
 */
export async function countingCalls<T>(
	{ provider }: Bench,
	{ providerLatencyMs }: Params,
	{ who, providerCallsPerOp, orFewer = false }: Expectation & { readonly who: string },
	work: () => Promise<T>,
	operations: (result: T) => number,
): Promise<{ readonly result: T; readonly callsPerOp: number; readonly busy: number }> {
	await provider.ask('reset', { latencyMs: providerLatencyMs })
	const result = await work()
	const { posts, refused, busy } = await provider.ask('count', undefined)
	const count = operations(result)
	// A third of a call per operation is not a number; so many operations make one.
	const due = Math.round(count * providerCallsPerOp)
	if ((orFewer ? posts > due || posts === 0 : posts !== due) || refused > 0)
		throw new Error(`${who}: the provider had ${posts} calls and refused ${refused}; ${due} were due`)
	return { result, callsPerOp: posts / count, busy }
}

const certificates = new Map<number, Promise<NonNullable<World['clientCertificate']>>>()

/** The world with a certificate of the case's size, where its credential is one. */
export async function withCredential(world: World, { credential, rsaBits = 2048 }: Params): Promise<World> {
	if (credential !== 'certificate') return world
	const made =
		certificates.get(rsaBits) ??
		createClientCertificate(rsaBits).then(({ privateKey, thumbprintSha256 }) => ({
			privateKey,
			thumbprintSha256,
		}))
	certificates.set(rsaBits, made)
	return { ...world, clientCertificate: await made }
}
